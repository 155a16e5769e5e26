"""Rounds, medians and the one record that a workload ends in."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import Any, Callable, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """PALM's median beside raw's, both from alternating rounds of one run. `ratio` is palm / raw of the medians."""

    bench: str
    unit: str
    palm: float
    raw: float | None
    ratio: float | None
    target: str
    """What is to be reached, in words."""
    met: bool
    series: Sequence[float] = ()
    """Where one row is of several sizes: the medians of all of them; `palm` is the last."""
    palm_rounds: Sequence[float] = ()
    raw_rounds: Sequence[float] = ()
    ratio_spread: Sequence[float] = ()
    """Least and greatest ratio of a round's pair."""
    more: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {
            "bench": self.bench,
            "unit": self.unit,
            "palm": _short(self.palm),
            "raw": None if self.raw is None else _short(self.raw),
            "ratio": None if self.ratio is None else round(self.ratio, 3),
            "series": [_short(value) for value in self.series],
            "target": self.target,
            "met": self.met,
            "palm_rounds": [_short(value) for value in self.palm_rounds],
            "raw_rounds": [_short(value) for value in self.raw_rounds],
            "ratio_spread": [round(value, 3) for value in self.ratio_spread],
            **self.more,
        }

    def as_line(self) -> str:
        beside = "" if self.raw is None else f" beside raw {_short(self.raw):g}"
        ratio = "" if self.ratio is None else f", ratio {self.ratio:.2f}"
        if self.ratio_spread:
            ratio += f" ({self.ratio_spread[0]:.2f} to {self.ratio_spread[1]:.2f})"
        shown = ", ".join(f"{_short(value):g}" for value in self.series or (self.palm,))
        return (
            f"{self.bench}: {shown} {self.unit}{beside}{ratio}; "
            f"target {self.target}: {'met' if self.met else 'MISSED'}"
        )


def alternate(
    rounds: int, palm: Callable[[], float], raw: Callable[[], float]
) -> tuple[list[float], list[float]]:
    """Each as often, in turn: a machine that others use drifts, and both shall drift alike."""
    palm_rounds, raw_rounds = [], []
    for _ in range(rounds):
        palm_rounds.append(palm())
        raw_rounds.append(raw())
    return palm_rounds, raw_rounds


def compared(
    bench: str,
    unit: str,
    palm_rounds: list[float],
    raw_rounds: list[float],
    target: str,
    is_met: Callable[[float, float], bool],
    **more: Any,
) -> Figure:
    """`is_met` is asked with PALM's median and the ratio."""
    palm, raw = median(palm_rounds), median(raw_rounds)
    pairs = [of_palm / of_raw for of_palm, of_raw in zip(palm_rounds, raw_rounds, strict=True)]
    return Figure(
        bench=bench,
        unit=unit,
        palm=palm,
        raw=raw,
        ratio=palm / raw,
        target=target,
        met=is_met(palm, palm / raw),
        palm_rounds=palm_rounds,
        raw_rounds=raw_rounds,
        ratio_spread=(min(pairs), max(pairs)),
        more=more,
    )


def _short(value: float) -> float:
    """Four digits: the rest is noise."""
    return float(f"{value:.4g}")
