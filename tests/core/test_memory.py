"""What a server remembers of one job at one stage."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from palm.core.memory import Answer, Memory
from palm.core.message import Failure, Status
from tests.core.cast import peer_of


def test_a_sequence_is_taken_once() -> None:
    """A second copy is not new: neither while it runs nor once it has its answer."""
    memory = Memory()
    assert memory.take(3) and not memory.take(3)
    assert memory.runs(3) and memory.recall(3) is None
    assert memory.answer(3, b"r", Status.OK)
    assert not memory.take(3) and memory.recall(3) == Answer(b"r", Status.OK)


def test_an_answer_is_kept_once() -> None:
    """Only what runs can be answered: a second end, and the end of what was forgotten, are not kept."""
    memory = Memory()
    memory.take(1)
    assert memory.answer(1, b"first", Status.OK)
    assert not memory.answer(1, b"second", Status.OK)
    assert not memory.answer(2, b"never taken", Status.OK)
    assert memory.recall(1) == Answer(b"first", Status.OK)


def test_failures_are_remembered_as_such() -> None:
    """How it ended stands beside what it carries."""
    memory, failure = Memory(), Failure("HANDLER_RAISED", "ValueError", "no")
    memory.take(1)
    memory.answer(1, failure, Status.FAILED)
    assert memory.recall(1) == Answer(failure, Status.FAILED)


def test_below_the_watermark_nothing_is_kept_and_nothing_is_new() -> None:
    """The watermark frees memory, and what is below it has ended for good."""
    memory = Memory()
    for sequence in range(10):
        memory.take(sequence)
        memory.answer(sequence, b"", Status.OK)
    memory.went(range(10), peer_of("two"))
    memory.advance(7)
    assert len(memory) == 3
    assert not any(map(memory.take, range(7)))
    assert memory.went_to(6) is None and memory.went_to(7) == peer_of("two")
    assert not memory.answer(2, b"late", Status.OK)


def test_the_watermark_never_goes_back() -> None:
    """A late batch with an old watermark opens nothing again."""
    memory = Memory()
    memory.advance(100)
    memory.advance(50)
    assert memory.floor == 100 and not memory.take(60) and memory.take(100)


def test_what_was_turned_away_is_new_when_it_comes_again() -> None:
    """`untake` undoes `take`, and nothing else: an answer stays."""
    memory = Memory()
    memory.take(1)
    memory.untake(1)
    assert memory.take(1)
    memory.answer(1, b"r", Status.OK)
    memory.untake(1)
    assert memory.recall(1) == Answer(b"r", Status.OK)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from(["take", "answer", "untake"]), st.integers(0, 30)),
            st.tuples(st.just("advance"), st.integers(0, 40)),
        ),
        max_size=80,
    )
)
def test_memory_is_a_table_of_what_is_at_or_above_the_watermark(operations: list[tuple[str, int]]) -> None:
    """It agrees with a model at each step, and holds no row below the watermark."""
    memory, floor = Memory(), 0
    model: dict[int, bytes | None] = {}
    for operation, sequence in operations:
        if operation == "take":
            new = sequence >= floor and sequence not in model
            assert memory.take(sequence) == new
            if new:
                model[sequence] = None
        elif operation == "answer":
            runs = sequence in model and model[sequence] is None
            assert memory.answer(sequence, b"%d" % sequence, Status.OK) == runs
            if runs:
                model[sequence] = b"%d" % sequence
        elif operation == "untake":
            memory.untake(sequence)
            if sequence in model and model[sequence] is None:
                del model[sequence]
        else:
            memory.advance(sequence)
            floor = max(floor, sequence)
            model = {key: value for key, value in model.items() if key >= floor}
        assert len(memory) == len(model)
        for key in range(41):
            answer = model.get(key)
            assert memory.recall(key) == (None if answer is None else Answer(answer, Status.OK))
            assert memory.runs(key) == (key in model and model[key] is None)
