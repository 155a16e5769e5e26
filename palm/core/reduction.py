"""The client's side of a reduction: which messages are in which partial result, what is to be folded next, and what is
ready.

No reducer keeps anything that can be lost: the client owns the partial results as it owns its messages. It takes a
table only where *all* messages of its span are open, which makes them absorbed; else it drops the whole table. That one
rule is all there is against parts that ran twice, reducers that were restarted, and leaders of old terms. Tables are
bytes here, and a *round* folds neighbours: their bytes one behind the other, sent to a reducer like any message.
"""

from __future__ import annotations

from typing import Iterator, NamedTuple

from palm.core.folding import Span
from palm.core.message import Failure, Payload, Status

FAN = 16
"""Tables of one level that are folded in one round. Levels are those of a merge tree (O'Neil et al. 1996): what is
large is seldom folded again."""

MOST_IN_ROUND = 64
MOST_HELD = 256
"""Partial results, before neighbours are folded however few they are."""

ROUND_BYTES = 32 * 1024 * 1024
"""Of the tables of one round: it is one message."""

End = tuple[Payload, int]
"""How a round ended that gave no table: its payload and status."""


class Partial:
    """One partial result: a table, None while it is folded, or `end` where that came to nothing."""

    __slots__ = ("table", "level", "end")

    def __init__(self, table: bytes | None, level: int = 0) -> None:
        self.table = table
        self.level = level
        self.end: End | None = None

    @property
    def is_busy(self) -> bool:
        return self.table is None and self.end is None


class Round(NamedTuple):
    """Tables to be folded into one, which is to become that of `partial`."""

    partial: Partial
    tables: bytes


class Group(NamedTuple):
    """Messages `first` to `stop - 1`, of which none is open any more and `absorbed` were folded: into `table`, None
    where there is none; or `end`, why there is no result."""

    first: int
    stop: int
    absorbed: int
    table: bytes | None
    end: End | None


class _Run:
    """Messages `first` to `stop - 1`, all of them absorbed or ended; their tables in order."""

    __slots__ = ("first", "stop", "absorbed", "partials")

    def __init__(self, first: int, stop: int, absorbed: int, partials: list[Partial]) -> None:
        self.first = first
        self.stop = stop
        self.absorbed = absorbed
        self.partials = partials


class Reduction:
    """Of one job at one stage. `every`: a result for each so many messages; 0: one at the end."""

    def __init__(self, every: int) -> None:
        self.every = every
        self.held = 0
        """Partial results that are kept, or being folded."""
        self._end: int | None = None
        self._next = 0
        self._starts: dict[int, _Run] = {}
        self._stops: dict[int, _Run] = {}
        self._changed: dict[_Run, None] = {}

    def fits(self, span: Span) -> bool:
        """False where it is of two groups: folded by somebody who counts otherwise."""
        return not self.every or span // self.every == span.sequences[-1] // self.every

    def absorb(self, span: Span, table: bytes) -> None:
        """These messages, until now open, are in that table."""
        self.held += 1
        self._add(_Run(int(span), span.sequences.stop, span.count, [Partial(table)]))

    def gap(self, sequence: int) -> None:
        """That message has ended otherwise: a gap that does not block."""
        self._add(_Run(sequence, sequence + 1, 0, []))

    def source_ended(self, sent: int) -> None:
        self._end = sent
        self._changed.update(dict.fromkeys(self._starts.values()))

    @property
    def is_over(self) -> bool:
        """Every group was given out."""
        return self._end is not None and self._next >= self._end

    # -- rounds -------------------------------------------------------------------------------------------------------

    def rounds(self) -> list[Round]:
        """What is to be folded now. Each has its outcome told by `folded` or `spoiled`."""
        rounds: list[Round] = []
        hurry = self.held > MOST_HELD
        for run in list(self._starts.values()) if hurry else list(self._changed):
            for start, stop in reversed(list(_neighbours(run.partials, hurry or self._is_complete(run)))):
                rounds.append(self._fold(run, start, stop))
        self._changed.clear()
        return rounds

    def _fold(self, run: _Run, start: int, stop: int) -> Round:
        taken = run.partials[start:stop]
        partial = Partial(None, max(one.level for one in taken) + 1)
        run.partials[start:stop] = [partial]
        self.held -= len(taken) - 1
        return Round(partial, b"".join(one.table for one in taken if one.table is not None))

    def folded(self, partial: Partial, table: bytes) -> None:
        partial.table = table
        self._touch()

    def spoiled(self, partial: Partial, end: End) -> None:
        """It came to nothing, and so does the group that it is of."""
        partial.end = end
        self._touch()

    def _touch(self) -> None:
        # Runs are few, rounds are rare: which run it is of is not worth a column.
        self._changed.update(dict.fromkeys(self._starts.values()))

    # -- groups -------------------------------------------------------------------------------------------------------

    def finished(self) -> list[Group]:
        """The groups that are complete, in order, each once; one behind a group that is not waits for it."""
        groups: list[Group] = []
        while (run := self._starts.get(self._next)) is not None and self._is_complete(run):
            if any(partial.is_busy for partial in run.partials):
                break
            end = next((partial.end for partial in run.partials if partial.end is not None), None)
            if end is None and len(run.partials) > 1:
                if any(True for _ in _neighbours(run.partials, True)):
                    break
                end = (_too_large(run), Status.FAILED)
            table = run.partials[0].table if run.partials and end is None else None
            groups.append(Group(run.first, run.stop, run.absorbed, table, end))
            self.held -= len(run.partials)
            self._remove(run)
            self._next = run.stop
        return groups

    def _is_complete(self, run: _Run) -> bool:
        if self.every:
            if run.first % self.every:
                return False
            return run.stop == run.first + self.every or run.stop == self._end
        return run.first == 0 and run.stop == self._end

    # -- runs ---------------------------------------------------------------------------------------------------------

    def _add(self, run: _Run) -> None:
        """Put it between its neighbours, where it closes a gap."""
        before, behind = self._stops.get(run.first), self._starts.get(run.stop)
        if before is not None and not self._parts(run.first):
            run = self._joined(before, run)
        if behind is not None and not self._parts(run.stop):
            run = self._joined(run, behind)
        self._starts[run.first] = self._stops[run.stop] = run
        self._changed[run] = None

    def _joined(self, left: _Run, right: _Run) -> _Run:
        """One of both; the longer list of partials takes the other in."""
        self._remove(left)
        self._remove(right)
        if len(left.partials) >= len(right.partials):
            left.partials += right.partials
            right.partials = left.partials
        else:
            right.partials[:0] = left.partials
        return _Run(left.first, right.stop, left.absorbed + right.absorbed, right.partials)

    def _remove(self, run: _Run) -> None:
        self._starts.pop(run.first, None)
        self._stops.pop(run.stop, None)
        self._changed.pop(run, None)

    def _parts(self, boundary: int) -> bool:
        return bool(self.every) and boundary % self.every == 0


def _neighbours(partials: list[Partial], all_of_them: bool) -> Iterator[tuple[int, int]]:
    """Stretches of neighbours that are to be folded, in order; each of what one round may take."""
    if len(partials) < (2 if all_of_them else FAN) or any(one.end is not None for one in partials):
        return
    levels = sorted({one.level for one in partials if not one.is_busy})
    for level in levels[-1:] if all_of_them else levels:
        found = False
        for start, stop in _stretches(partials, level):
            if all_of_them or sum(one.level == level for one in partials[start:stop]) >= FAN:
                for pair in _cut(partials, start, stop):
                    found = True
                    yield pair
        if found:
            return


def _stretches(partials: list[Partial], level: int) -> Iterator[tuple[int, int]]:
    start: int | None = None
    for place, one in enumerate(partials):
        if one.is_busy or one.level > level:
            if start is not None:
                yield start, place
            start = None
        elif start is None:
            start = place
    if start is not None:
        yield start, len(partials)


def _cut(partials: list[Partial], start: int, stop: int) -> Iterator[tuple[int, int]]:
    """A stretch in pieces of at least two that one message has room for."""
    first, size = start, 0
    for place in range(start, stop + 1):
        more = len(partials[place].table or b"") if place < stop else 0
        if place == stop or size + more > ROUND_BYTES or place - first == MOST_IN_ROUND:
            if place - first > 1:
                yield first, place
            first, size = place, 0
        size += more


def _too_large(run: _Run) -> Failure:
    text = (
        f"the result of messages {run.first} to {run.stop - 1} weighs more than {ROUND_BYTES} bytes, over all its keys "
        "(let the server reduce `every` so many messages, or send to several servers)"
    )
    return Failure("TOO_LARGE", "PayloadTooLarge", text)
