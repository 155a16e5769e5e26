"""How a sink joins what comes to it: which messages may run now, in what order, and as what.

`Zip` waits for all parts of a message and makes one call of them; `InOrder` lets messages through in the order in
which the client has sent them. What has not come yet is nobody's here: the client sends it again. Both hold at most
what is above the watermark, so the client's window bounds them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Iterable, Literal, Sequence
from zlib import crc32

from palm.core.links import Link
from palm.core.memory import Memory
from palm.core.message import Batch, Header, Instance, JobId, Payload, Status
from palm.core.route import Branching, Stage
from palm.core.share import Gathering, Path, item_at, path_of
from palm.errors import did_you_mean

Join = Literal["arrival", "order", "zip"]
JOINS: tuple[Join, ...] = ("arrival", "order", "zip")

SINK = "SinkServer"
"""The kind of servers whose instances do not share a job: what belongs together has to meet."""

SOURCE = "SourceServer"
SOURCES = frozenset({SOURCE, "ButterflyServer", "ScatterGatherServer"})
"""The kinds of servers that branches may begin behind."""


def meeting_place(job: JobId, links: Iterable[Link], function: str) -> Link | None:
    """The instance that takes all messages of a job: the same for all who ask with the same view of the registry
    (highest random weight; Thaler and Ravishankar 1998)."""
    candidates = [link for link in links if link.instance.has(function) and not link.leaving]
    weight = f"/{job.client}/{job.number}"
    return max(candidates, key=lambda link: crc32((link.instance.peer + weight).encode()), default=None)


@dataclass(slots=True)
class Taken:
    """What is to be done with a batch that came."""

    again: list[int] = field(default_factory=list)
    """Known: to be answered from memory, as these identities."""
    stale: int = 0
    ready: list[Batch] = field(default_factory=list)
    """To be admitted now, in this order. They are taken in memory."""

    def add(
        self, header: Header, item: int, payload: Payload, status: int, watermark: int, remaining: int | None
    ) -> None:
        last = self.ready[-1] if self.ready else None
        if last is None or last.header is not header or last.remaining != remaining:
            last = Batch(header, watermark, [], [], remaining, None, [])
            self.ready.append(last)
        assert last.statuses is not None
        last.sequences.append(item)
        last.payloads.append(payload)
        last.statuses.append(status)


class Zip:
    """One call for each message that was split, with all that came of it."""

    def __init__(self) -> None:
        self._open: dict[int, dict[int, Gathering[tuple[Payload, int]]]] = {}

    def base(self, header: Header, item: int) -> tuple[int, Path]:
        """What a part is joined to, and its path from there."""
        return _base(header, item)

    def knows(self, header: Header, memory: Memory, item: int) -> bool:
        return memory.knows(self.base(header, item)[0])

    def take(self, header: Header, memory: Memory, batch: Batch, now: int) -> Taken:
        taken = Taken()
        again: dict[int, None] = {}
        whole, part = header.of(0), header
        statuses = batch.statuses or [Status.OK] * len(batch)
        for item, payload, status in zip(batch.sequences, batch.payloads, statuses, strict=True):
            base, rest = self.base(header, item)
            if base < memory.floor:
                taken.stale += 1
            elif memory.knows(base):
                again[base] = None
            else:
                waiting = self._open.setdefault(int(base), {})
                gathering = waiting.setdefault(base, Gathering())
                gathering.add(rest, (payload, status))
                if gathering.is_complete:
                    del waiting[base]
                    memory.take(base)
                    under = part if path_of(base) else whole
                    taken.add(under, base, *_joined(gathering), batch.watermark, batch.remaining)
        taken.again = list(again)
        return taken

    def forget(self, watermark: int) -> None:
        for sequence in [sequence for sequence in self._open if sequence < watermark]:
            del self._open[sequence]


class InOrder:
    """One message after another, its parts in the order of their paths."""

    def __init__(self) -> None:
        self._next = 0
        self._held: dict[int, Gathering[tuple[int, Payload, int, int | None]]] = {}

    def knows(self, header: Header, memory: Memory, item: int) -> bool:
        return memory.knows(item)

    def take(self, header: Header, memory: Memory, batch: Batch, now: int) -> Taken:
        taken = Taken()
        statuses = batch.statuses or [Status.OK] * len(batch)
        expires = None if batch.remaining is None else now + batch.remaining
        whole = header.of(0)
        self._next = max(self._next, memory.floor)
        for item, payload, status in zip(batch.sequences, batch.payloads, statuses, strict=True):
            if item < memory.floor:
                taken.stale += 1
            elif memory.knows(item):
                taken.again.append(item)
            else:
                memory.take(item)
                if item < self._next:
                    # Another attempt at a message that went through before: its turn has been.
                    taken.add(header, item, payload, status, batch.watermark, batch.remaining)
                    continue
                gathering = self._held.setdefault(int(item), Gathering())
                gathering.add(path_of(item), (item, payload, status, expires))
        while (turn := self._held.get(self._next)) is not None and turn.is_complete:
            del self._held[self._next]
            self._next += 1
            for item, payload, status, until in turn.values():
                under = whole if not path_of(item) else header if header.parts else header.of(item)
                remaining = None if until is None else max(0, until - now)
                taken.add(under, item, payload, status, batch.watermark, remaining)
        return taken

    def forget(self, watermark: int) -> None:
        for sequence in [sequence for sequence in self._held if sequence < watermark]:
            del self._held[sequence]


def joiner(join: Join) -> Zip | InOrder:
    """Of one job at one stage; a sink that joins by arrival needs none."""
    return Zip() if join == "zip" else InOrder()


def objection(join: Join, header: Header) -> str:
    """Why a sink cannot work at that place of that route; empty where it can."""
    if join == "order" and isinstance(header.route, Branching) and header.stage in header.route.within:
        return _in_a_branch(header.target)
    return ""


def unfit(route: Branching, stage: int, instance: Instance) -> str:
    """Why what an instance says of itself does not go with that place of the route; empty where it does."""
    if instance.join == "order" and stage in route.within:
        return _in_a_branch(route[stage])
    declared = dict(instance.outputs).get(route[stage].function)
    if declared is None or stage not in route.branches:
        return ""
    names = [branch.name for branch in route.branches[stage]]
    strangers = [name for name in names if name not in declared] or [name for name in declared if name not in names]
    if not strangers:
        return ""
    lacking = "the route has a branch" if strangers[0] in names else "the route has no branch"
    return (
        f"{route[stage]} names its outputs {', '.join(declared)}, and {lacking} {strangers[0]!r}"
        f"{did_you_mean(strangers[0], declared if strangers[0] in names else names)}: write one for each of them, as "
        f"{{{declared[0]!r}: ['server.function'], ...}}"
    )


def _in_a_branch(stage: Stage) -> str:
    return (
        f"stage {stage} joins in order, but stands in a branch, which not all messages come through: "
        "put it behind the branches, or join by arrival"
    )


def _base(header: Header, item: int) -> tuple[int, Path]:
    """What a part is zipped to, and its path from there: to what was split into the branches that meet here; in a
    branch, to what came into it; to the whole message where no branches are. Stages only rise along a path."""
    path, route = path_of(item), header.route
    cut = 0
    if path and isinstance(route, Branching):
        if header.stage in route.joins:
            cut = sum(step.stage < route.joins[header.stage] for step in path)
        elif header.stage in route.within:
            cut = sum(step.stage <= route.within[header.stage] for step in path)
    return item_at(item, path[:cut]), path[cut:]


def _joined(gathering: Gathering[tuple[Payload, int]]) -> tuple[Payload, int]:
    """All payloads, with None for what was filtered out; or how the first part ended that has none; or nothing at
    all."""
    ends: Sequence[tuple[Payload, int]] = list(gathering.values())
    for payload, status in ends:
        if status not in (Status.OK, Status.EMPTY):
            return payload, status
    if all(status == Status.EMPTY for _, status in ends):
        return b"", Status.EMPTY
    return tuple(payload if status == Status.OK and isinstance(payload, bytes) else None for payload, status in ends), 0
