"""What `check_reduction` finds out, and how it says so."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st

from palm import ReduceServer
from palm.testing import check_reduction

NUMBERS = st.integers(-99, 99).map(lambda number: b"%d" % number)


class Sum(ReduceServer):
    def add(self, one, other):
        return b"%d" % (int(one) + int(other))


class Less(Sum):
    def take(self, one, other):
        return b"%d" % (int(one) - int(other))


class Mean(ReduceServer):
    def key(self, payload):
        return payload[:1]

    def mean(self, one, other):
        return (one[:1] + b"%d") % ((int(one[1:]) + int(other[1:])) // 2)


class Keyed(Sum):
    def key(self, payload):
        return int(payload)


def test_what_is_associative_passes() -> None:
    """A server, its class, a function; also one that is not commutative; payloads drawn or listed."""
    check_reduction(Sum, NUMBERS)
    check_reduction(Sum(), [b"1", b"2", b"-3"])
    check_reduction(lambda one, other: one + other, st.binary(max_size=4))


def test_what_is_not_is_shown_by_the_smallest_example() -> None:
    """By its name, with both results."""
    with pytest.raises(AssertionError) as caught:
        check_reduction(Less, NUMBERS)
    assert str(caught.value) == (
        "take is not associative: take(take(b'0', b'0'), b'1') = b'-1', but take(b'0', take(b'0', b'1')) = b'1' "
        "(let payloads hold what can be combined in any steps, as a sum and a count do for a mean)"
    )


def test_a_mean_is_found_out_among_messages_of_one_key() -> None:
    """Messages of different keys never meet, so they are not tried."""
    letters = st.tuples(st.sampled_from([b"a", b"b"]), st.integers(0, 9)).map(lambda one: b"%s%d" % one)
    with pytest.raises(AssertionError, match="^mean is not associative"):
        check_reduction(Mean, letters)


def test_keys_and_results_of_other_types_are_named() -> None:
    """With the payload that showed it."""
    with pytest.raises(AssertionError, match=r"^key is int, bytes or str are needed: key\(b'0'\) = 0$"):
        check_reduction(Keyed, NUMBERS)
    with pytest.raises(AssertionError, match="returns int, bytes are needed"):
        check_reduction(lambda one, other: 1, NUMBERS)
