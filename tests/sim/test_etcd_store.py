"""The fake etcd's keys: revisions, ranges, transactions, compaction, limits. That etcd agrees: test_etcd_machine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.sim.etcd.member import Etcd
from palm.sim.etcd.store import Store
from palm.sim.etcd.values import (
    FROM_KEY,
    Compare,
    DeleteRequest,
    EtcdRefused,
    KeyValue,
    Operation,
    PutRequest,
    RangeAnswer,
    RangeRequest,
    Refusal,
    TxnRequest,
)


def put(etcd: Etcd, key: bytes, value: bytes = b"") -> int:
    return etcd.put(PutRequest(key=key, value=value), 0).revision


def read(etcd: Etcd, key: bytes = b"\0", range_end: bytes = FROM_KEY, revision: int = 0) -> dict[bytes, bytes]:
    kvs = etcd.range(RangeRequest(key=key, range_end=range_end, revision=revision), 0).kvs
    return {kv.key: kv.value for kv in kvs}


def refusal(etcd: Etcd, request: Operation) -> Refusal:
    before = etcd.revision
    with pytest.raises(EtcdRefused) as caught:
        etcd.txn(request if isinstance(request, TxnRequest) else TxnRequest(success=[request]), 0)
    assert etcd.revision == before, "a refused request made a revision"
    return caught.value.refusal


def test_put_makes_a_revision_and_counts_versions() -> None:
    """A fresh etcd is at revision 1; a key keeps its create revision and counts its puts."""
    etcd = Etcd()
    put(etcd, b"k", b"1")
    put(etcd, b"other")
    put(etcd, b"k", b"2")
    answer = etcd.range(RangeRequest(key=b"k"), 0)
    assert answer == RangeAnswer(
        revision=4, count=1, kvs=(KeyValue(key=b"k", value=b"2", create_revision=2, mod_revision=4, version=2),)
    )


def test_key_that_returns_after_a_delete_begins_anew() -> None:
    """Version and create revision start over, and the delete itself is a revision."""
    etcd = Etcd()
    put(etcd, b"k")
    assert etcd.delete_range(DeleteRequest(key=b"k"), 0).revision == 3
    put(etcd, b"k")
    (kv,) = etcd.range(RangeRequest(key=b"k"), 0).kvs
    assert (kv.create_revision, kv.mod_revision, kv.version) == (4, 4, 1)


def test_delete_of_nothing_makes_no_revision() -> None:
    """The store's revision counts changes, not requests."""
    etcd = Etcd()
    answer = etcd.delete_range(DeleteRequest(key=b"k", range_end=FROM_KEY), 0)
    assert (answer.deleted, answer.revision) == (0, 1)


def test_prefix_is_a_range_of_bytes_and_not_of_path_segments() -> None:
    """`/palm/a` up to `/palm/b` holds `/palm/a1`, too."""
    etcd = Etcd()
    for key in (b"/palm/a", b"/palm/a1", b"/palm/a/x", b"/palm/b"):
        put(etcd, key)
    assert list(read(etcd, b"/palm/a", b"/palm/b")) == [b"/palm/a", b"/palm/a/x", b"/palm/a1"]
    assert list(read(etcd, b"/palm/a/", b"/palm/a0")) == [b"/palm/a/x"]


def test_limit_says_that_there_is_more_and_still_counts_all() -> None:
    """A page of a prefix tells whether another follows."""
    etcd = Etcd()
    for key in (b"a", b"b", b"c"):
        put(etcd, key)
    page = etcd.range(RangeRequest(key=b"a", range_end=FROM_KEY, limit=2), 0)
    assert ([kv.key for kv in page.kvs], page.more, page.count) == ([b"a", b"b"], True, 3)
    last = etcd.range(RangeRequest(key=b"b\0", range_end=FROM_KEY, limit=2), 0)
    assert (last.more, last.count) == (False, 1)


def test_bounds_on_revisions_are_applied_before_the_limit() -> None:
    """A page of what is new is full of what is new; the count is still of the whole range."""
    etcd = Etcd()
    for key in (b"a", b"b", b"c", b"d"):
        put(etcd, key)
    answer = etcd.range(RangeRequest(key=b"a", range_end=FROM_KEY, min_mod_revision=4, limit=1), 0)
    assert ([kv.key for kv in answer.kvs], answer.more, answer.count) == ([b"c"], True, 4)


def test_sorting_comes_before_the_limit() -> None:
    """The newest one of a range is found by one request; keys alone come without their values."""
    etcd = Etcd()
    for key in (b"b", b"c", b"a"):
        put(etcd, key, b"v")
    request = RangeRequest(
        key=b"a", range_end=FROM_KEY, sort_order="descend", sort_target="mod", limit=1, keys_only=True
    )
    assert [(kv.key, kv.value) for kv in etcd.range(request, 0).kvs] == [(b"a", b"")]


def test_transaction_is_one_revision_and_reads_its_own_writes() -> None:
    """All its changes share a revision; a read inside sees those before it."""
    etcd = Etcd()
    answer = etcd.txn(
        TxnRequest(
            success=[PutRequest(key=b"a"), RangeRequest(key=b"a"), PutRequest(key=b"b"), RangeRequest(key=b"b")]
        ),
        0,
    )
    first, second = answer.responses[1], answer.responses[3]
    assert isinstance(first, RangeAnswer) and isinstance(second, RangeAnswer)
    assert {kv.mod_revision for kv in first.kvs + second.kvs} == {2} == {answer.revision}


def test_guard_of_a_nested_transaction_sees_the_state_before_the_outer_one() -> None:
    """As in etcd, which decides all branches before it changes anything."""
    etcd = Etcd()
    inner = TxnRequest(compare=[Compare(key=b"a", value=0)], success=[PutRequest(key=b"b", value=b"a was absent")])
    etcd.txn(TxnRequest(success=[PutRequest(key=b"a"), inner]), 0)
    assert read(etcd, b"b", b"") == {b"b": b"a was absent"}


def test_guard_on_the_value_of_an_absent_key_never_holds() -> None:
    """Not even "is not x": there is no value to compare with."""
    etcd = Etcd()
    guard = Compare(key=b"a", target="value", operator="!=", value=b"x")
    assert not etcd.txn(TxnRequest(compare=[guard]), 0).succeeded


@pytest.mark.parametrize(
    ("operations", "why"),
    [
        ([PutRequest(key=b"a"), PutRequest(key=b"a")], Refusal.DUPLICATE_KEY),
        ([PutRequest(key=b"b"), DeleteRequest(key=b"a", range_end=b"c")], Refusal.DUPLICATE_KEY),
        ([PutRequest(key=b"a"), TxnRequest(failure=[PutRequest(key=b"a")])], Refusal.DUPLICATE_KEY),
        ([PutRequest(key=b"")], Refusal.EMPTY_KEY),
        ([RangeRequest(key=b"a")] * 129, Refusal.TOO_MANY_OPS),
        ([PutRequest(key=b"a", value=b"x" * 1_572_864)], Refusal.TOO_LARGE),
        ([PutRequest(key=b"b"), PutRequest(key=b"a", lease=7)], Refusal.LEASE_NOT_FOUND),
        ([PutRequest(key=b"b"), PutRequest(key=b"a", ignore_value=True)], Refusal.KEY_NOT_FOUND),
        ([PutRequest(key=b"b"), RangeRequest(key=b"a", revision=9)], Refusal.FUTURE_REVISION),
    ],
)
def test_refused_transaction_changes_nothing(operations: list[Operation], why: Refusal) -> None:
    """Whatever is wrong with one operation is found before the first one runs."""
    etcd = Etcd()
    assert refusal(etcd, TxnRequest(success=operations)) is why
    assert read(etcd) == {}


def test_two_branches_that_exclude_each_other_may_put_the_same_key() -> None:
    """Only one of them runs."""
    etcd = Etcd()
    etcd.txn(TxnRequest(success=[PutRequest(key=b"a")], failure=[PutRequest(key=b"a")]), 0)
    etcd.txn(TxnRequest(success=[TxnRequest(success=[PutRequest(key=b"a")], failure=[PutRequest(key=b"a")])]), 0)
    assert etcd.revision == 3


def test_delete_to_the_end_and_a_put_may_share_a_transaction() -> None:
    """An oversight of etcd's, kept: it takes that range for empty when it looks for keys that are given twice."""
    etcd = Etcd()
    put(etcd, b"b")
    etcd.txn(TxnRequest(success=[DeleteRequest(key=b"a", range_end=FROM_KEY), PutRequest(key=b"b", value=b"new")]), 0)
    assert read(etcd) == {b"b": b"new"}


def test_value_just_under_the_limit_is_taken() -> None:
    """1.5 MiB, less what the request itself takes."""
    etcd = Etcd()
    assert put(etcd, b"a", b"x" * (1_572_864 - 32)) == 2


def test_compaction_keeps_the_present_and_refuses_the_past() -> None:
    """Reads at the compacted revision and after it work; before it, and compacting there again, are refused."""
    etcd = Etcd()
    put(etcd, b"a", b"1")
    put(etcd, b"a", b"2")
    put(etcd, b"b", b"3")
    etcd.compact(3, 0)
    assert read(etcd, revision=3) == {b"a": b"2"}
    assert read(etcd) == {b"a": b"2", b"b": b"3"}
    assert refusal(etcd, RangeRequest(key=b"a", revision=2)) is Refusal.COMPACTED
    with pytest.raises(EtcdRefused, match="has been compacted"):
        etcd.compact(3, 0)
    with pytest.raises(EtcdRefused, match="is a future revision"):
        etcd.compact(5, 0)


def test_compaction_gives_the_space_of_deleted_keys_back() -> None:
    """A registry that lives long and is compacted does not grow."""
    etcd = Etcd()
    for _ in range(50):
        put(etcd, b"a", b"x" * 100)
        etcd.delete_range(DeleteRequest(key=b"a"), 0)
    put(etcd, b"last")
    etcd.compact(etcd.revision, 0)
    assert etcd.size_bytes < 200


COMMANDS = st.lists(
    st.tuples(st.sampled_from(["put", "delete"]), st.sampled_from([b"a", b"ab", b"b", b"c"]), st.integers(0, 9)),
    max_size=40,
)


@given(commands=COMMANDS, compact_at=st.integers(0, 40))
def test_every_revision_reads_as_it_did_when_it_was_the_newest(
    commands: list[tuple[str, bytes, int]], compact_at: int
) -> None:
    """The past never changes, and compaction takes away just what is before it."""
    store = Store()
    seen: dict[int, list[KeyValue]] = {1: []}
    for verb, key, number in commands:
        store.begin()
        if verb == "put":
            store.put(key, bytes([number]), 0)
        else:
            store.delete(key)
        store.end()
        seen[store.revision] = store.read(b"\0", FROM_KEY)
    if 0 < compact_at <= store.revision:
        store.compact(compact_at)
    for revision, records in seen.items():
        if revision >= store.compact_revision:
            assert store.read(b"\0", FROM_KEY, revision) == records


@given(commands=COMMANDS)
def test_replaying_the_changes_gives_the_present(commands: list[tuple[str, bytes, int]]) -> None:
    """What watchers are told adds up to what a reader sees, and revisions come without a gap."""
    store = Store()
    for verb, key, number in commands:
        store.begin()
        if verb == "put":
            store.put(key, bytes([number]), 0)
        else:
            store.delete(key)
        store.end()
    replayed: dict[bytes, KeyValue] = {}
    revisions = []
    for revision, changes in store.changes(2, store.revision):
        revisions.append(revision)
        for kv in changes:
            replayed[kv.key] = kv
    assert revisions == list(range(2, store.revision + 1))
    assert [replayed[key] for key in sorted(replayed) if not replayed[key].deleted] == store.read(b"\0", FROM_KEY)
