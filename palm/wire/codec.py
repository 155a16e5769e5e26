"""Between batches and frames: with `frame`, `control` and `etcd` the only code that knows protobuf.

A header is serialised once and known by its bytes ever after, on both sides; a table carries each once. What comes out
of
`decode` has been checked field by field: names, lengths, counts and ranges. What does not pass is a `BadFrame`.
"""

from __future__ import annotations

import re
from operator import ge
from typing import Iterable, Iterator, Sequence, TypeVar

from google.protobuf.message import DecodeError

from palm.core.folding import MAX_SPAN, Span
from palm.core.message import (
    Batch,
    Control,
    Failure,
    Form,
    Frame,
    Header,
    JobId,
    Leg,
    Payload,
    Peer,
    Split,
    Status,
    Task,
)
from palm.core.names import is_name
from palm.core.route import LONGEST as LONGEST_ROUTE
from palm.core.route import Branching, Route, build_route, parse_stage
from palm.core.share import MAX_PARTS, Part, Step, path_of
from palm.errors import BadFrame, BadRequest
from palm.wire.control import decode_control
from palm.wire.crew import decode_joined, decode_split, encode_joined, encode_split
from palm.wire.fold import check_table
from palm.wire.frame import Body, pack, unpack
from palm.wire.palm_pb2 import Failure as FailureMessage
from palm.wire.palm_pb2 import Message, Single, Table
from palm.wire.palm_pb2 import Path as PathMessage

MAX_ITEMS = 128
MAX_TABLE_BYTES = 64 * 1024
"""Soft: one item may overshoot. A larger single payload travels as a frame of its own."""

MAX_ITEMS_TAKEN = 4_096
HEADERS_KEPT = 4_096
KEPT_HEADER_BYTES = 4 * 1024
"""Longer ones are parsed each time: kept, a hostile peer could fill the memory with them."""

LONGEST_HEADER_BYTES = 72 * 1024
"""256 stages of the longest names, and what stands beside them."""

LONGEST_TIME_US = 10 * 365 * 24 * 3600 * 1_000_000
TEXT_BYTES = 8 * 1024
TRACEBACK_BYTES = 32 * 1024

_TRAVELLING: frozenset[int] = frozenset(
    {
        Status.OK,
        Status.FAILED,
        Status.EXPIRED,
        Status.BUSY,
        Status.AWAY,
        Status.DEAD_LETTERED,
        Status.UNKNOWN_FATE,
        Status.EMPTY,
        Status.MANY,
        Status.FOLDED,
    }
)
_WITH_FAILURE = frozenset({Status.FAILED, Status.DEAD_LETTERED, Status.UNKNOWN_FATE})

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

_PEER = re.compile(r"[A-Za-z0-9_-]{16,64}")


def is_peer(text: str) -> bool:
    return _PEER.fullmatch(text) is not None


class Codec:
    """One for each node: it keeps what it knows of headers. Not to be shared between threads."""

    def __init__(self) -> None:
        self._bytes_of: dict[Header, bytes] = {}
        self._header_of: dict[bytes, Header] = {}

    # -- out ----------------------------------------------------------------------------------------------------------

    def encode(self, batches: Iterable[Batch]) -> Iterator[Frame]:
        """All that goes to one peer at one moment, in as few frames as the caps allow, in order.

        Frame by frame: the first is on its way while the next is made.
        """
        table: list[tuple[Batch, int, int]] = []
        items = size = 0
        for batch in batches:
            payloads = _payload_bytes(batch)
            size_of = sum(map(len, payloads))
            if payloads and items + len(payloads) <= MAX_ITEMS and size + size_of <= MAX_TABLE_BYTES:
                table.append((batch, 0, len(payloads)))
                items += len(payloads)
                size += size_of
                continue
            start = 0
            for index, payload in enumerate(payloads):
                length = len(payload)
                if length > MAX_TABLE_BYTES:
                    if index > start:
                        table.append((batch, start, index))
                    yield from self._tables(table)
                    table, items, size = [], 0, 0
                    yield self._large(batch, index, payload)
                    start = index + 1
                    continue
                if items == MAX_ITEMS or size + length > MAX_TABLE_BYTES:
                    if index > start:
                        table.append((batch, start, index))
                    yield from self._tables(table)
                    table, items, size, start = [], 0, 0, index
                items += 1
                size += length
            if start < len(payloads):
                table.append((batch, start, len(payloads)))
        yield from self._tables(table)

    def _tables(self, runs: list[tuple[Batch, int, int]]) -> list[Frame]:
        if not runs:
            return []
        if len(runs) == 1 and runs[0][2] - runs[0][1] == 1:
            batch, index, _ = runs[0]
            single = self._single(batch, index, _payload_bytes(batch)[index])
            return [(pack(Body.SINGLE, single.SerializeToString()),)]
        positions: dict[Header, int] = {}
        columns = [positions.setdefault(batch.header, len(positions)) for batch, _, _ in runs]
        whole = all(start == 0 and stop == len(batch) for batch, start, stop in runs)
        if whole and len(runs) == 1:
            sequences, payloads = runs[0][0].sequences, runs[0][0].payloads
        else:
            sequences, payloads = [], []
            for batch, start, stop in runs:
                sequences += batch.sequences[start:stop]
                payloads += batch.payloads[start:stop]
        attempts: list[int] = []
        if any(batch.attempts is not None for batch, _, _ in runs):
            for batch, start, stop in runs:
                attempts += [1] * (stop - start) if batch.attempts is None else batch.attempts[start:stop]
        statuses: list[int] = []
        if any(batch.statuses is not None for batch, _, _ in runs):
            for batch, start, stop in runs:
                statuses += [0] * (stop - start) if batch.statuses is None else batch.statuses[start:stop]
        body = Table(
            header=[self._header_bytes(header) for header in positions],
            run_header=columns,
            run_count=[stop - start for _, start, stop in runs],
            run_watermark=[batch.watermark for batch, _, _ in runs],
            run_remaining_us=[_remaining_us(batch) for batch, _, _ in runs],
            sequence=sequences,
            payload=payloads,  # type: ignore[arg-type]  # _payload_bytes left bytes only
            attempt=attempts,
            status=statuses,
            span=_spans(sequences, statuses),
        )
        for batch, start, stop in runs:
            if batch.header.parts:
                body.part.extend(map(_path_message, batch.sequences[start:stop]))
        return [(pack(Body.TABLE, body.SerializeToString()),)]

    def _large(self, batch: Batch, index: int, payload: bytes) -> Frame:
        single = self._single(batch, index, b"")
        single.frame_bytes = len(payload) + 1
        return (pack(Body.SINGLE, single.SerializeToString()), payload)

    def _single(self, batch: Batch, index: int, payload: bytes) -> Single:
        status = 0 if batch.statuses is None else batch.statuses[index]
        return Single(
            header=self._header_bytes(batch.header),
            watermark=batch.watermark,
            remaining_us=_remaining_us(batch),
            sequence=batch.sequences[index],
            attempt=1 if batch.attempts is None else batch.attempts[index],
            status=status,  # type: ignore[arg-type]  # enum as int
            payload=payload,
            part=_path_message(batch.sequences[index]) if batch.header.parts else None,
            span=next(iter(_spans(batch.sequences[index : index + 1], [status])), 0) if status else 0,
        )

    def _header_bytes(self, header: Header) -> bytes:
        known = self._bytes_of.get(header)
        if known is None:
            target = "" if header.is_result else str(header.target)
            known = Message(
                pipeline=str(header.job.number),
                client=header.job.client,
                stage=header.stage,
                function=target,
                incarnation=header.job.incarnation,
                route=[str(stage) for stage in header.route],
                at_most_once=header.at_most_once,
                trace=header.trace,
                cache=header.session,
                leg=header.leg,
                term=header.term,
                task=header.task,
                parts=header.parts,
                shape=header.route.shape if isinstance(header.route, Branching) else "",
                form=header.form,
            ).SerializeToString(deterministic=True)
            _keep(self._bytes_of, header, known)
        return known

    # -- in -----------------------------------------------------------------------------------------------------------

    def decode(self, frame: Frame) -> list[Batch] | Control:
        """What a frame says; `BadFrame` where it is not one of ours."""
        kind, body = unpack(frame[0])
        try:
            if kind == Body.CONTROL and len(frame) == 1:
                return decode_control(body)
            if kind == Body.SINGLE:
                return [self._decode_single(Single.FromString(body), frame[1] if len(frame) == 2 else None)]
            if kind == Body.TABLE and len(frame) == 1:
                return self._decode_table(Table.FromString(body))
        except DecodeError as error:
            raise BadFrame("the body does not parse") from error
        raise BadFrame(f"body kind {kind} in {len(frame)} parts")

    def _decode_single(self, single: Single, payload: bytes | None) -> Batch:
        if (single.frame_bytes or None) != (None if payload is None else len(payload) + 1):
            raise BadFrame("the payload's frame is missing, or not as long as announced")
        status = int(single.status)
        if status not in _TRAVELLING or single.attempt > 1_000_000:
            raise BadFrame("status or attempt out of range")
        header = self._header(single.header)
        if header.parts != single.HasField("part"):
            raise BadFrame("a part without its path, or a path that is no part's")
        sequences: list[int] = [_part(single.sequence, single.part)] if header.parts else [single.sequence]
        payloads: list[Payload] = [single.payload if payload is None else payload]
        if status or single.span:
            _put_spans(sequences, payloads, [status], [single.span] if single.span else [])
        return _opened(
            Batch(
                header,
                single.watermark,
                sequences,
                payloads,
                _remaining(single.remaining_us),
                None if single.attempt <= 1 else [single.attempt],
                [status] if status else None,
            )
        )

    def _decode_table(self, table: Table) -> list[Batch]:
        # Slices are lists at once; `list(...)` would take item by item.
        sequences, payloads = table.sequence[:], table.payload[:]
        attempts, statuses = table.attempt[:], table.status[:]
        headers, columns, counts = table.header[:], table.run_header[:], table.run_count[:]
        watermarks, remaining = table.run_watermark[:], table.run_remaining_us[:]
        paths = table.part[:]
        items, runs = len(sequences), len(columns)
        if (
            items > MAX_ITEMS_TAKEN
            or len(payloads) != items
            or len(attempts) not in (0, items)
            or len(statuses) not in (0, items)
            or not len(counts) == len(watermarks) == len(remaining) == runs
            or sum(counts) != items
            or not all(counts)
            or any(column >= len(headers) for column in columns)
        ):
            raise BadFrame("the columns of a table do not fit together")
        tried = not attempts or 1 <= min(attempts) <= max(attempts) <= 1_000_000
        if not tried or not _TRAVELLING.issuperset(statuses):
            raise BadFrame("status or attempt out of range")
        batches: list[Batch] = []
        column_of_payloads: list[Payload] = payloads  # type: ignore[assignment]  # nobody else has it
        _put_spans(sequences, column_of_payloads, statuses, table.span[:])
        start = 0
        for column, count, watermark, left in zip(columns, counts, watermarks, remaining, strict=True):
            stop = start + count
            header = self._header(headers[column])
            of_run = sequences if count == items else sequences[start:stop]
            if header.parts:
                if len(paths) < count:
                    raise BadFrame("a part without its path")
                of_run = list(map(_part, of_run, paths[:count]))
                del paths[:count]
            batches.append(
                _opened(
                    Batch(
                        header,
                        watermark,
                        of_run,
                        column_of_payloads if count == items else column_of_payloads[start:stop],
                        _remaining(left),
                        attempts[start:stop] or None,
                        statuses[start:stop] or None,
                    )
                )
            )
            start = stop
        if paths:
            raise BadFrame("a path that is no part's")
        return batches

    def _header(self, raw: bytes) -> Header:
        known = self._header_of.get(raw)
        if known is None:
            if len(raw) > LONGEST_HEADER_BYTES:
                raise BadFrame(f"a header of {len(raw)} bytes")
            known = _parse_header(Message.FromString(raw))
            if len(raw) <= KEPT_HEADER_BYTES:
                _keep(self._header_of, raw, known)
        return known


def messages_in(frame: Frame) -> int:
    """How many messages a frame carries: none, if it is a control word, or not one of ours."""
    try:
        kind, body = unpack(frame[0])
        return len(Table.FromString(body).sequence) if kind == Body.TABLE else int(kind == Body.SINGLE)
    except (BadFrame, DecodeError):
        return 0


def _parse_header(message: Message) -> Header:
    if not is_peer(message.client):
        raise BadFrame("a header without a client")
    if not 0 < len(message.pipeline) <= 20 or not (message.pipeline.isascii() and message.pipeline.isdigit()):
        raise BadFrame("a header without a job number")
    if not 1 <= len(message.route) <= LONGEST_ROUTE or not 0 <= message.stage <= len(message.route):
        raise BadFrame("a header whose stage is not on its route")
    if len(message.trace) not in (0, 16):
        raise BadFrame("a trace id of another length than 16")
    if message.cache and not is_name(message.cache):
        raise BadFrame("a session that is no name")
    try:
        route: Route = build_route([parse_stage(stage) for stage in message.route], message.shape)
    except BadRequest as error:
        raise BadFrame("a header with a stage that is no name, or a shape that is not its route's") from error
    if message.leg > Leg.FROM_WORKER or (message.leg and message.stage == len(message.route)):
        raise BadFrame("a leg that is none, or one of a result")
    if message.form > Form.TABLES or (message.form == Form.PARTS and not message.leg):
        raise BadFrame("a form of payloads that is none, or not for a worker")
    if message.task > Task.GATHER or (message.task and not message.leg):
        raise BadFrame("a task that is none, or not for a worker")
    job = JobId(Peer(message.client), message.incarnation, int(message.pipeline))
    return Header(
        job,
        route,
        message.stage,
        message.at_most_once,
        message.trace,
        message.parts,
        message.leg,
        message.term,
        message.task,
        message.form,
        message.cache,
    )


def _path_message(part: int) -> PathMessage:
    path = path_of(part)
    return PathMessage(
        stage=[step.stage for step in path],
        fork=[step.fork for step in path],
        place=[step.place for step in path],
        parts=[step.parts for step in path],
    )


def _part(sequence: int, message: PathMessage) -> Part:
    depth = len(message.fork)
    if (
        not 1 <= depth <= LONGEST_ROUTE
        or not len(message.stage) == len(message.place) == len(message.parts) == depth
        or max(message.stage) >= LONGEST_ROUTE
        or not all(1 <= count <= MAX_PARTS for count in message.parts)
        or any(map(ge, message.place, message.parts))
    ):
        raise BadFrame("the path of a part is out of its ranges")
    return Part(sequence, tuple(map(Step, message.stage, message.fork, message.place, message.parts)))


def _spans(sequences: Sequence[int], statuses: Sequence[int]) -> list[int]:
    if Status.FOLDED not in statuses:
        return []
    return [one.count for one in sequences if isinstance(one, Span)]


def _put_spans(sequences: list[int], payloads: Sequence[Payload], statuses: Sequence[int], spans: list[int]) -> None:
    """Give what is folded its identity, in place. No more of it than one frame of ours has: a leader spells it out."""
    if not spans and Status.FOLDED not in statuses:
        return
    places = [place for place, status in enumerate(statuses) if status == Status.FOLDED]
    if len(places) != len(spans) or len(spans) > MAX_ITEMS or not all(1 <= span <= MAX_SPAN for span in spans):
        raise BadFrame("a span that is none, or not where something is folded")
    for place, span in zip(places, spans, strict=True):
        payload = payloads[place]
        assert isinstance(payload, bytes), "nothing of a table is opened yet"
        check_table(payload)
        sequences[place] = Span(sequences[place], span)


def _keep(known: dict[_Key, _Value], key: _Key, value: _Value) -> None:
    if len(known) >= HEADERS_KEPT:
        del known[next(iter(known))]
    known[key] = value


def _remaining_us(batch: Batch) -> int:
    return 0 if batch.remaining is None else min(max(0, batch.remaining) // 1_000, LONGEST_TIME_US) + 1


def _remaining(us: int) -> int | None:
    return None if us == 0 else min(us - 1, LONGEST_TIME_US) * 1_000


def _payload_bytes(batch: Batch) -> list[bytes]:
    """The batch's payloads, with failures and what else has a form of its own turned into it in place."""
    payloads: list[Payload] = batch.payloads
    if batch.statuses is not None or batch.header.task == Task.GATHER:
        for index, payload in enumerate(payloads):
            if isinstance(payload, Failure):
                payloads[index] = encode_failure(payload)
            elif isinstance(payload, Split):
                payloads[index] = encode_split(payload)
            elif isinstance(payload, tuple):
                payloads[index] = encode_joined(payload)  # type: ignore[arg-type]  # those before are tuples, too
    return payloads  # type: ignore[return-value]  # bytes only, from here on


def _opened(batch: Batch) -> Batch:
    """The batch, with what a leader and its worker say to each other in a form of its own turned into values."""
    header, statuses, payloads = batch.header, batch.statuses, batch.payloads
    if statuses is not None and header.leg != Leg.FROM_WORKER and Status.MANY in statuses:
        raise BadFrame("many results of one message from somebody who is no worker")
    if header.leg == Leg.FROM_WORKER and statuses is not None:
        for index, status in enumerate(statuses):
            payload = payloads[index]
            assert isinstance(payload, bytes), "nothing of it is opened yet"
            if status == Status.MANY:
                payloads[index] = decode_split(payload, header)
            elif header.task == Task.PART and status in _WITH_FAILURE:
                payloads[index] = decode_failure(payload)
    elif header.task == Task.GATHER and header.leg == Leg.TO_WORKER:
        if statuses is not None and any(statuses):
            raise BadFrame("parts to be gathered that have ended")
        for index, payload in enumerate(payloads):
            assert isinstance(payload, bytes), "nothing of it is opened yet"
            payloads[index] = decode_joined(payload)
    return batch


# -- failures ---------------------------------------------------------------------------------------------------------


def encode_failure(failure: Failure) -> bytes:
    return FailureMessage(
        reason=failure.reason,
        kind=failure.kind[:200],
        text=_cut(failure.text, TEXT_BYTES),
        remote_traceback=_cut(failure.remote_traceback, TRACEBACK_BYTES),
        server=failure.server,
        function=failure.function,
        instance=failure.instance,
        attempt=failure.attempt,
    ).SerializeToString()


def decode_failure(payload: bytes) -> Failure:
    """Never raises: bytes that are no failure become one that says so."""
    try:
        message = FailureMessage.FromString(payload)
        reason = FailureMessage.Reason.Name(message.reason)
    except (DecodeError, ValueError):
        return Failure("BAD_REQUEST", "Unreadable", "the failure came in a form that this release does not read")
    return Failure(
        reason,
        message.kind,
        message.text,
        message.remote_traceback,
        message.server,
        message.function,
        message.instance,
        message.attempt,
    )


def _cut(text: str, limit: int) -> str:
    """At most `limit` bytes of UTF-8; the end of a traceback says most, so the middle goes."""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= limit:
        return raw.decode("utf-8")
    half = limit // 2 - 16
    return raw[:half].decode("utf-8", "ignore") + "\n[... cut ...]\n" + raw[-half:].decode("utf-8", "ignore")
