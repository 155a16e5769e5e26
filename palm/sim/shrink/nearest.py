"""The passing run that is nearest to a failing one, and the first event in which the two differ.

With keyed draws the same seed makes the same world, so two runs go together until what differs in their scenarios
bites: what comes next in each of them is where to look.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterable, Sequence

from palm.errors import ScenarioError
from palm.sim.history import Entry
from palm.sim.scenario.scenario import parse
from palm.sim.scenario.units import show_duration
from palm.sim.shrink.candidates import Target, targets
from palm.sim.simulation import Result, RunFailed, attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Nearest:
    """A run that passes. `same` events are alike; then come `failing` and `passing`, in words."""

    what: str
    """In what its scenario differs."""
    same: int
    failing: str
    passing: str


def nearest(text: str, neighbours: Iterable[tuple[str, str]], file: str, seed: int, target: Target) -> Nearest | None:
    """Of the neighbours that do not break `target`, the one that goes together with the failing run for longest; None
    where all break it."""
    failing = _run(text, file, seed)
    found: list[Nearest] = []
    for what, neighbour in neighbours:
        passing = _run(neighbour, file, seed)
        if failing is not None and isinstance(passing, Result) and target not in targets(passing):
            found.append(_compare(what, failing.history.entries, passing.history.entries))
    return max(found, key=lambda one: one.same, default=None)


def _run(text: str, file: str, seed: int) -> Result | RunFailed | None:
    try:
        return attempt(parse(text, file), seed)
    except ScenarioError:
        return None


def _compare(what: str, failing: Sequence[Entry], passing: Sequence[Entry]) -> Nearest:
    ends = min(len(failing), len(passing))
    same = next((number for number in range(ends) if failing[number] != passing[number]), ends)
    return Nearest(what=what, same=same, failing=_next(failing, same), passing=_next(passing, same))


def _next(entries: Sequence[Entry], number: int) -> str:
    return in_words(entries[number]) if number < len(entries) else "nothing more"


def in_words(entry: Entry) -> str:
    """`at 1204ms: message 17 of main is handling at count[1], attempt 2`."""
    of = f" of {entry.job}" if entry.job else ""  # a call of a server's own is of no job
    subject = f"message {entry.sequence}{of} " if entry.sequence >= 0 else f"{entry.job} " if entry.job else ""
    place = entry.instance or entry.server
    where = f" at {place}" if place and subject else f" {place}" if place else ""
    again = f", attempt {entry.attempt}" if entry.attempt > 1 else ""
    detail = f" ({entry.detail})" if entry.detail else ""
    return f"at {show_duration(entry.at)}: {subject}{entry.kind.value}{where}{again}{detail}"
