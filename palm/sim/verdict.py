"""What a check says, and the words and windows that all checks share."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Iterator, Sequence

from palm.sim.history import Entry, EntryKind, History, Interval
from palm.sim.scenario.units import show_duration

SHOWN = 5
"""How many offending messages a result names."""


class Verdict(Enum):
    HOLDS = "holds"
    BROKEN = "broken"
    INCONCLUSIVE = "inconclusive"

    @property
    def exit_code(self) -> int:
        return {"holds": 0, "broken": 1, "inconclusive": 2}[self.value]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What one check says of one run. `why` names the moment and the messages, also where it holds."""

    check: str
    verdict: Verdict
    why: str
    of: str = ""
    """What it is a check of, where there may be several of that name: its job, server or function."""


def of(history: History, job: str, *kinds: EntryKind) -> Iterator[Entry]:
    return (entry for entry in history.entries if entry.kind in kinds and entry.job == job)


def window(history: History, within_ns: int | None, after: str | None) -> Interval | None:
    """From when step `after` was over, for `within_ns`; None when it never was done."""
    start = 0
    if after is not None:
        if not history.active.get(after):
            return None
        start = history.active[after][-1].end
    return Interval(start, history.end_ns if within_ns is None else start + within_ns)


def late(name: str, what: str, window: Interval, history: History) -> CheckResult:
    """It has not come by the end of its window; or the run was over first, and nobody knows."""
    span = f"from {show_duration(window.start)} to {show_duration(window.end)}"
    if history.end_ns < window.end:
        return unclear(name, f"{what}, {span}; the run ended at {show_duration(history.end_ns)}")
    return broken(name, f"{what}, {span}")


def message(entry: Entry) -> str:
    return f"message {entry.sequence} of {entry.job} (at {show_duration(entry.at)})"


def some(things: Sequence[object]) -> str:
    return ", ".join(str(one) for one in things[:SHOWN]) + (", ..." if len(things) > SHOWN else "")


def ms(ns: int) -> str:
    return f"{ns / 1_000_000:.3f}ms"


def holds(check: str, why: str) -> CheckResult:
    return CheckResult(check=check, verdict=Verdict.HOLDS, why=why)


def broken(check: str, why: str) -> CheckResult:
    return CheckResult(check=check, verdict=Verdict.BROKEN, why=why)


def unclear(check: str, why: str) -> CheckResult:
    return CheckResult(check=check, verdict=Verdict.INCONCLUSIVE, why=why)
