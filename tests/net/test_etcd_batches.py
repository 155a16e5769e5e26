"""Whole revisions, and the place to resume from: rule 2 without a server."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from palm.net.etcd.batches import Batches
from palm.wire import etcd as wire


def event(revision: int, key: bytes = b"k") -> wire.Event:
    return wire.Event(kv=wire.KeyValue(key=key, mod_revision=revision, version=1))


def revisions(changes: tuple[object, ...]) -> list[int]:
    return [change.record.mod_revision for change in changes]  # type: ignore[attr-defined]  # Change


def test_rule_02_a_revision_is_handed_on_after_its_last_fragment_only() -> None:
    """What may go on in the next fragment is held back; what a later event has closed is not."""
    batches = Batches(after=4)
    assert revisions(batches.feed([event(5, b"a"), event(6, b"a")], more=True)) == [5]
    assert batches.resume_at == 6
    assert revisions(batches.feed([event(6, b"b")], more=True)) == []
    assert revisions(batches.feed([event(6, b"c")], more=False)) == [6, 6, 6]
    assert batches.resume_at == 7


def test_rule_02_a_break_within_a_revision_takes_all_of_it_again() -> None:
    """The held part is dropped with its stream, and the revision is asked for anew, whole."""
    batches = Batches(after=4)
    batches.feed([event(5, b"a"), event(5, b"b")], more=True)
    batches.broken()
    assert batches.resume_at == 5
    assert revisions(batches.feed([event(5, b"a"), event(5, b"b"), event(5, b"c")], more=False)) == [5, 5, 5]


def test_rule_02_answers_without_events_move_nothing() -> None:
    """A progress answer, whatever its header says, is no place to resume from."""
    batches = Batches(after=4)
    assert batches.feed([], more=False) == ()
    assert batches.resume_at == 5


def test_repeated_events_are_dropped() -> None:
    """Servers before 3.4.24 are known to send events twice, and older ones after newer."""
    batches = Batches(after=4)
    assert revisions(batches.feed([event(4), event(5), event(5), event(6)], more=False)) == [5, 6]
    assert batches.feed([event(5), event(6)], more=False) == ()


@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=12),
    cuts=st.lists(st.integers(1, 4), max_size=40),
    breaks=st.sets(st.integers(0, 40)),
)
def test_any_fragments_and_breaks_give_every_revision_once_and_whole(
    sizes: list[int], cuts: list[int], breaks: set[int]
) -> None:
    """However the history is cut and wherever streams break, the reader gets it whole, in order, once."""
    history = [event(revision, bytes([n])) for revision, size in enumerate(sizes, 1) for n in range(size)]
    batches, got, step = Batches(after=0), [], 0
    while batches.resume_at <= len(sizes):
        rest = [one for one in history if one.kv.mod_revision >= batches.resume_at]
        while rest:
            size = cuts[step % len(cuts)] if cuts else len(rest)
            part, rest = rest[:size], rest[size:]
            item = revisions(batches.feed(part, more=bool(rest)))
            got += item
            assert all(item.count(revision) == sizes[revision - 1] for revision in set(item)), "half a revision"
            step += 1
            if step in breaks:
                batches.broken()
                break
    assert got == [one.kv.mod_revision for one in history]
