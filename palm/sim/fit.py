"""Fits the distributions of `draws` to measured times, and costs to measured processor time. Pure mathematics.

A fit is found by its moments, which for these shapes is the way of maximum likelihood or next to it, and judged by the
Kolmogorov-Smirnov distance: the greatest difference between the two distribution functions. The least distance wins;
where even that is large, or the 99th percentile is wrong, the measured quantiles themselves are taken.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import combinations
from math import erf, exp, fsum, inf, log, pi, sqrt
from operator import mul
from statistics import NormalDist, fmean, pstdev
from typing import Callable, Iterable, Iterator, Sequence

from palm.sim.draws import Distribution, Empirical, Fixed, LogNormal, Mix, Normal, Uniform

KS_GOOD = 0.06
"""A parametric shape that is further from what was measured than this does not stand for it."""
P99_GOOD = 0.1
"""Nor one whose 99th percentile is off by more than this part, and by more than chance explains."""
_KS_BY_CHANCE = 1.36
_P99_BY_CHANCE = 3.0
"""What samples of the very same shape come to in 19 of 20 cases, and deviations of a rank: both over the square root of
their number."""
SAME = 0.02
"""Times that differ by no more than this part, from the first to the 99th percentile, are one time."""
BODY, TAIL = 34, 11
"""Points of an empirical fit: every third percentile up to the 99th, and each tenth of one above it."""
QUANTILES = (0.5, 0.9, 0.99, 1.0)
"""That fits are shown by."""

_Z99 = NormalDist().inv_cdf(0.99)
_LEAST_DEVIATION = 1.0
_RIDGE_LEAST = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """One shape beside what was measured. `likelihood` is the mean of its logarithm, in nats a sample, where the shape
    has a density; `ks` the distance, from 0 to 1."""

    kind: str
    distribution: Distribution
    ks: float
    likelihood: float | None

    def at(self, share: float) -> int:
        """Its quantile (ns)."""
        return self.distribution.sample(min(share, 1.0 - 1e-9))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """All shapes that were tried, the chosen one first, and what they were tried on."""

    samples: tuple[int, ...]
    """In ascending order."""
    fits: tuple[Fit, ...]

    @property
    def best(self) -> Fit:
        return self.fits[0]

    def measured(self, share: float) -> int:
        return quantile(self.samples, share)


def quantile(ascending: Sequence[int], share: float) -> int:
    """The nearest rank."""
    return ascending[min(len(ascending) - 1, max(0, -int(-share * len(ascending) // 1) - 1))]


def fit(samples: Iterable[int]) -> Fitted:
    """Raises ValueError where there are none."""
    ascending = tuple(sorted(samples))
    if not ascending:
        raise ValueError("nothing was measured")
    tried = [_judged(kind, shape, ascending) for kind, shape in _candidates(ascending)]
    tried.sort(key=lambda one: one.ks)
    low, high = quantile(ascending, 0.01), quantile(ascending, 0.99)
    by_kind = {one.kind: one for one in tried}
    if high - low <= SAME * high:
        first = by_kind["fixed"]
    else:
        first = next((one for one in tried if _is_good(one, ascending)), by_kind["empirical"])
    return Fitted(samples=ascending, fits=(first, *(one for one in tried if one is not first)))


def _is_good(one: Fit, ascending: tuple[int, ...]) -> bool:
    root = sqrt(len(ascending))
    by_chance = _P99_BY_CHANCE * sqrt(0.99 * 0.01) / root
    low, high = quantile(ascending, max(0.5, 0.99 - by_chance)), quantile(ascending, min(1.0, 0.99 + by_chance))
    return (
        one.kind not in ("fixed", "empirical")
        and one.ks <= max(KS_GOOD, _KS_BY_CHANCE / root)
        and (1 - P99_GOOD) * low <= one.at(0.99) <= (1 + P99_GOOD) * high
    )


def _candidates(ascending: tuple[int, ...]) -> list[tuple[str, Distribution]]:
    mean, deviation = fmean(ascending), pstdev(ascending)
    shapes: list[tuple[str, Distribution]] = [
        ("fixed", Fixed(quantile(ascending, 0.5))),
        ("uniform", Uniform(ascending[0], ascending[-1])),
        ("normal", Normal(round(mean), round(deviation))),
        ("empirical", _as_measured(ascending)),
    ]
    if ascending[0] > 0:
        logs = [log(one) for one in ascending]
        middle = fmean(logs)
        p50, p99 = exp(middle), exp(middle + _Z99 * pstdev(logs, middle))
        shapes.append(("lognormal", LogNormal(max(1, round(p50)), max(1, round(p50), round(p99)))))
    return shapes


def _as_measured(ascending: tuple[int, ...]) -> Distribution:
    """Straight lines between measured quantiles, closer to each other where a tail may be."""
    body, tail = _points(ascending, 0.0, 0.99, BODY), _points(ascending, 0.99, 1.0, TAIL)
    return Mix(((99.0, Empirical(tuple(body))), (1.0, Empirical(tuple(tail)))))


def _points(ascending: tuple[int, ...], first: float, end: float, count: int) -> Iterator[int]:
    last = len(ascending) - 1
    for index in range(count):
        place = (first + (end - first) * index / (count - 1)) * last
        below = int(place)
        low, high = ascending[below], ascending[min(below + 1, last)]
        yield low + round((place - below) * (high - low))


def _judged(kind: str, shape: Distribution, ascending: tuple[int, ...]) -> Fit:
    return Fit(
        kind=kind,
        distribution=shape,
        ks=ks_distance(ascending, cdf_of(shape)),
        likelihood=_likelihood(shape, ascending),
    )


def ks_distance(ascending: Sequence[int], cdf: Callable[[float], float]) -> float:
    """The greatest difference between the measured distribution function and `cdf`, at and just before each step."""
    count, worst, index = len(ascending), 0.0, 0
    while index < count:
        value = ascending[index]
        after = bisect_right(ascending, value, index)
        # Just before the step a continuous shape has the value of the step, and one that jumps there, its own.
        worst = max(worst, abs(cdf(value) - after / count), abs(cdf(value - 0.5) - index / count))
        index = after
    return worst


def cdf_of(shape: Distribution) -> Callable[[float], float]:
    """The share of times up to and including a given one (ns)."""
    match shape:
        case Fixed(value=value):
            return lambda x: float(x >= value)
        case Uniform(low=low, high=high):
            return lambda x: min(1.0, max(0.0, (x - low) / (high - low))) if high > low else float(x >= low)
        case Normal(mean=mean, deviation=deviation):
            return lambda x: 0.0 if x < 0 else _bell(x - mean, max(deviation, _LEAST_DEVIATION))
        case LogNormal(p50=p50, p99=p99):
            sigma = max(log(p99 / p50) / _Z99, 1e-9)
            return lambda x: 0.0 if x <= 0 else _bell(log(x) - log(p50), sigma)
        case Empirical(samples=samples):
            return lambda x: _between(samples, x)
        case Mix(parts=parts):
            weighed = [(weight / sum(one for one, _ in parts), cdf_of(part)) for weight, part in parts]
            return lambda x: sum(share * cdf(x) for share, cdf in weighed)
    raise ValueError(f"{type(shape).__name__} has no distribution function here")


def _bell(x: float, deviation: float) -> float:
    return 0.5 * (1.0 + erf(x / (deviation * sqrt(2.0))))


def _between(points: tuple[int, ...], x: float) -> float:
    """Straight lines between the points, as `Empirical` draws them."""
    last = len(points) - 1
    if last == 0 or x < points[0]:
        return float(x >= points[0]) if last == 0 else 0.0
    if x >= points[-1]:
        return 1.0
    above = bisect_right(points, x)
    low, high = points[above - 1], points[above]
    return (above - 1 + (x - low) / (high - low)) / last


def _likelihood(shape: Distribution, ascending: tuple[int, ...]) -> float | None:
    match shape:
        case Uniform(low=low, high=high):
            return -log(max(high - low, 1))
        case Normal(mean=mean, deviation=deviation):
            spread = max(deviation, _LEAST_DEVIATION)
            return -log(spread * sqrt(2 * pi)) - fmean(((x - mean) / spread) ** 2 for x in ascending) / 2
        case LogNormal(p50=p50, p99=p99):
            sigma, logs = max(log(p99 / p50) / _Z99, 1e-9), [log(x) for x in ascending]
            spread_of_logs = fmean(((x - log(p50)) / sigma) ** 2 for x in logs) / 2
            return -fmean(logs) - log(sigma * sqrt(2 * pi)) - spread_of_logs
    return None


# -- costs ------------------------------------------------------------------------------------------------------------


def shares(rows: Sequence[tuple[float, Sequence[float]]]) -> tuple[float, ...]:
    """From rows (spent, counts of several things): what one of each thing costs, none below 0, by least squares.

    Where things go up and down together, the little that tells them apart is noise. So each is held back a little from
    explaining all (ridge regression), by as much as the best fit leaves unexplained: what cannot be told apart is
    shared alike, and what can is left as it is. Every set of things is tried, so they should be few.
    """
    things, all_spent = len(rows[0][1]) if rows else 0, sum(spent * spent for spent, _ in rows)
    if not all_spent:
        return (0.0,) * things
    free = _nearest(rows, things, _RIDGE_LEAST)
    unexplained = _residual(rows, free) / all_spent
    return _nearest(rows, things, max(_RIDGE_LEAST, unexplained))


def _nearest(rows: Sequence[tuple[float, Sequence[float]]], things: int, ridge: float) -> tuple[float, ...]:
    squares = [sum(row[i] ** 2 for _, row in rows) for i in range(things)]
    best, least = (0.0,) * things, _residual(rows, (0.0,) * things)
    for size in range(1, things + 1):
        for chosen in combinations([thing for thing in range(things) if squares[thing]], size):
            found = _solved(
                [
                    [sum(row[i] * row[j] for _, row in rows) + ridge * squares[i] * (i == j) for j in chosen]
                    for i in chosen
                ],
                [sum(spent * row[i] for spent, row in rows) for i in chosen],
            )
            if min(found) >= 0:
                costs = tuple(dict(zip(chosen, found, strict=True)).get(thing, 0.0) for thing in range(things))
                held_back = ridge * sum(cost * cost * square for cost, square in zip(costs, squares, strict=True))
                if (sum_of := _residual(rows, costs) + held_back) < least:
                    best, least = costs, sum_of
    return best


def _residual(rows: Sequence[tuple[float, Sequence[float]]], costs: Sequence[float]) -> float:
    return fsum((spent - sum(map(mul, costs, row))) ** 2 for spent, row in rows)


def _solved(matrix: list[list[float]], right: list[float]) -> list[float]:
    """Gauss. What is held back on the diagonal keeps every pivot away from 0."""
    size = len(right)
    rows = [[*row, one] for row, one in zip(matrix, right, strict=True)]
    for i in range(size):
        for j in range(i + 1, size):
            factor = rows[j][i] / rows[i][i]
            rows[j] = [one - factor * other for one, other in zip(rows[j], rows[i], strict=True)]
    found = [0.0] * size
    for i in reversed(range(size)):
        known = sum(rows[i][j] * found[j] for j in range(i + 1, size))
        found[i] = (rows[i][size] - known) / rows[i][i]
    return found


# -- the knee ---------------------------------------------------------------------------------------------------------

KNEE_LEAST = 0.1
GROWTH_LEAST = 0.1


def knee(points: Sequence[tuple[float, float]]) -> float | None:
    """Where a growing curve bends most, as "Kneedle" has it (Satopaa et al., 2011): at the point furthest above the
    straight line from the first to the last, with each axis from 0 to 1. `points` are (x, y) by ascending x; None: it
    grows all the way alike, or hardly at all."""
    if len(points) < 3:
        return None
    xs, ys = [x for x, _ in points], [y for _, y in points]
    low, high = min(ys), max(ys)
    if high - low <= GROWTH_LEAST * high:
        return None
    best, at = -inf, xs[0]
    for x, y in points:
        above = (y - ys[0]) / (high - ys[0] or inf) - (x - xs[0]) / (xs[-1] - xs[0])
        if above > best:
            best, at = above, x
    return at if best >= KNEE_LEAST else None

