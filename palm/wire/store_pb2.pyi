from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StoreRequest(_message.Message):
    __slots__ = ("op", "key", "value", "made", "start", "after", "epoch")
    class Op(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        NONE: _ClassVar[StoreRequest.Op]
        GET: _ClassVar[StoreRequest.Op]
        SET: _ClassVar[StoreRequest.Op]
        APPEND: _ClassVar[StoreRequest.Op]
        DELETE: _ClassVar[StoreRequest.Op]
        DROP: _ClassVar[StoreRequest.Op]
        LIST: _ClassVar[StoreRequest.Op]
        WATCH: _ClassVar[StoreRequest.Op]
    NONE: StoreRequest.Op
    GET: StoreRequest.Op
    SET: StoreRequest.Op
    APPEND: StoreRequest.Op
    DELETE: StoreRequest.Op
    DROP: StoreRequest.Op
    LIST: StoreRequest.Op
    WATCH: StoreRequest.Op
    OP_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    MADE_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    op: StoreRequest.Op
    key: str
    value: bytes
    made: bool
    start: str
    after: int
    epoch: int
    def __init__(self, op: _Optional[_Union[StoreRequest.Op, str]] = ..., key: _Optional[str] = ..., value: _Optional[bytes] = ..., made: bool = ..., start: _Optional[str] = ..., after: _Optional[int] = ..., epoch: _Optional[int] = ...) -> None: ...

class StoreChange(_message.Message):
    __slots__ = ("version", "kind", "key", "value")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        SET: _ClassVar[StoreChange.Kind]
        DELETE: _ClassVar[StoreChange.Kind]
        DROP: _ClassVar[StoreChange.Kind]
    SET: StoreChange.Kind
    DELETE: StoreChange.Kind
    DROP: StoreChange.Kind
    VERSION_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    version: int
    kind: StoreChange.Kind
    key: str
    value: bytes
    def __init__(self, version: _Optional[int] = ..., kind: _Optional[_Union[StoreChange.Kind, str]] = ..., key: _Optional[str] = ..., value: _Optional[bytes] = ...) -> None: ...

class StoreReply(_message.Message):
    __slots__ = ("code", "text", "key", "value", "version", "epoch", "size", "keys", "changes", "more")
    class Code(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        OK: _ClassVar[StoreReply.Code]
        MISSING: _ClassVar[StoreReply.Code]
        REFUSED: _ClassVar[StoreReply.Code]
        WAITING: _ClassVar[StoreReply.Code]
        GAP: _ClassVar[StoreReply.Code]
    OK: StoreReply.Code
    MISSING: StoreReply.Code
    REFUSED: StoreReply.Code
    WAITING: StoreReply.Code
    GAP: StoreReply.Code
    CODE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    code: StoreReply.Code
    text: str
    key: str
    value: bytes
    version: int
    epoch: int
    size: int
    keys: _containers.RepeatedScalarFieldContainer[str]
    changes: _containers.RepeatedCompositeFieldContainer[StoreChange]
    more: bool
    def __init__(self, code: _Optional[_Union[StoreReply.Code, str]] = ..., text: _Optional[str] = ..., key: _Optional[str] = ..., value: _Optional[bytes] = ..., version: _Optional[int] = ..., epoch: _Optional[int] = ..., size: _Optional[int] = ..., keys: _Optional[_Iterable[str]] = ..., changes: _Optional[_Iterable[_Union[StoreChange, _Mapping]]] = ..., more: bool = ...) -> None: ...

class StorePosition(_message.Message):
    __slots__ = ("term", "version")
    TERM_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    term: int
    version: int
    def __init__(self, term: _Optional[int] = ..., version: _Optional[int] = ...) -> None: ...

class StoreJob(_message.Message):
    __slots__ = ("client", "incarnation", "number")
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    client: str
    incarnation: int
    number: int
    def __init__(self, client: _Optional[str] = ..., incarnation: _Optional[int] = ..., number: _Optional[int] = ...) -> None: ...

class StoreEntry(_message.Message):
    __slots__ = ("position", "request", "job", "sequence", "floor")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    FLOOR_FIELD_NUMBER: _ClassVar[int]
    position: StorePosition
    request: StoreRequest
    job: StoreJob
    sequence: int
    floor: int
    def __init__(self, position: _Optional[_Union[StorePosition, _Mapping]] = ..., request: _Optional[_Union[StoreRequest, _Mapping]] = ..., job: _Optional[_Union[StoreJob, _Mapping]] = ..., sequence: _Optional[int] = ..., floor: _Optional[int] = ...) -> None: ...

class StoreRow(_message.Message):
    __slots__ = ("held", "said", "caller", "mark")
    class Held(_message.Message):
        __slots__ = ("key", "gone", "value", "version")
        KEY_FIELD_NUMBER: _ClassVar[int]
        GONE_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        VERSION_FIELD_NUMBER: _ClassVar[int]
        key: str
        gone: bool
        value: bytes
        version: int
        def __init__(self, key: _Optional[str] = ..., gone: bool = ..., value: _Optional[bytes] = ..., version: _Optional[int] = ...) -> None: ...
    class Said(_message.Message):
        __slots__ = ("job", "sequence", "reply")
        JOB_FIELD_NUMBER: _ClassVar[int]
        SEQUENCE_FIELD_NUMBER: _ClassVar[int]
        REPLY_FIELD_NUMBER: _ClassVar[int]
        job: StoreJob
        sequence: int
        reply: StoreReply
        def __init__(self, job: _Optional[_Union[StoreJob, _Mapping]] = ..., sequence: _Optional[int] = ..., reply: _Optional[_Union[StoreReply, _Mapping]] = ...) -> None: ...
    class Caller(_message.Message):
        __slots__ = ("job", "gone", "floor", "version")
        JOB_FIELD_NUMBER: _ClassVar[int]
        GONE_FIELD_NUMBER: _ClassVar[int]
        FLOOR_FIELD_NUMBER: _ClassVar[int]
        VERSION_FIELD_NUMBER: _ClassVar[int]
        job: StoreJob
        gone: bool
        floor: int
        version: int
        def __init__(self, job: _Optional[_Union[StoreJob, _Mapping]] = ..., gone: bool = ..., floor: _Optional[int] = ..., version: _Optional[int] = ...) -> None: ...
    class Mark(_message.Message):
        __slots__ = ("epoch", "position")
        EPOCH_FIELD_NUMBER: _ClassVar[int]
        POSITION_FIELD_NUMBER: _ClassVar[int]
        epoch: int
        position: StorePosition
        def __init__(self, epoch: _Optional[int] = ..., position: _Optional[_Union[StorePosition, _Mapping]] = ...) -> None: ...
    HELD_FIELD_NUMBER: _ClassVar[int]
    SAID_FIELD_NUMBER: _ClassVar[int]
    CALLER_FIELD_NUMBER: _ClassVar[int]
    MARK_FIELD_NUMBER: _ClassVar[int]
    held: StoreRow.Held
    said: StoreRow.Said
    caller: StoreRow.Caller
    mark: StoreRow.Mark
    def __init__(self, held: _Optional[_Union[StoreRow.Held, _Mapping]] = ..., said: _Optional[_Union[StoreRow.Said, _Mapping]] = ..., caller: _Optional[_Union[StoreRow.Caller, _Mapping]] = ..., mark: _Optional[_Union[StoreRow.Mark, _Mapping]] = ...) -> None: ...

class StoreWord(_message.Message):
    __slots__ = ("term", "ask", "append", "image", "fetch")
    class Append(_message.Message):
        __slots__ = ("before", "entries")
        BEFORE_FIELD_NUMBER: _ClassVar[int]
        ENTRIES_FIELD_NUMBER: _ClassVar[int]
        before: StorePosition
        entries: _containers.RepeatedCompositeFieldContainer[StoreEntry]
        def __init__(self, before: _Optional[_Union[StorePosition, _Mapping]] = ..., entries: _Optional[_Iterable[_Union[StoreEntry, _Mapping]]] = ...) -> None: ...
    TERM_FIELD_NUMBER: _ClassVar[int]
    ASK_FIELD_NUMBER: _ClassVar[int]
    APPEND_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    FETCH_FIELD_NUMBER: _ClassVar[int]
    term: int
    ask: bool
    append: StoreWord.Append
    image: StoreImage
    fetch: int
    def __init__(self, term: _Optional[int] = ..., ask: bool = ..., append: _Optional[_Union[StoreWord.Append, _Mapping]] = ..., image: _Optional[_Union[StoreImage, _Mapping]] = ..., fetch: _Optional[int] = ...) -> None: ...

class StoreImage(_message.Message):
    __slots__ = ("number", "last", "rows")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    number: int
    last: bool
    rows: _containers.RepeatedCompositeFieldContainer[StoreRow]
    def __init__(self, number: _Optional[int] = ..., last: bool = ..., rows: _Optional[_Iterable[_Union[StoreRow, _Mapping]]] = ...) -> None: ...

class StoreAnswer(_message.Message):
    __slots__ = ("term", "state", "image")
    TERM_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    term: int
    state: StoreState
    image: StoreImage
    def __init__(self, term: _Optional[int] = ..., state: _Optional[_Union[StoreState, _Mapping]] = ..., image: _Optional[_Union[StoreImage, _Mapping]] = ...) -> None: ...

class StoreState(_message.Message):
    __slots__ = ("copy", "durable", "position", "epoch", "error")
    COPY_FIELD_NUMBER: _ClassVar[int]
    DURABLE_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    copy: str
    durable: bool
    position: StorePosition
    epoch: int
    error: str
    def __init__(self, copy: _Optional[str] = ..., durable: bool = ..., position: _Optional[_Union[StorePosition, _Mapping]] = ..., epoch: _Optional[int] = ..., error: _Optional[str] = ...) -> None: ...
