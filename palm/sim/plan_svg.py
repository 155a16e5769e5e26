"""A plan as a picture: throughput above, latency below, over the value that was varied. One SVG, for any browser."""

from __future__ import annotations

from math import ceil, floor, log10
from typing import Callable, Iterator, Sequence
from xml.sax.saxutils import escape

from palm.sim.plan import Plan
from palm.sim.verdict import Verdict

WIDTH, HEIGHT = 760, 560
_LEFT, _RIGHT, _TOP, _GAP, _BOTTOM = 88, 24, 56, 52, 56
_PANEL = (HEIGHT - _TOP - _GAP - _BOTTOM) / 2
_INK, _FAINT, _GRID, _PAPER = "#1c2530", "#5b6672", "#e3e7ec", "#ffffff"
_BLUE, _GREEN, _ORANGE, _RED = "#1f6fb2", "#2b8a5b", "#c2571a", "#b3261e"
_TICKS = 5
_LABELS_MOST = 12


def as_svg(plan: Plan, title: str) -> str:
    """The whole file."""
    points, vary = plan.points, plan.vary
    xs = [point.value for point in points]
    x_of = _scale(min(xs), max(xs), _LEFT + 16, WIDTH - _RIGHT - 16)
    lower = _TOP + _PANEL + _GAP
    rates = [point.throughput for point in points]
    p50, p99 = [point.p50 / 1e6 for point in points], [point.p99 / 1e6 for point in points]
    of = "" if vary.key not in ("workers", "instances") else f" of {vary.of}"
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    font = f'font-family="system-ui, sans-serif" font-size="13" fill="{_INK}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font}>',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{_PAPER}"/>',
        f'<text x="{_LEFT}" y="28" font-size="16" font-weight="600">{escape(title)}</text>',
    ]
    knee = plan.knee
    if knee is not None:
        at = x_of(knee)
        bottom = lower + _PANEL
        parts.append(
            f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP}" y2="{bottom:.1f}" stroke="{_RED}" stroke-dasharray="5 4"/>'
        )
        side, shift = ("end", -6) if at > WIDTH / 2 else ("start", 6)
        where = f'x="{at + shift:.1f}" y="{_TOP + _PANEL - 8:.1f}" text-anchor="{side}"'
        parts.append(f'<text {where} fill="{_RED}">knee: {knee}</text>')
    parts += _panel("messages/s", _TOP, x_of, xs, [("delivered", _BLUE, rates)])
    parts += _panel("ms under way", lower, x_of, xs, [("p50", _GREEN, p50), ("p99", _ORANGE, p99)])
    for point in points:
        if not point.is_whole:
            what = "cut off" if point.verdict is Verdict.HOLDS else point.verdict.value
            parts.append(
                f'<text x="{x_of(point.value):.1f}" y="{lower + _PANEL + 34:.1f}" text-anchor="middle" fill="{_RED}">'
                f"{what}</text>"
            )
    every = ceil(len(xs) / _LABELS_MOST)
    for x in xs[::every]:
        y = lower + _PANEL + 20
        parts.append(f'<text x="{x_of(x):.1f}" y="{y:.1f}" text-anchor="middle" fill="{_FAINT}">{x}</text>')
    name = escape(f"{vary.key}{of}" + (", messages/s offered" if vary.key == "rate" else ""))
    parts.append(f'<text x="{(_LEFT + WIDTH - _RIGHT) / 2:.0f}" y="{HEIGHT - 12}" text-anchor="middle">{name}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(
    unit: str,
    top: float,
    x_of: Callable[[float], float],
    xs: Sequence[int],
    lines: Sequence[tuple[str, str, Sequence[float]]],
) -> Iterator[str]:
    """One chart: its grid from 0, and each line with its name."""
    step = _round_step(max(max(ys) for _, _, ys in lines) / _TICKS)
    highest = step * max(1, ceil(max(max(ys) for _, _, ys in lines) / step))
    y_of = _scale(0, highest, top + _PANEL, top)
    for number in range(round(highest / step) + 1):
        y = y_of(number * step)
        yield f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{_GRID}"/>'
        shown = f"{number * step:,.10g}"
        yield f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="{_FAINT}">{shown}</text>'
    yield f'<text x="{_LEFT - 64}" y="{top - 12:.1f}" fill="{_FAINT}">{unit}</text>'
    for index, (name, colour, ys) in enumerate(lines):
        corners = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in zip(xs, ys, strict=True))
        yield f'<polyline points="{corners}" fill="none" stroke="{colour}" stroke-width="2"/>'
        for x, y in zip(xs, ys, strict=True):
            yield (
                f'<circle cx="{x_of(x):.1f}" cy="{y_of(y):.1f}" r="3.5" fill="{colour}">'
                f"<title>{name} at {x}: {y:,.4g} {unit}</title></circle>"
            )
        at = WIDTH - _RIGHT - 90 * (len(lines) - index)
        yield f'<rect x="{at}" y="{top - 21:.1f}" width="10" height="10" fill="{colour}"/>'
        yield f'<text x="{at + 15}" y="{top - 12:.1f}">{name}</text>'


def _scale(low: float, high: float, at_low: float, at_high: float) -> Callable[[float], float]:
    """A straight line; one value alone stands in the middle."""
    if high == low:
        return lambda value: (at_low + at_high) / 2
    return lambda value: at_low + (value - low) / (high - low) * (at_high - at_low)


def _round_step(least: float) -> float:
    """The next of 1, 2, 5, 10, 20, 50 ... that is not below."""
    if least <= 0:
        return 1.0
    power = 10.0 ** floor(log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))
