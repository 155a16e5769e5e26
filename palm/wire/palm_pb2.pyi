from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OK: _ClassVar[Status]
    FAILED: _ClassVar[Status]
    EXPIRED: _ClassVar[Status]
    BUSY: _ClassVar[Status]
    AWAY: _ClassVar[Status]
    DEAD_LETTERED: _ClassVar[Status]
    UNKNOWN_FATE: _ClassVar[Status]
    EMPTY: _ClassVar[Status]
    MANY: _ClassVar[Status]
    FOLDED: _ClassVar[Status]
OK: Status
FAILED: Status
EXPIRED: Status
BUSY: Status
AWAY: Status
DEAD_LETTERED: Status
UNKNOWN_FATE: Status
EMPTY: Status
MANY: Status
FOLDED: Status

class Message(_message.Message):
    __slots__ = ("pipeline", "client", "stage", "function", "cache", "payload", "incarnation", "route", "at_most_once", "trace", "parts", "shape", "leg", "term", "task", "form")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    CACHE_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    ROUTE_FIELD_NUMBER: _ClassVar[int]
    AT_MOST_ONCE_FIELD_NUMBER: _ClassVar[int]
    TRACE_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    LEG_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    FORM_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    client: str
    stage: int
    function: str
    cache: str
    payload: bytes
    incarnation: int
    route: _containers.RepeatedScalarFieldContainer[str]
    at_most_once: bool
    trace: bytes
    parts: bool
    shape: str
    leg: int
    term: int
    task: int
    form: int
    def __init__(self, pipeline: _Optional[str] = ..., client: _Optional[str] = ..., stage: _Optional[int] = ..., function: _Optional[str] = ..., cache: _Optional[str] = ..., payload: _Optional[bytes] = ..., incarnation: _Optional[int] = ..., route: _Optional[_Iterable[str]] = ..., at_most_once: bool = ..., trace: _Optional[bytes] = ..., parts: bool = ..., shape: _Optional[str] = ..., leg: _Optional[int] = ..., term: _Optional[int] = ..., task: _Optional[int] = ..., form: _Optional[int] = ...) -> None: ...

class Fold(_message.Message):
    __slots__ = ("key", "value", "first", "failed_key", "failure", "failed_first")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    FAILED_KEY_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIRST_FIELD_NUMBER: _ClassVar[int]
    key: _containers.RepeatedScalarFieldContainer[bytes]
    value: _containers.RepeatedScalarFieldContainer[bytes]
    first: _containers.RepeatedScalarFieldContainer[int]
    failed_key: _containers.RepeatedScalarFieldContainer[bytes]
    failure: _containers.RepeatedScalarFieldContainer[bytes]
    failed_first: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, key: _Optional[_Iterable[bytes]] = ..., value: _Optional[_Iterable[bytes]] = ..., first: _Optional[_Iterable[int]] = ..., failed_key: _Optional[_Iterable[bytes]] = ..., failure: _Optional[_Iterable[bytes]] = ..., failed_first: _Optional[_Iterable[int]] = ...) -> None: ...

class Path(_message.Message):
    __slots__ = ("stage", "fork", "place", "parts")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    FORK_FIELD_NUMBER: _ClassVar[int]
    PLACE_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    stage: _containers.RepeatedScalarFieldContainer[int]
    fork: _containers.RepeatedScalarFieldContainer[int]
    place: _containers.RepeatedScalarFieldContainer[int]
    parts: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, stage: _Optional[_Iterable[int]] = ..., fork: _Optional[_Iterable[int]] = ..., place: _Optional[_Iterable[int]] = ..., parts: _Optional[_Iterable[int]] = ...) -> None: ...

class Split(_message.Message):
    __slots__ = ("fork", "stage", "result")
    FORK_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    fork: int
    stage: _containers.RepeatedScalarFieldContainer[int]
    result: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, fork: _Optional[int] = ..., stage: _Optional[_Iterable[int]] = ..., result: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Joined(_message.Message):
    __slots__ = ("result", "none", "failed")
    RESULT_FIELD_NUMBER: _ClassVar[int]
    NONE_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    result: _containers.RepeatedScalarFieldContainer[bytes]
    none: _containers.RepeatedScalarFieldContainer[int]
    failed: _containers.RepeatedCompositeFieldContainer[PartFailed]
    def __init__(self, result: _Optional[_Iterable[bytes]] = ..., none: _Optional[_Iterable[int]] = ..., failed: _Optional[_Iterable[_Union[PartFailed, _Mapping]]] = ...) -> None: ...

class PartFailed(_message.Message):
    __slots__ = ("place", "part", "reason", "kind", "text")
    PLACE_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    place: int
    part: int
    reason: Failure.Reason
    kind: str
    text: str
    def __init__(self, place: _Optional[int] = ..., part: _Optional[int] = ..., reason: _Optional[_Union[Failure.Reason, str]] = ..., kind: _Optional[str] = ..., text: _Optional[str] = ...) -> None: ...

class Table(_message.Message):
    __slots__ = ("header", "run_header", "run_count", "run_watermark", "run_remaining_us", "sequence", "payload", "attempt", "status", "part", "span")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    RUN_HEADER_FIELD_NUMBER: _ClassVar[int]
    RUN_COUNT_FIELD_NUMBER: _ClassVar[int]
    RUN_WATERMARK_FIELD_NUMBER: _ClassVar[int]
    RUN_REMAINING_US_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    SPAN_FIELD_NUMBER: _ClassVar[int]
    header: _containers.RepeatedScalarFieldContainer[bytes]
    run_header: _containers.RepeatedScalarFieldContainer[int]
    run_count: _containers.RepeatedScalarFieldContainer[int]
    run_watermark: _containers.RepeatedScalarFieldContainer[int]
    run_remaining_us: _containers.RepeatedScalarFieldContainer[int]
    sequence: _containers.RepeatedScalarFieldContainer[int]
    payload: _containers.RepeatedScalarFieldContainer[bytes]
    attempt: _containers.RepeatedScalarFieldContainer[int]
    status: _containers.RepeatedScalarFieldContainer[int]
    part: _containers.RepeatedCompositeFieldContainer[Path]
    span: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, header: _Optional[_Iterable[bytes]] = ..., run_header: _Optional[_Iterable[int]] = ..., run_count: _Optional[_Iterable[int]] = ..., run_watermark: _Optional[_Iterable[int]] = ..., run_remaining_us: _Optional[_Iterable[int]] = ..., sequence: _Optional[_Iterable[int]] = ..., payload: _Optional[_Iterable[bytes]] = ..., attempt: _Optional[_Iterable[int]] = ..., status: _Optional[_Iterable[int]] = ..., part: _Optional[_Iterable[_Union[Path, _Mapping]]] = ..., span: _Optional[_Iterable[int]] = ...) -> None: ...

class Single(_message.Message):
    __slots__ = ("header", "watermark", "remaining_us", "sequence", "attempt", "status", "payload", "frame_bytes", "part", "span")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    WATERMARK_FIELD_NUMBER: _ClassVar[int]
    REMAINING_US_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    FRAME_BYTES_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    SPAN_FIELD_NUMBER: _ClassVar[int]
    header: bytes
    watermark: int
    remaining_us: int
    sequence: int
    attempt: int
    status: Status
    payload: bytes
    frame_bytes: int
    part: Path
    span: int
    def __init__(self, header: _Optional[bytes] = ..., watermark: _Optional[int] = ..., remaining_us: _Optional[int] = ..., sequence: _Optional[int] = ..., attempt: _Optional[int] = ..., status: _Optional[_Union[Status, str]] = ..., payload: _Optional[bytes] = ..., frame_bytes: _Optional[int] = ..., part: _Optional[_Union[Path, _Mapping]] = ..., span: _Optional[int] = ...) -> None: ...

class Failure(_message.Message):
    __slots__ = ("reason", "kind", "text", "remote_traceback", "server", "function", "instance", "attempt")
    class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        HANDLER_RAISED: _ClassVar[Failure.Reason]
        BAD_RESULT: _ClassVar[Failure.Reason]
        NO_FUNCTION: _ClassVar[Failure.Reason]
        TOO_LARGE: _ClassVar[Failure.Reason]
        BAD_REQUEST: _ClassVar[Failure.Reason]
        WORKER_LOST: _ClassVar[Failure.Reason]
        TIMED_OUT: _ClassVar[Failure.Reason]
    HANDLER_RAISED: Failure.Reason
    BAD_RESULT: Failure.Reason
    NO_FUNCTION: Failure.Reason
    TOO_LARGE: Failure.Reason
    BAD_REQUEST: Failure.Reason
    WORKER_LOST: Failure.Reason
    TIMED_OUT: Failure.Reason
    REASON_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    REMOTE_TRACEBACK_FIELD_NUMBER: _ClassVar[int]
    SERVER_FIELD_NUMBER: _ClassVar[int]
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    reason: Failure.Reason
    kind: str
    text: str
    remote_traceback: str
    server: str
    function: str
    instance: str
    attempt: int
    def __init__(self, reason: _Optional[_Union[Failure.Reason, str]] = ..., kind: _Optional[str] = ..., text: _Optional[str] = ..., remote_traceback: _Optional[str] = ..., server: _Optional[str] = ..., function: _Optional[str] = ..., instance: _Optional[str] = ..., attempt: _Optional[int] = ...) -> None: ...

class Control(_message.Message):
    __slots__ = ("hello", "welcome", "refused", "ping", "pong", "over", "pull", "exposed", "leave")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    PING_FIELD_NUMBER: _ClassVar[int]
    PONG_FIELD_NUMBER: _ClassVar[int]
    OVER_FIELD_NUMBER: _ClassVar[int]
    PULL_FIELD_NUMBER: _ClassVar[int]
    EXPOSED_FIELD_NUMBER: _ClassVar[int]
    LEAVE_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    welcome: Welcome
    refused: Refused
    ping: Ping
    pong: Pong
    over: Over
    pull: Pull
    exposed: Exposed
    leave: Leave
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., welcome: _Optional[_Union[Welcome, _Mapping]] = ..., refused: _Optional[_Union[Refused, _Mapping]] = ..., ping: _Optional[_Union[Ping, _Mapping]] = ..., pong: _Optional[_Union[Pong, _Mapping]] = ..., over: _Optional[_Union[Over, _Mapping]] = ..., pull: _Optional[_Union[Pull, _Mapping]] = ..., exposed: _Optional[_Union[Exposed, _Mapping]] = ..., leave: _Optional[_Union[Leave, _Mapping]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("version", "expects", "cluster", "name")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    EXPECTS_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    version: int
    expects: str
    cluster: str
    name: str
    def __init__(self, version: _Optional[int] = ..., expects: _Optional[str] = ..., cluster: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("version",)
    VERSION_FIELD_NUMBER: _ClassVar[int]
    version: int
    def __init__(self, version: _Optional[int] = ...) -> None: ...

class Refused(_message.Message):
    __slots__ = ("why", "text")
    class Why(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STRANGER: _ClassVar[Refused.Why]
        NOT_ME: _ClassVar[Refused.Why]
        VERSION: _ClassVar[Refused.Why]
        CLUSTER: _ClassVar[Refused.Why]
    STRANGER: Refused.Why
    NOT_ME: Refused.Why
    VERSION: Refused.Why
    CLUSTER: Refused.Why
    WHY_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    why: Refused.Why
    text: str
    def __init__(self, why: _Optional[_Union[Refused.Why, str]] = ..., text: _Optional[str] = ...) -> None: ...

class Pull(_message.Message):
    __slots__ = ("term", "credit", "has")
    TERM_FIELD_NUMBER: _ClassVar[int]
    CREDIT_FIELD_NUMBER: _ClassVar[int]
    HAS_FIELD_NUMBER: _ClassVar[int]
    term: int
    credit: int
    has: int
    def __init__(self, term: _Optional[int] = ..., credit: _Optional[int] = ..., has: _Optional[int] = ...) -> None: ...

class Leave(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Exposed(_message.Message):
    __slots__ = ("incarnation", "pipeline", "server", "instance", "sequence", "suspect")
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    SERVER_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    SUSPECT_FIELD_NUMBER: _ClassVar[int]
    incarnation: int
    pipeline: str
    server: str
    instance: str
    sequence: _containers.RepeatedScalarFieldContainer[int]
    suspect: bool
    def __init__(self, incarnation: _Optional[int] = ..., pipeline: _Optional[str] = ..., server: _Optional[str] = ..., instance: _Optional[str] = ..., sequence: _Optional[_Iterable[int]] = ..., suspect: bool = ...) -> None: ...

class Ping(_message.Message):
    __slots__ = ("number", "open_jobs", "next_job")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    OPEN_JOBS_FIELD_NUMBER: _ClassVar[int]
    NEXT_JOB_FIELD_NUMBER: _ClassVar[int]
    number: int
    open_jobs: _containers.RepeatedScalarFieldContainer[int]
    next_job: int
    def __init__(self, number: _Optional[int] = ..., open_jobs: _Optional[_Iterable[int]] = ..., next_job: _Optional[int] = ...) -> None: ...

class Pong(_message.Message):
    __slots__ = ("number", "in_flight", "handled", "failed", "duplicates", "busy_us", "busy_in", "draining", "bad_frames", "uptime_us")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    HANDLED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    DUPLICATES_FIELD_NUMBER: _ClassVar[int]
    BUSY_US_FIELD_NUMBER: _ClassVar[int]
    BUSY_IN_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    BAD_FRAMES_FIELD_NUMBER: _ClassVar[int]
    UPTIME_US_FIELD_NUMBER: _ClassVar[int]
    number: int
    in_flight: int
    handled: int
    failed: int
    duplicates: int
    busy_us: int
    busy_in: str
    draining: bool
    bad_frames: int
    uptime_us: int
    def __init__(self, number: _Optional[int] = ..., in_flight: _Optional[int] = ..., handled: _Optional[int] = ..., failed: _Optional[int] = ..., duplicates: _Optional[int] = ..., busy_us: _Optional[int] = ..., busy_in: _Optional[str] = ..., draining: bool = ..., bad_frames: _Optional[int] = ..., uptime_us: _Optional[int] = ...) -> None: ...

class Over(_message.Message):
    __slots__ = ("incarnation", "pipeline")
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    incarnation: int
    pipeline: str
    def __init__(self, incarnation: _Optional[int] = ..., pipeline: _Optional[str] = ...) -> None: ...
