"""What a leader and its workers tell each other of a message with many results or many parts, between values and bytes.

All counts, places and stages are checked here: what comes out can be used as an index.
"""

from __future__ import annotations

from google.protobuf.message import DecodeError

from palm.core.message import Header, Joined, PartFailed, Split, Task
from palm.core.share import MAX_PARTS
from palm.errors import BadFrame
from palm.wire.palm_pb2 import Failure as FailureMessage
from palm.wire.palm_pb2 import Joined as JoinedMessage
from palm.wire.palm_pb2 import PartFailed as PartFailedMessage
from palm.wire.palm_pb2 import Split as SplitMessage

TEXT_BYTES = 1_024
"""Of one failed part: there may be many."""


def encode_split(split: Split) -> bytes:
    return SplitMessage(
        fork=split.fork,
        stage=[stage for stage, _ in split.results],
        result=[result for _, result in split.results],
    ).SerializeToString()


def decode_split(payload: bytes, header: Header) -> Split:
    """`header`: under which it came. BadFrame where a result has no way to go from there."""
    try:
        message = SplitMessage.FromString(payload)
    except DecodeError as error:
        raise BadFrame("the results of a message do not parse") from error
    stages, results = message.stage[:], message.result[:]
    if not 1 <= len(stages) == len(results) <= MAX_PARTS:
        raise BadFrame("the results of a message are none, too many, or without their stages")
    first, last = header.stage + 1, len(header.route)
    if header.task == Task.SCATTER:
        first = last = header.stage
    if header.task == Task.PART or not first <= min(stages) <= max(stages) <= last:
        raise BadFrame("the results of a message go where there is nobody")
    return Split(message.fork, tuple(zip(stages, results, strict=True)))


def encode_joined(joined: Joined) -> bytes:
    failed = [
        PartFailedMessage(
            place=place,
            part=one.part,
            reason=one.reason,
            kind=one.kind[:200],
            text=one.text.encode("utf-8", "replace")[:TEXT_BYTES].decode("utf-8", "ignore"),
        )
        for place, one in enumerate(joined)
        if isinstance(one, PartFailed)
    ]
    return JoinedMessage(
        result=[one if isinstance(one, bytes) else b"" for one in joined],
        none=[place for place, one in enumerate(joined) if one is None],
        failed=failed,
    ).SerializeToString()


def decode_joined(payload: bytes) -> Joined:
    try:
        message = JoinedMessage.FromString(payload)
    except DecodeError as error:
        raise BadFrame("the parts of a message do not parse") from error
    parts: list[bytes | None | PartFailed] = [*message.result]
    if not 1 <= len(parts) <= MAX_PARTS:
        raise BadFrame(f"{len(parts)} parts of a message")
    if len(message.none) + len(message.failed) > len(parts) or any(place >= len(parts) for place in message.none):
        raise BadFrame("parts without results that there are none of")
    for place in message.none:
        parts[place] = None
    for one in message.failed:
        if one.place >= len(parts) or one.part >= MAX_PARTS:
            raise BadFrame("a failed part that there is none of")
        try:
            reason = FailureMessage.Reason.Name(one.reason)
        except ValueError as error:
            raise BadFrame("a part that failed for a reason that this release does not know") from error
        parts[one.place] = PartFailed(one.part, reason, one.kind[:200], one.text[:TEXT_BYTES])
    return tuple(parts)
