"""The reducer's side of a reduction: runs of messages become tables of one value for each key.

What is folded is consecutive, and folded in order: so it is enough that the function is associative. A table says which
messages are in it (a `Span`), and nothing is kept here once it has gone: who asks again gets it computed again. Whether
a table counts is for the client to say (`palm.core.reduction`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Callable, NamedTuple, Sequence

from palm.core.joins import Taken, Zip
from palm.core.memory import Memory
from palm.core.message import Batch, Failure, Form, Header, Payload, Status
from palm.core.share import Path, path_of

REDUCE = "ReduceServer"
"""The kind of servers that fold messages."""

MAX_SPAN = 4_096
"""Messages of one run: as many as a worker ever has."""

MAX_KEYS = 1_048_576
"""Keys of one table: a table is a message."""

Pack = Callable[[Sequence[bytes]], bytes]
"""Makes one payload of all parts of a message."""

Key = Callable[[bytes], bytes]
Function = Callable[[bytes, bytes], bytes]


class Span(int):
    """The identity of a run of consecutive messages: the sequence of the first of them, and compares as such."""

    count: int

    def __new__(cls, first: int, count: int) -> Span:
        span = super().__new__(cls, first)
        span.count = count
        return span

    def __getnewargs__(self) -> tuple[int, int]:  # type: ignore[override]  # an int's has one
        return int(self), self.count

    @property
    def sequences(self) -> range:
        return range(int(self), int(self) + self.count)


class Entry(NamedTuple):
    """What there is of one key: a value, or in its place (`failed`) why there is none."""

    key: bytes
    value: bytes
    first: int
    """The lowest sequence that gave something for the key."""
    failed: bool = False


Table = Sequence[Entry]


class Blame(Exception):
    """User code could not fold what it was given; `__cause__` is what it raised. The key is known where it is not the
    key function that raised."""

    def __init__(self, key: bytes | None) -> None:
        super().__init__(key)
        self.key = key


@dataclass(slots=True)
class Folded:
    """A run of messages that are folded: so far, or for good."""

    first: int
    count: int = 0
    values: dict[bytes, bytes] = field(default_factory=dict)
    firsts: dict[bytes, int] = field(default_factory=dict)
    size_bytes: int = 0

    @property
    def span(self) -> Span:
        return Span(self.first, self.count)

    def table(self) -> list[Entry]:
        return [Entry(key, value, self.firsts[key]) for key, value in self.values.items()]


class Folding:
    """Folds messages as they come, in rising order, into as few runs as can be: one ends where a sequence is missing,
    at each multiple of `every`, and where its table weighs more than `limit_bytes`."""

    def __init__(self, function: Function, key: Key | None, *, every: int, limit_bytes: int) -> None:
        self.runs: list[Folded] = []
        self._function = function
        self._key = key
        self._every = every
        self._limit_bytes = limit_bytes

    def add(self, sequence: int, payloads: Sequence[bytes]) -> None:
        """Fold one message in, all its parts or none. Raises Blame, and whatever it raises the message is not in."""
        run = self.runs[-1] if self.runs else None
        if run is None or not self._goes_on(run, sequence):
            run = Folded(sequence)
        values = run.values
        fresh: dict[bytes, bytes] = {}
        for payload in payloads:
            key = b"" if self._key is None else _called(self._key, None, payload)
            before = fresh.get(key)
            if before is None:
                before = values.get(key)
            fresh[key] = payload if before is None else _called(self._function, key, before, payload)
        for key, value in fresh.items():
            run.size_bytes += len(value) - len(values[key]) if key in values else len(key) + len(value) + 16
            run.firsts.setdefault(key, sequence)
            values[key] = value
        if not run.count:
            self.runs.append(run)
        run.count += 1

    def _goes_on(self, run: Folded, sequence: int) -> bool:
        return (
            run.first + run.count == sequence
            and not (self._every and sequence % self._every == 0)
            and run.size_bytes <= self._limit_bytes
            and len(run.values) < MAX_KEYS
            and run.count < MAX_SPAN
        )


def fold_tables(tables: Table, function: Function, failed: Callable[[Blame, bytes], bytes]) -> list[Entry]:
    """The entries of several tables, one behind the other, in one. A key that cannot be folded fails, and only it:
    `failed` says in bytes why."""
    folded: dict[bytes, Entry] = {}
    for entry in tables:
        before = folded.get(entry.key)
        if before is None:
            folded[entry.key] = entry
            continue
        first = min(before.first, entry.first)
        if before.failed or entry.failed:
            bad = before if before.failed else entry
            folded[entry.key] = Entry(entry.key, bad.value, first, True)
            continue
        try:
            folded[entry.key] = Entry(entry.key, _called(function, entry.key, before.value, entry.value), first)
        except Blame as blame:
            folded[entry.key] = Entry(entry.key, failed(blame, entry.key), first, True)
    return list(folded.values())


def _called(function: Callable[..., bytes], key: bytes | None, *payloads: bytes) -> bytes:
    try:
        return function(*payloads)
    except KeyboardInterrupt:  # the process's, not the message's
        raise
    except BaseException as error:  # whatever user code raises is the outcome of what it was given
        raise Blame(key) from error


# -- parts ------------------------------------------------------------------------------------------------------------


class Whole(Zip):
    """All parts of a message together, as one payload; those without a result are left out. What has failed or expired
    goes on as that."""

    def __init__(self, pack: Pack) -> None:
        super().__init__()
        self._pack = pack

    def base(self, header: Header, item: int) -> tuple[int, Path]:
        return int(item), path_of(item)

    def take(self, header: Header, memory: Memory, batch: Batch, now: int) -> Taken:
        taken = super().take(header, memory, batch, now)
        for ready in taken.ready:
            ready.header = ready.header.formed(Form.PARTS)
            for place, payload in enumerate(ready.payloads):
                if isinstance(payload, tuple) and not isinstance(payload, Failure):
                    ready.payloads[place] = self._pack([part for part in payload if isinstance(part, bytes)])
        return taken


def asked_again(batch: Batch, reduces: bool) -> tuple[Header, Sequence[int]]:
    """As what a leader has given out that a client asks for again."""
    if not (reduces and batch.header.parts):
        return batch.header, batch.sequences
    return batch.header.of(0).formed(Form.PARTS), list(dict.fromkeys(map(int, batch.sequences)))


# -- on the way to the client -----------------------------------------------------------------------------------------


def outward(
    sequences: Sequence[int], payloads: list[Payload], statuses: Sequence[int]
) -> tuple[list[int], list[Payload], list[int]]:
    """Without those whose answer is the table of a message before them."""
    kept = [i for i, status in enumerate(statuses) if status != Status.WITHIN]
    return [sequences[i] for i in kept], [payloads[i] for i in kept], [statuses[i] for i in kept]


def spelled_out(batch: Batch) -> Batch:
    """A worker's answers with an item for each message again: the first of a run has its table."""
    if batch.statuses is None or Status.FOLDED not in batch.statuses:
        return batch
    sequences: list[int] = []
    payloads: list[Payload] = []
    statuses: list[int] = []
    for item, payload, status in zip(batch.sequences, batch.payloads, batch.statuses, strict=True):
        sequences.append(item)
        payloads.append(payload)
        statuses.append(status)
        if isinstance(item, Span):
            rest = item.count - 1
            sequences += item.sequences[1:]
            payloads += [b""] * rest
            statuses += [Status.WITHIN] * rest
    return Batch(batch.header, batch.watermark, sequences, payloads, batch.remaining, None, statuses)
