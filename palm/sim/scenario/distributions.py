"""How a distribution is written: `4ms`, or a mapping of one kind to what it needs; read to the values of `draws`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Callable, Mapping

from palm.errors import BadRequest
from palm.sim.draws import Distribution, Empirical, Fixed, LogNormal, Mix, Normal, Uniform
from palm.sim.scenario import units
from palm.sim.scenario.files import find_at
from palm.sim.scenario.forms import DURATION, SIZE, D, Form, Key, choice, list_of, take, whole
from palm.sim.scenario.yaml_strict import Node, Table, Text, at

SAMPLES_MAX = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    low: Annotated[int, Key("low", DURATION)]
    high: Annotated[int, Key("high", DURATION)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bell:
    mean: Annotated[int, Key("mean", DURATION)]
    deviation: Annotated[int, Key("deviation", DURATION)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Quantiles:
    p50: Annotated[int, Key("p50", DURATION)]
    p99: Annotated[int, Key("p99", DURATION)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Weight:
    weight: Annotated[int, Key("weight", whole(1, 1_000_000))]


@dataclass(frozen=True, slots=True, kw_only=True)
class _SizeSpan:
    low: Annotated[int, Key("low", SIZE)]
    high: Annotated[int, Key("high", SIZE)]


def check_quantiles(node: Node, p50_ns: int | None, p99_ns: int | None) -> None:
    """Refuse a p99 below its p50."""
    if p50_ns is not None and p99_ns is not None and p99_ns < p50_ns:
        at(node, "p99").refuse(f"p99 to be at least p50 ({units.show_duration(p50_ns)})")


def _made(shape: type[D], what: str, make: Callable[[D], Distribution]) -> Form[Distribution]:
    expected = f"the keys of {what}"

    def read(node: Node) -> Distribution:
        values = take(node, shape, what=what)
        if isinstance(values, _Quantiles):
            check_quantiles(node, values.p50, values.p99)
        try:
            return make(values)
        except BadRequest as error:
            node.place.refuse(str(error))

    return Form(expected, read)


def _part(node: Node) -> tuple[float, Distribution]:
    if not isinstance(node, Table) or "weight" not in node.entries:
        node.refuse("a part of a mix: its weight and one distribution, as {weight: 9, fixed: 1ms}")
    weight = take(Table({"weight": node.entries["weight"]}, node.place), _Weight, what="part")
    rest = {name: value for name, value in node.entries.items() if name != "weight"}
    return float(weight.weight), DELAY.read(Table(rest, node.place))


def _mix(node: Node) -> Distribution:
    return Mix(list_of(Form("a part of a mix", _part), least=1).read(node))


def _empirical(node: Node) -> Distribution:
    """Measured times in the scenario, or the name of a file with one such time in each line."""
    if not isinstance(node, Text):
        return Empirical.of(list_of(DURATION, least=1).read(node))
    lines = find_at(node, node.value).read_bytes().splitlines()
    if not 1 <= len(lines) <= SAMPLES_MAX:
        node.refuse(f"a file of 1 to {SAMPLES_MAX} times, one a line", f" ({len(lines)} lines)")
    samples = []
    for number, line in enumerate(lines, 1):
        try:
            samples.append(units.duration_ns(line.decode("ascii", "replace").strip()))
        except ValueError as error:
            node.refuse(f"{DURATION.expected} in each line", f" (its line {number}: {error})")
    return Empirical.of(samples)


KINDS: Mapping[str, Form[Distribution]] = {
    "fixed": Form(DURATION.expected, lambda node: Fixed(DURATION.read(node))),
    "uniform": _made(_Span, "uniform", lambda of: Uniform(of.low, of.high)),
    "normal": _made(_Bell, "normal", lambda of: Normal(of.mean, of.deviation)),
    "lognormal": _made(_Quantiles, "lognormal", lambda of: LogNormal(of.p50, of.p99)),
    "mix": Form("a list of parts, each with its weight", _mix),
    "empirical": Form("a list of times, or a file of them", _empirical),
}

DELAY: Form[Distribution] = choice("a distribution of times", KINDS, bare="fixed")

SIZES: Form[Distribution] = choice(
    "a distribution of sizes",
    {
        "fixed": Form(SIZE.expected, lambda node: Fixed(SIZE.read(node))),
        "uniform": _made(_SizeSpan, "uniform", lambda of: Uniform(of.low, of.high)),
    },
    bare="fixed",
)
"""The same values with bytes in the place of nanoseconds."""
