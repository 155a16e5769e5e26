"""What the runs of a sweep have shown between them: pairs of an event at a server and the fault that was active.

A pair that never came up is a course of events that nobody has judged. How many those are is estimated as ecologists
estimate the species that they have not met: from the pairs that only one run, or only two, have shown (Chao 1987; Good
1953). This file knows histories, not how runs are made.
"""

from __future__ import annotations

from collections import Counter
from typing import Iterable, Mapping

from palm.sim.history import History

Pair = tuple[str, str, str]
"""(server or job, event, fault): the fault is the action of a step that was active, or nothing."""

CALM = "-"


def pairs_of(history: History, actions: Mapping[str, str]) -> frozenset[Pair]:
    """All pairs of one run. `actions`: by step id, what the step did."""
    changes = sorted(
        [(interval.start, 0, actions[step]) for step, spans in history.active.items() for interval in spans]
        + [(interval.end, 1, actions[step]) for step, spans in history.active.items() for interval in spans]
    )
    found: set[Pair] = set()
    active: Counter[str] = Counter()
    upcoming = 0
    for entry in history.entries:
        while upcoming < len(changes) and _is_past(changes[upcoming], entry.at):
            _, ends, action = changes[upcoming]
            active[action] += -1 if ends else 1
            upcoming += 1
        place = entry.server or entry.job
        names = [action for action, count in active.items() if count > 0] or [CALM]
        found.update((place, entry.kind.value, name) for name in names)
    return frozenset(found)


def _is_past(change: tuple[int, int, str], at: int) -> bool:
    """A fault is active from its start up to and including its end."""
    moment, ends, _ = change
    return moment < at if ends else moment <= at


class Coverage:
    """Counts in how many runs each pair was seen, for each scenario by itself: their pairs are of different worlds."""

    def __init__(self) -> None:
        self._seen: dict[str, Counter[Pair]] = {}
        self._runs: Counter[str] = Counter()

    def add(self, scenario: str, pairs: Iterable[Pair]) -> None:
        self._runs[scenario] += 1
        self._seen.setdefault(scenario, Counter()).update(pairs)

    @property
    def seen(self) -> int:
        return sum(len(counts) for counts in self._seen.values())

    @property
    def unseen(self) -> float:
        """About how many pairs more there are, by Chao's estimate for samples that are runs; a lower bound."""
        return sum(_chao(counts, self._runs[name]) for name, counts in self._seen.items())

    @property
    def chance_of_new(self) -> float:
        """The chance, by Good and Turing, that a pair of the next run is one not seen before."""
        sightings = sum(sum(counts.values()) for counts in self._seen.values())
        once = sum(_shown_by(counts, 1) for counts in self._seen.values())
        return once / sightings if sightings else 1.0

    def __str__(self) -> str:
        whole = self.seen + self.unseen
        return (
            f"{self.seen} pairs (server, event, fault) of about {whole:.0f}; "
            f"{100 * self.chance_of_new:.1f} % of the next run's would be new"
        )


def _chao(counts: Counter[Pair], runs: int) -> float:
    once, twice = _shown_by(counts, 1), _shown_by(counts, 2)
    return (runs - 1) / runs * once * (once - 1) / (2 * (twice + 1))


def _shown_by(counts: Counter[Pair], runs: int) -> int:
    return sum(1 for times in counts.values() if times == runs)
