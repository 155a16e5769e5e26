"""The search for one order: on histories made by hand, and against every order there is."""

from __future__ import annotations

from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from palm.sim.linearizable import Kind, Operation, linearizable, step


def did(kind: Kind, value: bytes, result: bytes | int | None, called: int, returned: int | None) -> Operation:
    return Operation("c", "k", kind, value, result, called, returned)


def test_a_read_of_what_is_over_is_found() -> None:
    """The new value was written before the read was asked for."""
    old, new = did("set", b"1", None, 0, 1), did("set", b"2", None, 2, 3)
    assert linearizable([old, new, did("get", b"", b"2", 4, 5)]).holds
    finding = linearizable([old, new, did("get", b"", b"1", 4, 5)])
    assert finding.holds is False and finding.key == "k"
    assert linearizable([old, new, did("get", b"", b"1", 2, 5)]).holds, "beside the second write both may be seen"


def test_two_readers_agree_on_the_order() -> None:
    """Once somebody has seen the new value, nobody sees the old one."""
    writes = [did("set", b"1", None, 0, 1), did("set", b"2", None, 2, 9)]
    new, old = did("get", b"", b"2", 3, 4), did("get", b"", b"1", 5, 6)
    assert linearizable([*writes, new, old]).holds is False
    assert linearizable([*writes, new._replace(result=b"1"), old._replace(result=b"2")]).holds


def test_a_write_whose_end_is_unknown_may_be_seen_or_not() -> None:
    """But not after it was not."""
    write = did("append", b"x", None, 0, None)
    assert linearizable([write, did("get", b"", None, 5, 6)]).holds
    assert linearizable([write, did("get", b"", b"x", 5, 6)]).holds
    assert linearizable([write, did("get", b"", b"x", 5, 6), did("get", b"", None, 7, 8)]).holds is False


def test_an_append_that_was_done_twice_is_found() -> None:
    """Its bytes are there twice."""
    append = did("append", b"x", 1, 0, 1)
    assert linearizable([append, did("get", b"", b"xx", 2, 3)]).holds is False


def test_a_search_that_is_too_long_is_given_up() -> None:
    """It says so rather than guess."""
    many = [did("set", b"%d" % n, None, 0, 100) for n in range(12)]
    assert linearizable([*many, did("get", b"", b"none", 101, 102)], steps=1_000).holds is None


OPERATIONS = st.lists(
    st.builds(
        lambda kind, value, result, called, took: did(
            kind, value, {"get": result, "append": len(result or b"") + 1, "delete": int(bool(result))}.get(kind),
            called, None if took == 0 else called + took,
        ),
        st.sampled_from(["get", "set", "append", "delete"]),
        st.sampled_from([b"a", b"b"]),
        st.sampled_from([None, b"a", b"b", b"ab"]),
        st.integers(0, 8),
        st.integers(0, 6),
    ),
    max_size=5,
)  # fmt: skip


@given(OPERATIONS)
def test_it_finds_an_order_if_and_only_if_there_is_one(operations: list[Operation]) -> None:
    """Tried against all orders of all choices of what has happened at all."""
    assert linearizable(operations).holds == any(fits(order) for order in orders(operations))


def orders(operations: list[Operation]) -> list[list[Operation]]:
    known = [one for one in operations if one.returned is not None]
    unknown = [one for one in operations if one.returned is None]
    found: list[list[Operation]] = []
    for choice in range(1 << len(unknown)):
        chosen = known + [one for place, one in enumerate(unknown) if choice >> place & 1]
        found += [list(order) for order in permutations(chosen)]
    return found


def fits(order: list[Operation]) -> bool:
    """No operation stands behind one that was called after its return, and each saw what it saw."""
    state: bytes | None = None
    for place, operation in enumerate(order):
        if any(later.returned is not None and later.returned < operation.called for later in order[place + 1 :]):
            return False
        ok, state = step(state, operation)
        if not ok:
            return False
    return True
