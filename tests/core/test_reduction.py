"""The client's side of a reduction, by itself: runs, rounds and groups, against a fold in plain Python."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from palm.core import reduction as module
from palm.core.folding import Span
from palm.core.reduction import FAN, Group, Reduction, Round


def absorbed(reduction: Reduction, *spans: tuple[int, int]) -> None:
    for first, count in spans:
        reduction.absorb(Span(first, count), b"".join(b"%d." % one for one in range(first, first + count)))


def fold_all(reduction: Reduction, rounds: list[Round]) -> int:
    """Until nothing is to be folded any more; how many rounds that took. A table's fold is its bytes here."""
    count = 0
    while rounds:
        for partial, tables in rounds:
            count += 1
            reduction.folded(partial, tables)
        rounds = reduction.rounds()
    return count


def test_what_is_at_the_end_is_one_table_of_all_messages_in_order() -> None:
    """However spans came; and a message that ended otherwise does not block."""
    reduction = Reduction(0)
    absorbed(reduction, (4, 2), (0, 3))
    assert reduction.finished() == []
    reduction.gap(3)
    reduction.source_ended(6)
    assert fold_all(reduction, reduction.rounds()) == 1
    assert reduction.finished() == [Group(0, 6, 5, b"0.1.2.4.5.", None)]
    assert reduction.is_over and not reduction.held


def test_nothing_is_given_out_before_the_source_has_ended() -> None:
    reduction = Reduction(0)
    absorbed(reduction, (0, 3))
    assert reduction.finished() == [] and not reduction.is_over


def test_groups_come_in_order_and_the_last_may_be_short() -> None:
    """The second one waits for the first."""
    reduction = Reduction(4)
    absorbed(reduction, (4, 4), (8, 1), (1, 3))
    assert reduction.finished() == []
    absorbed(reduction, (0, 1))
    fold_all(reduction, reduction.rounds())
    assert [group.table for group in reduction.finished()] == [b"0.1.2.3.", b"4.5.6.7."]
    reduction.source_ended(9)
    assert [group.table for group in reduction.finished()] == [b"8."]
    assert reduction.is_over


def test_a_span_of_two_groups_does_not_fit() -> None:
    assert Reduction(4).fits(Span(4, 4)) and not Reduction(4).fits(Span(3, 2)) and Reduction(0).fits(Span(3, 2))


def test_a_group_in_which_nothing_was_folded_has_no_table() -> None:
    reduction = Reduction(2)
    reduction.gap(0)
    reduction.gap(1)
    assert reduction.finished() == [Group(0, 2, 0, None, None)]


def test_an_empty_job_has_no_groups() -> None:
    reduction = Reduction(0)
    reduction.source_ended(0)
    assert reduction.finished() == [] and reduction.is_over


def test_a_round_that_comes_to_nothing_spoils_its_group() -> None:
    """With the round's own end; the next group is well."""
    reduction = Reduction(2)
    absorbed(reduction, (0, 1), (1, 1), (2, 2))
    [(partial, _)] = reduction.rounds()
    reduction.spoiled(partial, (b"poison", 5))
    first, second = reduction.finished()
    assert (first.end, first.absorbed, first.table) == ((b"poison", 5), 2, None)
    assert (second.end, second.table) == (None, b"2.3.")


def test_tables_too_large_for_a_round_end_their_group_with_a_reason(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(module, "ROUND_BYTES", 5)
    reduction = Reduction(0)
    absorbed(reduction, (0, 2), (2, 2))
    reduction.source_ended(4)
    assert reduction.rounds() == []
    [group] = reduction.finished()
    assert group.end is not None and "weighs more than 5 bytes" in str(group.end[0])


def test_what_is_held_grows_with_the_logarithm_of_what_came() -> None:
    """Ten thousand spans in order: never more than some rows of a merge tree, and few are folded often."""
    reduction, work, most = Reduction(0), 0, 0
    for number in range(10_000):
        reduction.absorb(Span(number, 1), b"x")
        for partial, tables in reduction.rounds():
            work += len(tables)
            reduction.folded(partial, tables)
        most = max(most, reduction.held)
    assert most <= 5 * FAN and work <= 4 * 10_000


@given(st.data(), st.integers(1, 60), st.sampled_from([0, 1, 3, 7]))
def test_any_spans_in_any_order_give_the_serial_fold(data: st.DataObject, sent: int, every: int) -> None:
    """Spans, gaps, rounds that take their time: each group's table is its messages in order."""
    spans: list[tuple[int, int]] = []
    at = 0
    while at < sent:
        count = data.draw(st.integers(1, min(9, sent - at, (every - at % every) if every else sent)))
        spans.append((at, count))
        at += count
    gone = {spans[i] for i in data.draw(st.sets(st.integers(0, len(spans) - 1)))}
    reduction = Reduction(every)
    pending: list[Round] = []
    groups: list[Group] = []
    for first, count in data.draw(st.permutations(spans)):
        if (first, count) in gone:
            for one in range(first, first + count):
                reduction.gap(one)
        else:
            absorbed(reduction, (first, count))
        pending += reduction.rounds()
        while pending and data.draw(st.booleans()):
            partial, tables = pending.pop(data.draw(st.integers(0, len(pending) - 1)))
            reduction.folded(partial, tables)
            pending += reduction.rounds()
        groups += reduction.finished()
    reduction.source_ended(sent)
    fold_all(reduction, pending + reduction.rounds())
    groups += reduction.finished()
    lost = {one for first, count in gone for one in range(first, first + count)}
    size = every or sent
    for number, group in enumerate(groups):
        kept = [one for one in range(number * size, min(sent, (number + 1) * size)) if one not in lost]
        assert (group.table or b"") == b"".join(b"%d." % one for one in kept)
        assert group.absorbed == len(kept)
    assert len(groups) == -(-sent // size) and reduction.is_over and not reduction.held
