"""The words of a store as bytes, and its rows on disk. What comes out of a reader has been checked field by field.

With `codec`, `control` and `etcd` this is what knows protobuf.
"""

from __future__ import annotations

import json
from typing import Any, Iterable, Sequence, TypeVar

from google.protobuf.message import DecodeError, Message

from palm.core.message import JobId, Peer
from palm.core.replica import Answer, Append, Ask, Fetch, Image, State, Word
from palm.core.store import (
    Caller,
    Change,
    Code,
    Entry,
    Held,
    Item,
    Mark,
    Member,
    Op,
    Position,
    Reply,
    Request,
    Row,
    Said,
    StoreRecord,
)
from palm.errors import BadFrame
from palm.wire import store_pb2 as pb
from palm.wire.codec import is_peer

_KINDS = ("set", "delete", "drop")
_TEXT = 1_024
_HIGHEST = 1 << 63
MAX_RECORD_BYTES = 64 * 1024

_Message = TypeVar("_Message", bound=Message)


# -- what clients and the store say -----------------------------------------------------------------------------------


def write_request(request: Request) -> bytes:
    return _request(request).SerializeToString()


def read_request(payload: bytes) -> Request:
    return _read_request(_parse(pb.StoreRequest, payload))


def write_reply(reply: Reply) -> bytes:
    return _reply(reply).SerializeToString()


def read_reply(payload: bytes) -> Reply:
    return _read_reply(_parse(pb.StoreReply, payload))


def _request(request: Request) -> pb.StoreRequest:
    return pb.StoreRequest(
        op=request.op.value,  # type: ignore[arg-type]  # enum as int
        key=request.key,
        value=request.value,
        made=request.made,
        start=request.start,
        after=request.after,
        epoch=request.epoch,
    )


def _read_request(message: pb.StoreRequest) -> Request:
    try:
        op = Op(message.op)
    except ValueError as error:
        raise BadFrame(f"operation {message.op} of the store is none that this release knows") from error
    return Request(
        op, message.key, message.value, message.made, message.start, _number(message.after), _number(message.epoch)
    )


def _reply(reply: Reply) -> pb.StoreReply:
    return pb.StoreReply(
        code=reply.code.value,  # type: ignore[arg-type]  # enum as int
        text=reply.text[:_TEXT],
        key=reply.key,
        value=reply.value,
        version=reply.version,
        epoch=reply.epoch,
        size=reply.size,
        keys=reply.keys,
        changes=[
            pb.StoreChange(version=one.version, kind=_KINDS.index(one.kind), key=one.key, value=one.value)  # type: ignore[arg-type]  # enum as int
            for one in reply.changes
        ],
        more=reply.more,
    )


def _read_reply(message: pb.StoreReply) -> Reply:
    try:
        code = Code(message.code)
        changes = tuple(
            Change(one.version, _KINDS[one.kind], one.key, one.value)  # type: ignore[arg-type]  # one of _KINDS
            for one in message.changes
        )
    except (ValueError, IndexError) as error:
        raise BadFrame("a reply of the store that this release does not know") from error
    return Reply(
        code,
        message.text[:_TEXT],
        message.key,
        message.value,
        _number(message.version),
        message.epoch,
        message.size,
        tuple(message.keys),
        changes,
        message.more,
    )


# -- what copies say to each other ------------------------------------------------------------------------------------


def write_word(word: Word) -> bytes:
    match word:
        case Ask():
            message = pb.StoreWord(term=word.term, ask=True)
        case Append():
            body = pb.StoreWord.Append(before=_position(word.before), entries=map(_entry, word.entries))
            message = pb.StoreWord(term=word.term, append=body)
        case Image():
            message = pb.StoreWord(term=word.term, image=_image(word))
        case Fetch():
            message = pb.StoreWord(term=word.term, fetch=word.number + 1)
    return message.SerializeToString()


def read_word(payload: bytes) -> Word:
    message = _parse(pb.StoreWord, payload)
    term = _number(message.term)
    match message.WhichOneof("word"):
        case "ask":
            return Ask(term)
        case "append":
            entries = tuple(map(_read_entry, message.append.entries))
            return Append(term, _read_position(message.append.before), entries)
        case "image":
            return _read_image(term, message.image)
        case "fetch" if message.fetch:
            return Fetch(term, message.fetch - 1)
    raise BadFrame("a word between copies that this release does not know")


def write_answer(answer: Answer) -> bytes:
    if isinstance(answer, Image):
        return pb.StoreAnswer(term=answer.term, image=_image(answer)).SerializeToString()
    state = pb.StoreState(
        copy=answer.copy,
        durable=answer.durable,
        position=_position(answer.position),
        epoch=answer.epoch,
        error=answer.error[:_TEXT],
    )
    return pb.StoreAnswer(term=answer.term, state=state).SerializeToString()


def read_answer(payload: bytes) -> Answer:
    message = _parse(pb.StoreAnswer, payload)
    term = _number(message.term)
    match message.WhichOneof("answer"):
        case "image":
            return _read_image(term, message.image)
        case "state":
            state = message.state
            if not is_peer(state.copy):
                raise BadFrame("a copy without a name")
            position = _read_position(state.position)
            return State(term, state.copy, state.durable, position, _number(state.epoch), state.error[:_TEXT])
    raise BadFrame("an answer between copies that this release does not know")


def _image(image: Image) -> pb.StoreImage:
    return pb.StoreImage(number=image.number, last=image.last, rows=map(_row, image.rows))


def _read_image(term: int, message: pb.StoreImage) -> Image:
    return Image(term, message.number, message.last, tuple(map(_read_row, message.rows)))


def _position(position: Position) -> pb.StorePosition:
    return pb.StorePosition(term=position.term, version=position.version)


def _read_position(message: pb.StorePosition) -> Position:
    return Position(_number(message.term), _number(message.version))


def _job(job: JobId) -> pb.StoreJob:
    return pb.StoreJob(client=job.client, incarnation=job.incarnation, number=job.number)


def _read_job(message: pb.StoreJob) -> JobId:
    if not is_peer(message.client):
        raise BadFrame("a write without its client")
    return JobId(Peer(message.client), message.incarnation, message.number)


def _entry(entry: Entry) -> pb.StoreEntry:
    return pb.StoreEntry(
        position=_position(entry.position),
        request=_request(entry.request),
        job=_job(entry.job),
        sequence=entry.sequence,
        floor=entry.floor,
    )


def _read_entry(message: pb.StoreEntry) -> Entry:
    return Entry(
        _read_position(message.position),
        _read_request(message.request),
        _read_job(message.job),
        message.sequence,
        message.floor,
    )


# -- rows -------------------------------------------------------------------------------------------------------------


def _row(row: Row) -> pb.StoreRow:
    match row:
        case Held(key, None):
            return pb.StoreRow(held=pb.StoreRow.Held(key=key, gone=True))
        case Held(key, Item(value, version)):
            return pb.StoreRow(held=pb.StoreRow.Held(key=key, value=value, version=version))
        case Said(job, sequence, reply):
            said = pb.StoreRow.Said(job=_job(job), sequence=sequence, reply=None if reply is None else _reply(reply))
            return pb.StoreRow(said=said)
        case Caller(job, floor, version):
            caller = pb.StoreRow.Caller(job=_job(job), gone=floor is None, floor=floor or 0, version=version)
            return pb.StoreRow(caller=caller)
        case Mark(epoch, position):
            return pb.StoreRow(mark=pb.StoreRow.Mark(epoch=epoch, position=_position(position)))
    raise AssertionError(f"{row!r} is no row")


def _read_row(message: pb.StoreRow) -> Row:
    match message.WhichOneof("row"):
        case "held":
            held = message.held
            return Held(held.key, None if held.gone else Item(held.value, _number(held.version)))
        case "said":
            said = message.said
            reply = _read_reply(said.reply) if said.HasField("reply") else None
            return Said(_read_job(said.job), said.sequence, reply)
        case "caller":
            caller = message.caller
            return Caller(_read_job(caller.job), None if caller.gone else caller.floor, caller.version)
        case "mark":
            return Mark(_number(message.mark.epoch), _read_position(message.mark.position))
    raise BadFrame("a row of a store that this release does not know")


def disk_changes(rows: Iterable[Row]) -> list[tuple[bytes, bytes | None]]:
    """Rows as keys and values of a disk; None: delete the key."""
    return [(_disk_key(row), None if _is_gone(row) else _row(row).SerializeToString()) for row in rows]


def disk_rows(records: Sequence[tuple[bytes, bytes]]) -> list[Row]:
    """What a disk holds. Raises BadFrame for what was not written by `disk_changes`."""
    return [_read_row(_parse(pb.StoreRow, value)) for _, value in records]


def _is_gone(row: Row) -> bool:
    match row:
        case Held(_, None) | Said(_, _, None) | Caller(_, None, _):
            return True
    return False


def _disk_key(row: Row) -> bytes:
    """At most 511 bytes: so LMDB wants it. Long keys of the store are told apart by their digest."""
    match row:
        case Held(key, _):
            raw = key.encode()
            return b"k" + (raw if len(raw) <= _LONGEST_PLAIN else b"\0" + _digest(raw))
        case Said(job, sequence, _):
            return b"s" + _job_key(job) + sequence.to_bytes(8, "big")
        case Caller(job, _, _):
            return b"c" + _job_key(job)
        case Mark():
            return b"m"


def _job_key(job: JobId) -> bytes:
    return job.client.encode() + b"/%d/%d/" % (job.incarnation, job.number)


_LONGEST_PLAIN = 480


def _digest(raw: bytes) -> bytes:
    from hashlib import blake2b

    return blake2b(raw, digest_size=32).digest()


# -- the registry's record --------------------------------------------------------------------------------------------


def store_key(cluster: str, server: str) -> str:
    """Which copies of a server's store count; written by the leader of its term only."""
    return f"/palm/{cluster}/stores/{server}"


def encode_store(record: StoreRecord) -> bytes:
    members = [member._asdict() for member in record.members]
    return json.dumps({"epoch": record.epoch, "members": members, "closed": record.closed}).encode()


def decode_store(value: bytes) -> StoreRecord | None:
    """None where it is not to be believed."""
    if len(value) > MAX_RECORD_BYTES:
        return None
    try:
        said: Any = json.loads(value)
        members = tuple(
            Member(str(one["copy"]), bool(one["durable"]), str(one["peer"]), str(one["host"]))
            for one in said["members"]
        )
        record = StoreRecord(int(said["epoch"]), members, bool(said["closed"]))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        return None
    return record if all(is_peer(member.copy) for member in members) else None


def _number(value: int) -> int:
    if value >= _HIGHEST:
        raise BadFrame("a number that no store reaches")
    return value


def _parse(kind: type[_Message], payload: bytes) -> _Message:
    try:
        return kind.FromString(payload)
    except DecodeError as error:
        raise BadFrame("the words of the store do not parse") from error
