"""The window: never more room than the limit, halved by BUSY, grown by answers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from palm.core.window import LEAST, Window

COUNTS = st.integers(0, 2_000)


@given(
    st.integers(1, 500),
    st.integers(1, 10_000),
    st.lists(st.one_of(st.tuples(st.just("saw"), st.integers(1, 9), COUNTS), st.just("shrink"), COUNTS)),
    COUNTS,
    st.integers(-10, 20_000),
)
def test_there_is_never_more_room_than_the_limit(
    limit: int, limit_bytes: int, history: list[tuple[str, int, int] | str | int], messages: int, used: int
) -> None:
    """Whatever came before: messages and room never exceed the limit, and an empty window has room."""
    window = Window(limit, limit_bytes)
    for event in history:
        if isinstance(event, tuple):
            window.saw(event[1], event[2])
        elif isinstance(event, int):
            window.answered(event)
        else:
            window.shrink()
        assert min(LEAST, limit) <= window.size <= limit
    room = window.room(messages, used)
    assert room >= 0
    assert messages == 0 or messages + room <= max(messages, limit)
    assert window.room(0, used) >= 1


def test_busy_halves_down_to_the_least() -> None:
    """Multiplicative decrease, with a floor."""
    window = Window(128, 1 << 20)
    sizes = []
    for _ in range(5):
        window.shrink()
        sizes.append(window.size)
    assert sizes == [64, 32, 16, 16, 16]


def test_a_windows_worth_of_answers_is_one_step_of_growth() -> None:
    """Additive increase: one sixteenth of the limit for each full window answered, up to the limit."""
    window = Window(128, 1 << 20)
    window.shrink()
    window.answered(63)
    assert window.size == 64
    window.answered(1)
    assert window.size == 72
    for _ in range(1_000):
        window.answered(64)
    assert window.size == 128


def test_bytes_bound_the_room_by_the_size_of_late() -> None:
    """Payloads of 100 bytes in a window of 1,000 bytes: ten, of which what is held already takes its part."""
    window = Window(128, 1_000)
    window.saw(4, 400)
    assert window.room(0, 0) == 10
    assert window.room(4, 400) == 6
    assert window.room(10, 1_000) == 0


def test_what_was_demanded_and_has_not_come_counts_in_bytes_too() -> None:
    """Payloads on their way from the source are expected to be as large as the others."""
    window = Window(128, 1_000)
    window.saw(4, 400)
    assert window.room(10, 400, demanded=6) == 0
    assert window.room(6, 400, demanded=2) == 4


def test_a_window_that_has_seen_no_payload_asks_for_few() -> None:
    """Sizes are not known before the first payloads: a thousand of them could be of any size."""
    window = Window(1_024, 1 << 20)
    assert window.room(0, 0) == LEAST
    window.saw(1, 0)
    assert window.room(1, 0) == 1_023


def test_a_payload_larger_than_the_window_still_passes() -> None:
    """Soft in bytes: an empty window always has room for one."""
    window = Window(128, 1_000)
    window.saw(1, 5_000)
    assert window.room(0, 0) == 1
    assert window.room(1, 5_000) == 0
