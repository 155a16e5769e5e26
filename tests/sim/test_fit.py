"""Fits: what is drawn from a shape gives that shape back, with its parameters; costs and knees are where they are."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palm.sim.draws import Distribution, Fixed, Key, LogNormal, Mix, Normal, Uniform
from palm.sim.fit import cdf_of, fit, knee, ks_distance, quantile, shares

US, MS = 1_000, 1_000_000
COUNT = 2_000

seeds = st.integers(0, 2**32)
times = st.integers(20 * US, 500 * MS)


def drawn(shape: Distribution, seed: int, count: int = COUNT) -> list[int]:
    key = Key(seed, "measured")
    return [shape.sample(key.unit(ordinal)) for ordinal in range(count)]


@given(times, st.floats(1.3, 15.0), seeds)
@settings(max_examples=40, deadline=None)
def test_lognormal_times_give_their_median_and_their_99th_percentile_back(p50: int, ratio: float, seed: int) -> None:
    """The usual shape of a latency, whatever its tail."""
    shape = LogNormal(p50, round(p50 * ratio))
    best = fit(drawn(shape, seed)).best
    assert best.kind == "lognormal" or ratio < 2.0  # a narrow one looks like a bell
    assert best.at(0.5) == pytest.approx(p50, rel=0.12)
    assert best.at(0.99) == pytest.approx(shape.p99, rel=0.25)  # 20 samples are above it


@given(times, st.floats(0.03, 0.2), seeds)
@settings(max_examples=40, deadline=None)
def test_normal_times_give_mean_and_deviation_back(mean: int, part: float, seed: int) -> None:
    """The bell curve."""
    fitted = fit(drawn(Normal(mean, round(mean * part)), seed))
    bell = next(one.distribution for one in fitted.fits if one.kind == "normal")
    assert isinstance(bell, Normal)
    assert bell.mean == pytest.approx(mean, rel=0.02)
    assert bell.deviation == pytest.approx(mean * part, rel=0.12)
    assert fitted.best.kind in ("normal", "lognormal")  # which a narrow bell looks like
    assert fitted.best.ks < 0.06


@given(times, st.floats(1.2, 20.0), seeds)
@settings(max_examples=40, deadline=None)
def test_uniform_times_give_their_ends_back(low: int, ratio: float, seed: int) -> None:
    """Any time alike."""
    high = round(low * ratio)
    best = fit(drawn(Uniform(low, high), seed)).best
    assert isinstance(best.distribution, Uniform)
    assert best.distribution.low == pytest.approx(low, abs=0.02 * (high - low))
    assert best.distribution.high == pytest.approx(high, abs=0.02 * (high - low))


@given(times, seeds)
@settings(max_examples=20, deadline=None)
def test_times_that_are_one_time_are_fixed(value: int, seed: int) -> None:
    """Differences of less than a hundredth are noise."""
    best = fit(drawn(Normal(value, value // 2_000), seed)).best
    assert best.kind == "fixed"
    assert best.at(0.5) == pytest.approx(value, rel=0.001)


def test_what_has_no_shape_is_taken_as_it_was_measured() -> None:
    """Two humps fit no bell: the measured quantiles stand for themselves, the percentiles right."""
    humps = Mix(((9, Normal(2 * MS, MS // 10)), (1, Normal(50 * MS, MS))))
    fitted = fit(drawn(humps, 5))
    assert fitted.best.kind == "empirical"
    for share in (0.1, 0.5, 0.85, 0.95, 0.99):
        assert fitted.best.at(share) == pytest.approx(fitted.measured(share), rel=0.05)
    assert min(one.ks for one in fitted.fits if one.kind in ("normal", "lognormal", "uniform")) > 0.06


def test_nothing_measured_is_nothing_to_fit() -> None:
    """Whoever asks knows better what is missing, and says so."""
    with pytest.raises(ValueError, match="nothing was measured"):
        fit([])


def test_times_of_nothing_are_fitted_too() -> None:
    """A clock that is too coarse shows 0, which no logarithm takes."""
    assert fit([0] * 50).best.distribution == Fixed(0)
    assert fit([0, 5, 900] * 20).best.kind == "empirical"


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=60))
def test_distance_is_none_to_oneself(samples: list[int]) -> None:
    """A distribution function that jumps where the samples are has distance 0; one that never begins, 1."""
    ascending = sorted(samples)
    own = lambda x: sum(one <= x for one in ascending) / len(ascending)  # noqa: E731
    assert ks_distance(ascending, own) == pytest.approx(0)
    assert ks_distance(ascending, lambda x: 0.0) == pytest.approx(1)


SHAPES = [Fixed(MS), Uniform(MS, 3 * MS), Normal(9 * MS, MS), LogNormal(MS, 8 * MS)]


@given(st.sampled_from(SHAPES), st.floats(0.01, 0.99))
def test_quantile_and_distribution_function_are_each_others_inverse(shape: Distribution, share: float) -> None:
    """What is judged by one is drawn by the other."""
    at = shape.sample(share)
    if isinstance(shape, Fixed):
        assert (cdf_of(shape)(at), cdf_of(shape)(at - 1)) == (1.0, 0.0)
    else:
        assert cdf_of(shape)(at) == pytest.approx(share, abs=1e-3)


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=200), st.floats(0.001, 1.0))
def test_quantile_is_the_nearest_rank(samples: list[int], share: float) -> None:
    """At least that share of all is not above it, and less than that is below."""
    ascending = sorted(samples)
    value = quantile(ascending, share)
    assert sum(one <= value for one in ascending) >= share * len(ascending) - 1e-6
    assert sum(one < value for one in ascending) <= share * len(ascending)


@given(st.floats(0, 500), st.floats(0, 50), seeds)
@settings(max_examples=60, deadline=None)
def test_costs_of_frames_and_messages_are_told_apart(frame: float, message: float, seed: int) -> None:
    """Where the number of messages in a frame changes, both costs come back."""
    chance = Random(seed)
    counts = [(frames := chance.randint(50, 200), frames * chance.randint(1, 8)) for _ in range(60)]
    rows = [(frame * frames + message * messages, (frames, messages)) for frames, messages in counts]
    found = shares(rows)
    assert found == pytest.approx((frame, message), rel=1e-3, abs=0.05)


def test_costs_that_cannot_be_told_apart_are_shared() -> None:
    """One message in each frame, or nearly: the sum is what is known, and it is kept; noise does not choose a side."""
    alike = [(30.0 * count, (count, count)) for count in (10, 20, 30)]
    assert shares(alike) == pytest.approx((15.0, 15.0), rel=1e-3)
    chance = Random(4)
    noisy = [
        (30.0 * count * chance.uniform(0.9, 1.1), (count, count * chance.uniform(0.99, 1.01)))
        for count in (chance.randint(10, 100) for _ in range(40))
    ]
    frame, message = shares(noisy)
    assert frame == pytest.approx(15.0, rel=0.2) and frame + message == pytest.approx(30.0, rel=0.05)
    assert shares([(5.0, (0, 0))]) == (0.0, 0.0)
    assert shares([]) == ()


def test_costs_of_handlings_are_told_from_those_of_frames() -> None:
    """A leader and a worker carry the same frames, and one of them handles."""
    leader = [(20.0 * count, (count, count, 0)) for count in (40, 44, 60)]
    worker = [(20.0 * count + 75.0 * count, (count, count, count)) for count in (20, 22, 30)]
    assert shares([*leader, *worker]) == pytest.approx((10.0, 10.0, 75.0), rel=0.01)


@given(st.integers(2, 12))
def test_knee_is_where_growth_ends(at: int) -> None:
    """A curve that grows up to a point, and no further, bends there."""
    points = [(float(x), 100.0 * min(x, at)) for x in range(1, 17)]
    assert knee(points) == at


@pytest.mark.parametrize("curve", [lambda x: 50.0 * x, lambda x: 100.0, lambda x: 100.0 + x / 10])
def test_a_curve_without_a_bend_has_no_knee(curve: object) -> None:
    """It grows alike to its end, or not at all."""
    assert callable(curve)
    assert knee([(float(x), curve(x)) for x in range(1, 17)]) is None
