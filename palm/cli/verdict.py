"""How the result of a simulated run is shown: for people, and as JSON."""

from __future__ import annotations

import sys
from typing import Any, Sequence

from palm.sim.checkers import CheckResult, Verdict
from palm.sim.simulation import Result

_MARKS = {"holds": "ok", "broken": "BROKEN", "inconclusive": "unclear"}
_COLOURS = {"holds": "32", "broken": "31;1", "inconclusive": "33"}


def as_json(result: Result) -> dict[str, Any]:
    return {
        "scenario": result.scenario,
        "seed": result.seed,
        "verdict": result.verdict.value,
        "checks": [{"check": one.check, "verdict": one.verdict.value, "why": one.why} for one in result.checks],
        "trace_hash": result.trace_hash,
        "events": result.events,
        "simulated_s": round(result.simulated_s, 6),
        "wall_s": round(result.wall_s, 3),
        "ledger": result.ledger._asdict(),
    }


def show(result: Result, path: str) -> None:
    """The command that reproduces it comes first; then the verdict, each check with its reason, and the figures."""
    print(f"palm simulate {path} --seed {result.seed}")
    show_checks(result.verdict, f"{result.scenario}, seed {result.seed}", result.checks)
    if result.drawn:
        print("drawn", *result.drawn, sep="\n  ")
    speed = result.simulated_s / result.wall_s if result.wall_s else 0.0
    print(f"ledger  {result.ledger}")
    print(
        f"time    {result.simulated_s:.3f} s simulated in {result.wall_s:.2f} s ({speed:.0f} x), "
        f"{result.events} events, trace {result.trace_hash}"
    )


def show_checks(verdict: Verdict, what: str, checks: Sequence[CheckResult]) -> None:
    """The verdict on `what`, and each check with its reason."""
    print(f"{_painted(verdict.value.upper(), verdict.value)}  {what}")
    width = max((len(one.check) for one in checks), default=0)
    for one in checks:
        mark = _painted(f"{_MARKS[one.verdict.value]:>7}", one.verdict.value)
        print(f"  {mark}  {one.check:<{width}}  {one.why}")


def _painted(text: str, verdict: str) -> str:
    if not sys.stdout.isatty():
        return text
    return f"\033[{_COLOURS[verdict]}m{text}\033[0m"
