"""From a failing run to the smallest scenario that fails in the same way: the order in which things are tried.

First the faults, as everything else becomes cheaper with fewer of them; then messages, the triggers of what is left,
nodes and times; all of it again for as long as something becomes smaller. What counts as the same failure is said in
`candidates`, what is smaller in `smaller` and `script`; this file only decides what to try next.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Callable, Iterable, Iterator, Sequence

from palm.sim.scenario.document import Tree, flow, read, write
from palm.sim.shrink import smaller
from palm.sim.shrink.candidates import OF_JOBS, OF_SERVERS, Candidate, Moment, Runs, Sight
from palm.sim.shrink.ddmin import fewest
from palm.sim.shrink.script import faults, id_of, mended_by, on_event, steps_of, tied, untied, with_only, without_faults

CUSTOM = "custom"
"""A check of the user's own may ask for what only a longer fault leaves room for: there, times are not cut short."""
NEAR = 3
"""Kinds of events that are tried as the trigger of a step: those that happened last before it."""
_FEWER_AT_FIRST = 3
"""Halvings of the messages before anything else: they are cheap, and so is everything after them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    faults: int
    messages: int
    processes: int

    def __str__(self) -> str:
        return f"faults {self.faults}, messages {self.messages}, processes {self.processes}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shrunk:
    """The smallest scenario found that breaks the same check."""

    text: str
    sight: Sight
    before: Size
    after: Size
    runs: int
    wall_s: float
    spent: bool
    """It ended because its time was over; more time might find a smaller one."""
    last_passed: str | None

    @property
    def script(self) -> list[str]:
        """Its steps as they stand in the file."""
        return [f"- {flow(step)}" for step in steps_of(read(self.text, "the shrunk scenario"))]

    def neighbours(self) -> Iterator[tuple[str, str]]:
        """What is one fault smaller, each with how it differs; where there is no fault, what was last seen to pass."""
        tree = untied(read(self.text, "the shrunk scenario"), self.sight.started)
        ids = faults(tree)
        for left_out in ids:
            yield f"without {left_out}", write(with_only(tree, [one for one in ids if one != left_out]))
        if not ids and self.last_passed is not None:
            ours = self.text.splitlines()
            other = [line.strip() for line in self.last_passed.splitlines() if line not in ours]
            yield f"with {other[0]}" if other else "with less", self.last_passed


def shrink(text: str, file: str, runs: Runs, say: Callable[[str], None] = lambda line: None) -> Shrunk | None:
    """None where the failure does not come again. `say` is told what has become smaller, a line each time.

    The text has no chaos block: what it drew is in its script (`palm.sim.chaos.as_plain_script`).
    """
    begin = time.perf_counter()
    tree = read(text, file)
    whole = runs.first([Candidate(text=write(tree))])
    if whole is None:
        return None
    search = _Search(tree, whole[1], runs, say)
    search.run()
    return Shrunk(
        text=write(search.tree),
        sight=search.sight,
        before=_size(tree),
        after=_size(search.tree),
        runs=runs.count,
        wall_s=time.perf_counter() - begin,
        spent=runs.spent,
        last_passed=runs.passed,
    )


def _size(tree: Tree) -> Size:
    messages, processes = smaller.count_of(tree)
    return Size(faults=len(faults({**tree, "expect": {}})), messages=messages, processes=processes)


class _Search:
    """`tree` is the smallest so far that breaks, and `sight` what its run showed."""

    def __init__(self, tree: Tree, sight: Sight, runs: Runs, say: Callable[[str], None]) -> None:
        self.tree = tree
        self.sight = sight
        self._runs = runs
        self._say = say
        self._is_controlled = False

    def run(self) -> None:
        self._take([smaller.only_check(self.tree, self._runs.target.check)])
        self._while_taken(smaller.fewer_checks)
        # Faults are to blame unless the world breaks without them: then there are none from now on.
        self._is_controlled = bool(faults(self.tree)) and not self._take([without_faults(self.tree)])
        for _ in range(_FEWER_AT_FIRST):
            if not self._take([smaller.half_the_messages(self.tree)]):
                break
        self._take([untied(self.tree, self.sight.started)])
        while not self._runs.spent:
            size = write(self.tree)
            self._fewer_faults()
            self._take([tied(self.tree, self.sight.started)])
            self._to_events("at")
            for ways in (smaller.earlier_events, smaller.fewer_messages, smaller.fewer_nodes, smaller.plainer):
                self._while_taken(ways)
            self._to_events("after")
            self._while_taken(smaller.earlier_events)
            self._while_taken(smaller.rounder)
            if self._runs.target.check != CUSTOM:
                self._while_taken(smaller.shorter)
            if write(self.tree) == size:
                break

    def _fewer_faults(self) -> None:
        tree = self.tree

        def first(selections: Sequence[Sequence[str]]) -> int | None:
            return self._take_first([with_only(tree, ids) for ids in selections])

        fewest(faults(tree), first)

    def _to_events(self, key: str) -> None:
        """All faults that wait for a time at once, if that will do; else each by itself."""
        steps = steps_of(self.tree)
        timed = [id_of(step) for step in steps if key in step and not mended_by(step, steps)]
        waiting = {step: self._triggers(step) for step in timed}
        together = {step: found[0] for step, found in waiting.items() if found}
        if together and self._take([on_event(self.tree, together)]):
            return
        for step, found in waiting.items():
            self._take(on_event(self.tree, {step: trigger}) for trigger in found)

    def _triggers(self, step: str) -> list[tuple[str, str, str, int]]:
        moments = list(self.sight.before.get(step, ()))[:NEAR]
        moments.sort(key=_liking)
        return [(one.event, one.server, one.job, one.nth) for one in moments]

    def _while_taken(self, ways: Callable[[Tree], Iterable[Tree]]) -> None:
        while not self._runs.spent and self._take(ways(self.tree)):
            pass

    def _take(self, trees: Iterable[Tree]) -> bool:
        return self._take_first(trees) is not None

    def _take_first(self, trees: Iterable[Tree]) -> int | None:
        """Go on from the first tree that breaks; its place, or None where none does."""
        tried: list[Tree] = []

        def candidates() -> Iterator[Candidate]:
            for tree in trees:
                tried.append(tree)
                yield self._candidate(tree)

        found = self._runs.first(candidates())
        if found is None:
            return None
        number, sight = found
        if write(tried[number]) != write(self.tree):
            before, size = _size(self.tree), _size(tried[number])
            self.tree, self.sight = tried[number], sight
            if size != before:
                self._say(f"{self._runs.count} runs: {size}")
        return number

    def _candidate(self, tree: Tree) -> Candidate:
        control = write(without_faults(tree)) if self._is_controlled and faults(tree) else None
        return Candidate(text=write(tree), control=control, idle=self.sight.idle)


def _liking(moment: Moment) -> int:
    return (*OF_SERVERS, *OF_JOBS).index(moment.event)
