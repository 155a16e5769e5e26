"""How far the simulator is from real processes: one scenario's two runs, side by side, check by check and quantile by
quantile. Pure: it reads two histories."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Iterator, Sequence

from palm.sim.checkers import CheckResult
from palm.sim.history import ENDS, EntryKind, History, Interval, is_of
from palm.sim.scenario.scenario import Scenario

QUANTILES = (50, 90, 99, 100)
COUNTED = (
    EntryKind.REDELIVERED,
    EntryKind.REMEMBERED,
    EntryKind.BUSY,
    EntryKind.HANDLING,
    EntryKind.REGISTERED,
    EntryKind.LEASE_EXPIRED,
    EntryKind.ELECTED,
)
OUTSIDE = "outside the faults"


@dataclass(frozen=True, slots=True)
class Pair:
    """One figure of both worlds, in ms or as a count; None where a world has none."""

    what: str
    sim: float | None
    real: float | None
    unit: str = "ms"

    @property
    def off(self) -> float | None:
        """By what part of the real figure the simulator's is too large; below 0, too small."""
        if self.sim is None or not self.real:
            return None
        return self.sim / self.real - 1.0


def checks_side_by_side(
    sim: Sequence[CheckResult], real: Sequence[CheckResult]
) -> list[tuple[str, CheckResult, CheckResult]]:
    """Both worlds' results of each check: the same scenario is judged by the same checks, in one order."""
    return [(ours.check, ours, theirs) for ours, theirs in zip(sim, real, strict=True)]


def figures(scenario: Scenario, sim: History, real: History) -> Iterator[Pair]:
    """Times in flight of each job's messages, all and those that met no fault; times of handling at each server; how
    long each job took; and how often what happened."""
    for job in scenario.load:
        ours, theirs = _in_flight(sim, job.id), _in_flight(real, job.id)
        yield from _quantiles(f"{job.id}: in flight", _times(ours), _times(theirs))
        calm = _times(_unharmed(sim, ours)), _times(_unharmed(real, theirs))
        yield from _quantiles(f"{job.id}: in flight, {OUTSIDE}", *calm)
        yield Pair(f"{job.id}: from first to last", _span(sim, job.id), _span(real, job.id))
    for server in scenario.world.servers:
        yield from _quantiles(f"{server}: handling", _handling(sim, server), _handling(real, server))
    ours_count = Counter(entry.kind for entry in sim.entries)
    theirs_count = Counter(entry.kind for entry in real.entries)
    for kind in COUNTED:
        if ours_count[kind] or theirs_count[kind]:
            yield Pair(kind.value, ours_count[kind], theirs_count[kind], "times")


def _in_flight(history: History, job: str) -> list[Interval]:
    """From when each message was sent to when it was delivered."""
    sent: dict[tuple[str, int], int] = {}
    spans = []
    for entry in history.entries:
        if is_of(entry.job, job):
            if entry.kind is EntryKind.SENT:
                sent[entry.job, entry.sequence] = entry.at
            elif entry.kind is EntryKind.DELIVERED and (entry.job, entry.sequence) in sent:
                spans.append(Interval(sent[entry.job, entry.sequence], entry.at))
    return spans


def _unharmed(history: History, spans: list[Interval]) -> list[Interval]:
    faults = [interval for intervals in history.active.values() for interval in intervals]
    return [
        span for span in spans if not any(span.start <= fault.end and fault.start <= span.end for fault in faults)
    ]


def _times(spans: list[Interval]) -> list[int]:
    return [span.end - span.start for span in spans]


def _span(history: History, job: str) -> float | None:
    moments = [e.at for e in history.entries if is_of(e.job, job) and (e.kind is EntryKind.SENT or e.kind in ENDS)]
    return (moments[-1] - moments[0]) / 1e6 if moments else None


def _handling(history: History, server: str) -> list[int]:
    """From when user code began until its answer went on."""
    began: dict[tuple[str, str, int], int] = {}
    times = []
    for entry in history.entries:
        if entry.server == server:
            key = (entry.instance, entry.job, entry.sequence)
            if entry.kind is EntryKind.HANDLING:
                began[key] = entry.at
            elif entry.kind is EntryKind.ANSWERED and key in began:
                times.append(entry.at - began.pop(key))
    return times


def _quantiles(what: str, sim: list[int], real: list[int]) -> Iterator[Pair]:
    sim, real = sorted(sim), sorted(real)
    for percent in QUANTILES:
        name = f"{what} " + ("max" if percent == 100 else f"p{percent}")
        yield Pair(name, _rank(sim, percent), _rank(real, percent))


def _rank(times: list[int], percent: int) -> float | None:
    return times[(len(times) * percent + 99) // 100 - 1] / 1e6 if times else None
