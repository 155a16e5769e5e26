"""Quantiles from buckets: never too small, at most an eighth too large."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from palm.observe.quantiles import Quantiles


@given(st.lists(st.integers(0, 2**50), min_size=1), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_quantiles_are_near_and_never_too_small(values: list[int], share: float) -> None:
    """Against the sorted list."""
    quantiles = Quantiles()
    for value in values:
        quantiles.add(value)
    exact = next(v for i, v in enumerate(sorted(values), 1) if i >= share * len(values))
    assert exact <= quantiles.at(share) <= exact + exact // 8


def test_many_of_one_value_count_as_many() -> None:
    """And of none, every quantile is 0."""
    quantiles = Quantiles()
    assert quantiles.at(0.5) == 0
    quantiles.add(5, 98)
    quantiles.add(1000, 2)
    assert quantiles.count == 100 and quantiles.at(0.98) == 5 and quantiles.at(0.99) >= 1000
