"""The fake etcd's watches: nothing missed, nothing twice, whole revisions, and an honest end when history is gone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from palm.sim.etcd.member import Etcd
from palm.sim.etcd.values import FROM_KEY, DeleteRequest, PutRequest, TxnRequest, WatchAnswer, WatchRequest
from palm.sim.etcd.watch import MAX_REVISIONS

SECOND = 1_000_000_000
ALL = WatchRequest(key=b"\0", range_end=FROM_KEY)


def put(etcd: Etcd, *keys: bytes) -> int:
    """One revision."""
    return etcd.txn(TxnRequest(success=[PutRequest(key=key) for key in keys]), 0).revision


def told(answers: list[WatchAnswer]) -> list[tuple[int, bytes]]:
    return [(event.kv.mod_revision, event.kv.key) for answer in answers for event in answer.events]


def started(etcd: Etcd, request: WatchRequest = ALL, *, now: int = 0) -> int:
    """A stream with one watch, its `created` taken."""
    stream = etcd.watch_open(now)
    etcd.watch_create(stream, request, now)
    assert etcd.watch_take(stream)[0].created
    return stream


def test_watch_is_told_each_revision_as_it_comes() -> None:
    """Taken from after each change, a stream says one whole revision at a time."""
    etcd = Etcd()
    stream = started(etcd)
    put(etcd, b"a", b"b")
    assert etcd.ready() == [stream]
    (answer,) = etcd.watch_take(stream)
    assert (told([answer]), answer.revision) == ([(2, b"a"), (2, b"b")], 2)
    assert etcd.ready() == []
    assert etcd.watch_take(stream) == []


def test_watch_from_a_past_revision_is_told_what_happened_since() -> None:
    """`created` comes first, then history from just that revision on."""
    etcd = Etcd()
    for key in (b"a", b"b", b"c"):
        put(etcd, key)
    stream = etcd.watch_open(0)
    etcd.watch_create(stream, WatchRequest(key=b"\0", range_end=FROM_KEY, start_revision=3), 0)
    created, history = etcd.watch_take(stream)
    assert created == WatchAnswer(revision=4, watch_id=0, created=True)
    assert told([history]) == [(3, b"b"), (4, b"c")]


def test_watch_from_a_future_revision_waits_for_it() -> None:
    """What comes before it is not told."""
    etcd = Etcd()
    stream = started(etcd, WatchRequest(key=b"\0", range_end=FROM_KEY, start_revision=4))
    for key in (b"a", b"b", b"c"):
        put(etcd, key)
    assert told(etcd.watch_take(stream)) == [(4, b"c")]


def test_watch_is_told_of_its_own_range_and_kinds_only() -> None:
    """Single keys, ranges and both filters."""
    etcd = Etcd()
    one = started(etcd, WatchRequest(key=b"b"))
    deletes = started(etcd, WatchRequest(key=b"a", range_end=b"c", no_put=True))
    puts = started(etcd, WatchRequest(key=b"b", range_end=FROM_KEY, no_delete=True))
    put(etcd, b"a", b"b", b"c")
    etcd.delete_range(DeleteRequest(key=b"a", range_end=FROM_KEY), 0)
    assert told(etcd.watch_take(one)) == [(2, b"b"), (3, b"b")]
    assert told(etcd.watch_take(deletes)) == [(3, b"a"), (3, b"b")]
    assert told(etcd.watch_take(puts)) == [(2, b"b"), (2, b"c")]


def test_previous_value_comes_with_the_event_when_asked_for() -> None:
    """None at the creation of a key."""
    etcd = Etcd()
    stream = started(etcd, WatchRequest(key=b"k", prev_kv=True))
    for value in (b"1", b"2"):
        etcd.put(PutRequest(key=b"k", value=value), 0)
    etcd.delete_range(DeleteRequest(key=b"k"), 0)
    (answer,) = etcd.watch_take(stream)
    assert [event.prev_kv and event.prev_kv.value for event in answer.events] == [None, b"1", b"2"]


def test_late_reader_gets_whole_revisions_in_bounded_answers() -> None:
    """Many revisions in one answer, at most a thousand, none of them cut."""
    etcd = Etcd()
    stream = started(etcd)
    for _ in range(MAX_REVISIONS + 1):
        put(etcd, b"a", b"b")
    first, second = etcd.watch_take(stream)
    assert (len(first.events), len(second.events)) == (2 * MAX_REVISIONS, 2)


def test_watch_whose_history_is_compacted_ends_and_says_where_history_begins() -> None:
    """Whether it starts there, or was too slow; one that was told everything lives on."""
    etcd = Etcd()
    slow, even = started(etcd), started(etcd)
    for key in (b"a", b"b", b"c"):
        put(etcd, key)
    etcd.watch_take(even)
    etcd.compact(4, 0)
    gone = WatchAnswer(revision=0, watch_id=0, canceled=True, compact_revision=4)
    assert etcd.watch_take(slow) == [gone]
    late = etcd.watch_open(0)
    etcd.watch_create(late, WatchRequest(key=b"a", start_revision=3), 0)
    assert etcd.watch_take(late)[1:] == [gone]
    put(etcd, b"d")
    assert told(etcd.watch_take(even)) == [(5, b"d")]
    assert etcd.watch_take(slow) == []


def test_watch_from_the_compacted_revision_itself_is_served() -> None:
    """That revision is still there, deletes included."""
    etcd = Etcd()
    put(etcd, b"a")
    etcd.delete_range(DeleteRequest(key=b"a"), 0)
    etcd.compact(3, 0)
    stream = etcd.watch_open(0)
    etcd.watch_create(stream, WatchRequest(key=b"a", start_revision=3), 0)
    assert told(etcd.watch_take(stream)) == [(3, b"a")]


def test_cancelled_watch_is_told_nothing_more() -> None:
    """Not even what it was behind with."""
    etcd = Etcd()
    stream = started(etcd)
    put(etcd, b"a")
    etcd.watch_cancel(stream, 0, 0)
    put(etcd, b"b")
    assert etcd.watch_take(stream) == [WatchAnswer(revision=2, watch_id=0, canceled=True)]


def test_requested_progress_comes_after_all_events() -> None:
    """Who hears it has heard everything up to its revision: the rule that etcd before 3.4.25 broke."""
    etcd = Etcd()
    stream = started(etcd)
    put(etcd, b"a")
    etcd.progress(stream, 0)
    events, progress = etcd.watch_take(stream)
    assert told([events]) == [(2, b"a")]
    assert progress == WatchAnswer(revision=2, watch_id=-1)


def test_quiet_watch_hears_of_progress_once_an_interval() -> None:
    """Only when it asked for it and was told nothing since; the deadline says when."""
    etcd = Etcd(progress_interval=10 * SECOND)
    stream = started(etcd, WatchRequest(key=b"a", progress_notify=True))
    silent = started(etcd, WatchRequest(key=b"a"))
    assert etcd.deadline == 10 * SECOND
    etcd.tick(10 * SECOND - 1)
    assert etcd.ready() == []
    etcd.tick(10 * SECOND)
    assert etcd.watch_take(stream) == [WatchAnswer(revision=1, watch_id=0)]
    put(etcd, b"a")
    etcd.watch_take(stream)
    etcd.tick(20 * SECOND)
    assert etcd.watch_take(stream) == []
    etcd.tick(30 * SECOND)
    assert etcd.watch_take(stream) == [WatchAnswer(revision=2, watch_id=0)]
    assert not any(answer.watch_id == 0 and not answer.events for answer in etcd.watch_take(silent))


def test_large_answer_is_cut_in_fragments_when_the_reader_can_join_them() -> None:
    """All but the last say that more follows; without the flag it is one answer."""
    etcd = Etcd(max_request_bytes=4096)
    joining = started(etcd, WatchRequest(key=b"\0", range_end=FROM_KEY, fragment=True))
    plain = started(etcd)
    for key in (b"a", b"b", b"c"):
        for _ in range(70):
            etcd.put(PutRequest(key=key, value=b"x" * 4000), 0)
    parts = etcd.watch_take(joining)
    assert [part.fragment for part in parts] == [True] * (len(parts) - 1) + [False]
    assert len(parts) > 1
    (whole,) = etcd.watch_take(plain)
    assert told(parts) == told([whole])


def test_bad_watch_is_created_and_cancelled_in_one_answer() -> None:
    """An empty range, and an id that the stream has already."""
    etcd = Etcd()
    stream = etcd.watch_open(0)
    assert etcd.watch_create(stream, WatchRequest(key=b"b", range_end=b"a"), 0) == -1
    assert etcd.watch_create(stream, WatchRequest(key=b"a", watch_id=5), 0) == 5
    assert etcd.watch_create(stream, WatchRequest(key=b"a", watch_id=5), 0) == -1
    empty, created, twice = etcd.watch_take(stream)
    assert (empty.canceled, empty.cancel_reason) == (True, "mvcc: watcher range is empty")
    assert created.watch_id == 5 and not created.canceled
    assert (twice.canceled, twice.cancel_reason) == (True, "mvcc: duplicate watch ID provided on the WatchStream")


def test_closed_stream_is_forgotten() -> None:
    """Nothing is ready for it any more."""
    etcd = Etcd(progress_interval=SECOND)
    stream = started(etcd, WatchRequest(key=b"a", progress_notify=True))
    etcd.watch_close(stream)
    etcd.watch_close(stream)
    put(etcd, b"a")
    assert (etcd.ready(), etcd.deadline) == ([], None)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.lists(st.sampled_from([b"a", b"b", b"c"]), min_size=1, max_size=3, unique=True)),
        st.tuples(st.just("take"), st.just([])),
        st.tuples(st.just("delete"), st.lists(st.sampled_from([b"a", b"b", b"c"]), min_size=1, max_size=1)),
    ),
    max_size=40,
)


@given(steps=STEPS, start=st.integers(0, 20), at=st.integers(0, 40))
def test_watch_misses_nothing_and_tells_nothing_twice(
    steps: list[tuple[str, list[bytes]]], start: int, at: int
) -> None:
    """Created at any step, from any revision, taken from at any steps: all changes since, once, in order."""
    etcd = Etcd()
    stream = etcd.watch_open(0)
    answers: list[WatchAnswer] = []
    happened: list[tuple[int, bytes]] = []
    since = None
    for place, (verb, keys) in enumerate([*steps, ("take", [])]):
        if place == min(at, len(steps)):
            since = start or etcd.revision + 1
            etcd.watch_create(stream, WatchRequest(key=b"\0", range_end=FROM_KEY, start_revision=start), 0)
        if verb == "put":
            revision = put(etcd, *keys)
            happened += [(revision, key) for key in keys]
        elif verb == "delete":
            answer = etcd.delete_range(DeleteRequest(key=keys[0]), 0)
            happened += [(answer.revision, keys[0])] * answer.deleted
        else:
            answers += etcd.watch_take(stream)
    assert since is not None
    assert told(answers) == [(revision, key) for revision, key in happened if revision >= since]
    newest = [answer.events[-1].kv.mod_revision for answer in answers if answer.events]
    oldest = [answer.events[0].kv.mod_revision for answer in answers if answer.events]
    assert all(later > earlier for earlier, later in zip(newest, oldest[1:], strict=False)), "a revision was cut in two"
