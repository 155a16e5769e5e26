"""Quantities and their units."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.sim.scenario import units


@given(st.integers(min_value=0, max_value=units.DURATION_MAX))
def test_a_duration_survives_being_shown(ns):
    """show_duration is the inverse of duration_ns."""
    assert units.duration_ns(units.show_duration(ns)) == ns


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("12s", 12 * 10**9),
        ("1500ms", 1_500_000_000),
        ("400us", 400_000),
        ("0.1s", 100_000_000),
        ("1h", 3600 * 10**9),
        ("7ns", 7),
        ("2 m", 120 * 10**9),
        ("0s", 0),
    ],
)
def test_durations_are_exact_nanoseconds(text, ns):
    """No float is on the way: a tenth of a second is a tenth of a second."""
    assert units.duration_ns(text) == ns


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("12", "a number alone is not a time; the units are ns, us, ms, s, m, h, as in 12s"),
        ("12sec", "'sec' is not a unit of a time: ns, us, ms, s, m, h"),
        ("12S", "'S' is not a unit of a time: s"),
        ("1µs", "'µs' is not a unit of a time: us"),
        ("1m30s", "write one number and its unit"),
        ("-3s", "write one number and its unit"),
        ("0.5ns", "this is not a whole number of ns"),
        ("1001h", "the most is 1000h"),
        ("9" * 5000 + "s", "write one number and its unit"),
    ],
)
def test_durations_without_a_unit_or_with_a_wrong_one_say_what_to_write(text, said):
    """The hint names the unit forms."""
    with pytest.raises(ValueError, match="^" + said.replace("(", r"\(")):
        units.duration_ns(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("100B", 100), ("1KB", 1000), ("64KiB", 65536), ("1MiB", 1 << 20), ("2MB", 2_000_000), ("1.5KiB", 1536)],
)
def test_sizes_tell_thousands_from_powers_of_two(text, size):
    """KB is 1,000 and KiB 1,024."""
    assert units.size_bytes(text) == size


@given(st.integers(1, 10**6), st.integers(0, 10**6))
def test_a_rate_puts_its_messages_on_exact_times(per_second, n):
    """The n-th message is due at n/rate, rounded down, without drift."""
    rate = units.rate(f"{per_second}/s")
    assert rate.due_ns(n) == n * 10**9 // per_second


def test_a_rate_may_be_slower_than_one_a_second():
    """0.5/s is one message in two seconds."""
    assert units.rate("0.5/s").due_ns(3) == 6 * 10**9


@pytest.mark.parametrize("text", ["500", "500/", "/s", "0/s", "5/fortnight", "5MiB/s"])
def test_rates_need_a_count_and_a_unit_of_time(text):
    """Zero is not a rate, nor is a bandwidth."""
    with pytest.raises(ValueError):
        units.rate(text)


def test_a_bandwidth_is_bytes_per_second():
    """Whatever its unit of time."""
    assert (units.bytes_per_s("10MiB/s"), units.bytes_per_s("60KB/m")) == (10 << 20, 1000)


@pytest.mark.parametrize(
    ("text", "value"), [("1%", 0.01), ("0.5%", 0.005), ("100%", 1.0), ("0.25", 0.25), ("0", 0.0), ("1.0", 1.0)]
)
def test_chances_are_percentages_or_decimal_fractions(text, value):
    """Both forms mean the same."""
    assert units.chance(text) == value


@pytest.mark.parametrize("text", ["1", "50", "101%", "1.5", "-1%", "nan", "1e-3"])
def test_a_chance_that_could_mean_two_things_is_refused(text):
    """A bare 1 could be one percent or always."""
    with pytest.raises(ValueError):
        units.chance(text)
