"""Keyed draws and distributions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.errors import BadRequest
from palm.sim.draws import Distribution, Empirical, Fixed, Key, LogNormal, Mix, Normal, Uniform


def samples(distribution: Distribution, count: int = 20_000) -> list[int]:
    key = Key(7, "test")
    return sorted(distribution.sample(key.unit(ordinal)) for ordinal in range(count))


def test_a_draw_depends_on_seed_name_and_ordinal_alone() -> None:
    """The same three give the same draw in any order of asking; another of any gives another draw."""
    forward = [Key(1, "a").unit(n) for n in range(10)]
    backward = [Key(1, "a").unit(n) for n in reversed(range(10))]
    assert forward == backward[::-1]
    assert len({Key(1, "a").unit(0), Key(2, "a").unit(0), Key(1, "b").unit(0), Key(1, "a").unit(1)}) == 4


def test_draws_have_not_changed() -> None:
    """A seed found by an older version still is the same run: these figures are part of the format."""
    key = Key(7, "a->b")
    assert (key.integer(0), key.integer(1)) == (8684188026085653662, 12549443142676859292)
    assert key.random(0).getrandbits(32) == 1363998155


def test_draws_are_even() -> None:
    """A hundred thousand draws fill ten bins alike, within five standard deviations, in each of the four columns."""
    bins = [[0] * 10 for _ in range(4)]
    key = Key(3, "even")
    for ordinal in range(25_000):
        for column, draw in zip(bins, key.four(ordinal), strict=True):
            column[int(draw * 10)] += 1
    assert all(abs(count - 2500) < 5 * 48 for column in bins for count in column)


def test_a_lognormal_has_the_quantiles_that_it_was_given() -> None:
    """Its median and its 99th percentile are p50 and p99."""
    drawn = samples(LogNormal(400_000, 3_000_000))
    assert drawn[10_000] == pytest.approx(400_000, rel=0.03)
    assert drawn[19_800] == pytest.approx(3_000_000, rel=0.1)


def test_a_lognormal_without_spread_is_fixed() -> None:
    """p99 equal to p50 is allowed, and is always that."""
    assert set(samples(LogNormal(5, 5), 100)) == {5}


def test_uniform_and_normal_are_what_they_say() -> None:
    """Bounds for the one, mean and deviation for the other; no time is negative."""
    uniform = samples(Uniform(100, 200))
    assert 100 <= uniform[0] < 105 and 195 < uniform[-1] < 200
    normal = samples(Normal(1000, 100))
    assert normal[10_000] == pytest.approx(1000, abs=5) and normal[16_827] == pytest.approx(1100, abs=6)
    assert samples(Normal(0, 100))[0] == 0


def test_a_mix_draws_its_parts_by_weight_and_each_as_itself() -> None:
    """One draw is enough: what chose the part is spread over the part's own quantiles."""
    drawn = samples(Mix(((9.0, Fixed(1)), (1.0, Uniform(1000, 2000)))))
    rare = [value for value in drawn if value > 1]
    assert len(rare) == pytest.approx(2000, rel=0.1)
    assert sum(rare) / len(rare) == pytest.approx(1500, rel=0.02)


def test_an_empirical_distribution_stays_between_its_samples() -> None:
    """Straight lines between them; one sample is a fixed time."""
    drawn = samples(Empirical.of([300, 100, 200]))
    assert drawn[0] >= 100 and drawn[-1] <= 300 and drawn[10_000] == pytest.approx(200, abs=3)
    assert samples(Empirical((7,)), 10) == [7] * 10


@given(st.integers(0, 10**12), st.integers(0, 10**12), st.floats(0, 1, exclude_max=True))
def test_every_draw_gives_a_time(a: int, b: int, draw: float) -> None:
    """No draw in [0, 1) makes any distribution negative, infinite or an error."""
    low, high = sorted((a, b))
    parts: list[Distribution] = [
        Fixed(a), Uniform(low, high), Normal(a, b), LogNormal(low + 1, high + 1), Empirical.of([a, b]),
    ]  # fmt: skip
    for distribution in [*parts, Mix(tuple((1.0, part) for part in parts))]:
        assert type(distribution.sample(draw)) is int and distribution.sample(draw) >= 0


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Fixed(-1), "must not be negative"),
        (lambda: Uniform(5, 4), "high .4 ns. must not be under low"),
        (lambda: LogNormal(0, 4), "p50 must be over 0"),
        (lambda: LogNormal(5, 4), "p99 .4 ns. must not be under p50"),
        (lambda: Normal(5, -4), "must not be negative"),
        (lambda: Mix(()), "at least one part"),
        (lambda: Mix(((0.0, Fixed(1)),)), "weight must be over 0"),
        (lambda: Mix(((float("nan"), Fixed(1)),)), "weight must be over 0"),
        (lambda: Empirical(()), "at least one sample"),
        (lambda: Empirical((2, 1)), "ascending"),
    ],
)
def test_a_distribution_that_cannot_be_is_refused(make, complaint: str) -> None:  # type: ignore[no-untyped-def]
    """Figures that contradict each other are a BadRequest that names them."""
    with pytest.raises(BadRequest, match=complaint):
        make()
