"""The fake etcd answers as the real ones do: random commands to both, every answer and every watch event compared."""

from __future__ import annotations

import time
from collections.abc import Iterator

import grpc
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from palm.wire import etcd as wire
from tests.support.etcd import FLAVOURS, Flavour, etcd
from tests.support.etcd_pair import TIMEOUT_S, Message, Pair, map_revisions

KEYS = st.sampled_from([b"a", b"a", b"b", b"ab", b"c", b"", b"\0"])
RANGE_ENDS = st.sampled_from([b"", b"", b"b", b"c", b"\0", b"a"])
VALUES = st.sampled_from([b"", b"x", b"y", b"z"])
LEASES = st.sampled_from([0, 0, 0, 1, 2, 3])
FLAGS = st.booleans()
# Of any size: `fit` brings it down to what the run has come to.
REVISIONS = st.sampled_from([0, 0, 1, 2, 3, 5, 8, 13, 21])
FILTERS = [wire.WatchCreateRequest.NOPUT, wire.WatchCreateRequest.NODELETE]
BOUNDS = st.sampled_from([0, 0, 0, 0, 2, 3, 5, 8])

RANGES = st.builds(
    wire.RangeRequest,
    key=st.sampled_from([b"a", b"a", b"\0", b"b"]),
    range_end=st.sampled_from([b"\0", b"\0", b"c"]),
    limit=st.integers(0, 3),
    revision=BOUNDS,
    sort_order=st.sampled_from([0, 1, 2]),
    sort_target=st.sampled_from([0, 1, 2, 3, 4]),
    keys_only=FLAGS,
    count_only=FLAGS,
    min_mod_revision=BOUNDS,
    max_mod_revision=BOUNDS,
    min_create_revision=BOUNDS,
    max_create_revision=BOUNDS,
)
READS = st.builds(wire.RangeRequest, key=KEYS, range_end=RANGE_ENDS, limit=st.integers(0, 2), revision=REVISIONS)
PUTS = st.builds(
    wire.PutRequest, key=KEYS, value=VALUES, lease=LEASES, prev_kv=FLAGS, ignore_value=FLAGS, ignore_lease=FLAGS
)
PLAIN_PUTS = st.builds(wire.PutRequest, key=KEYS, value=VALUES, lease=LEASES, prev_kv=FLAGS)
DELETES = st.builds(wire.DeleteRangeRequest, key=KEYS, range_end=RANGE_ENDS, prev_kv=FLAGS)


def _guards(target: int, **union: st.SearchStrategy[int] | st.SearchStrategy[bytes]) -> st.SearchStrategy[wire.Compare]:
    return st.builds(
        wire.Compare, result=st.integers(0, 3), key=KEYS, range_end=RANGE_ENDS, target=st.just(target), **union
    )


GUARDS = st.one_of(
    _guards(wire.Compare.VERSION, version=st.integers(0, 3)),
    _guards(wire.Compare.CREATE, create_revision=REVISIONS),
    _guards(wire.Compare.MOD, mod_revision=REVISIONS),
    _guards(wire.Compare.VALUE, value=VALUES),
    _guards(wire.Compare.LEASE, lease=LEASES),
)
SINGLE = st.one_of(
    st.builds(wire.RequestOp, request_range=READS),
    st.builds(wire.RequestOp, request_put=PLAIN_PUTS),
    st.builds(wire.RequestOp, request_put=PUTS),
    st.builds(wire.RequestOp, request_delete_range=DELETES),
)


def _txns(operations: st.SearchStrategy[wire.RequestOp]) -> st.SearchStrategy[wire.TxnRequest]:
    branch = st.lists(operations, max_size=3)
    return st.builds(wire.TxnRequest, compare=st.lists(GUARDS, max_size=2), success=branch, failure=branch)


NESTED = st.one_of(SINGLE, st.builds(wire.RequestOp, request_txn=_txns(SINGLE)))
TXNS = st.one_of(_txns(SINGLE), _txns(st.one_of(SINGLE, st.builds(wire.RequestOp, request_txn=_txns(NESTED)))))


class SideBySide(RuleBasedStateMachine):
    """Each rule is one command to both; `Pair` compares what they say."""

    def __init__(self, channel: grpc.Channel) -> None:
        super().__init__()
        self.pair = Pair(channel)
        self.watches: list[int] = []

    def fit(self, message: Message) -> Message:
        """A copy whose revisions are of this run: up to two that have not come yet."""
        fitted = type(message).FromString(message.SerializeToString())
        map_revisions(fitted, lambda revision: revision % (self.pair.fake.revision + 3))
        return fitted

    @initialize()
    def begin_with_something(self) -> None:
        for id in (1, 2):
            self.pair.ask(wire.LEASE_GRANT, wire.LeaseGrantRequest(id=id, ttl=90))
        for key, lease in ((b"a", 1), (b"b", 2), (b"ab", 0)):
            self.pair.ask(wire.PUT, wire.PutRequest(key=key, lease=lease))

    @rule(request=PLAIN_PUTS)
    def put(self, request: wire.PutRequest) -> None:
        self.pair.ask(wire.PUT, request)

    @rule(request=PUTS)
    def put_with_flags(self, request: wire.PutRequest) -> None:
        self.pair.ask(wire.PUT, request)

    @rule(request=RANGES)
    def range(self, request: wire.RangeRequest) -> None:
        self.pair.ask(wire.RANGE, self.fit(request))

    @rule(request=READS)
    def read(self, request: wire.RangeRequest) -> None:
        self.pair.ask(wire.RANGE, self.fit(request))

    @rule(after=st.integers(-1, 1))
    def read_at_the_edge_of_history(self, after: int) -> None:
        revision = max(1, self.pair.fake.compact_revision + after)
        self.pair.ask(wire.RANGE, wire.RangeRequest(key=b"\0", range_end=b"\0", revision=revision))

    @rule(request=DELETES)
    def delete_range(self, request: wire.DeleteRangeRequest) -> None:
        self.pair.ask(wire.DELETE_RANGE, request)

    @rule(request=TXNS)
    def txn(self, request: wire.TxnRequest) -> None:
        self.pair.ask(wire.TXN, self.fit(request))

    @rule(revision=st.sampled_from([1, 2, 3, 5, 8, 13, 21]))
    def compact(self, revision: int) -> None:
        # Whether a watch that is catching up when its history goes is served first is chance: let all catch up before.
        self.pair.settle()
        request = self.fit(wire.CompactionRequest(revision=revision))
        if request.revision:  # 0 is the real one's business with the runs before
            self.pair.ask(wire.COMPACT, request)

    @rule(id=st.integers(1, 3), ttl=st.integers(60, 90))
    def grant(self, id: int, ttl: int) -> None:
        self.pair.ask(wire.LEASE_GRANT, wire.LeaseGrantRequest(id=id, ttl=ttl))

    @rule(id=st.integers(1, 3))
    def revoke(self, id: int) -> None:
        self.pair.ask(wire.LEASE_REVOKE, wire.LeaseRevokeRequest(id=id))

    @rule(id=st.integers(1, 3))
    def keep_alive(self, id: int) -> None:
        self.pair.ask(wire.LEASE_KEEP_ALIVE, wire.LeaseKeepAliveRequest(id=id))

    @rule(id=st.integers(1, 3), keys=FLAGS)
    def time_to_live(self, id: int, keys: bool) -> None:
        self.pair.ask(wire.LEASE_TIME_TO_LIVE, wire.LeaseTimeToLiveRequest(id=id, keys=keys))

    @rule()
    def leases(self) -> None:
        self.pair.ask(wire.LEASE_LEASES, wire.LeaseLeasesRequest())

    @rule(
        key=KEYS,
        range_end=RANGE_ENDS,
        start=REVISIONS,
        prev_kv=FLAGS,
        filters=st.lists(st.sampled_from(FILTERS), max_size=1),
        id=st.sampled_from([0, 0, 0, 1, 7]),
    )
    def watch(
        self,
        key: bytes,
        range_end: bytes,
        start: int,
        prev_kv: bool,
        filters: list[wire.WatchCreateRequest.FilterType],
        id: int,
    ) -> None:
        request = self.fit(
            wire.WatchCreateRequest(
                key=key, range_end=range_end, start_revision=start, prev_kv=prev_kv, filters=filters, watch_id=id
            )
        )
        # Revision 1 of the fake is where the real one was emptied. And at the compacted revision itself both real
        # versions forget a delete (mended in 3.4.36); the fake keeps it.
        if request.start_revision in (1, self.pair.fake.compact_revision):
            request.start_revision += 1
        if (created := self.pair.watch(request)) >= 0:
            self.watches.append(created)

    @precondition(lambda self: self.watches)
    @rule(which=st.integers(0, 9))
    def cancel_watch(self, which: int) -> None:
        self.pair.cancel_watch(self.watches.pop(which % len(self.watches)))

    def teardown(self) -> None:
        try:
            self.pair.settle()
            self.pair.ask(wire.RANGE, wire.RangeRequest(key=b"\0", range_end=b"\0"))
            for id in (1, 2, 3):
                self.pair.ask(wire.LEASE_TIME_TO_LIVE, wire.LeaseTimeToLiveRequest(id=id, keys=True))
        finally:
            self.pair.close()


@pytest.fixture(scope="module", params=FLAVOURS)
def channel(request: pytest.FixtureRequest) -> Iterator[grpc.Channel]:
    """To a real etcd of each version, one process for the module."""
    flavour: Flavour = request.param
    with etcd(flavour) as cluster, grpc.insecure_channel(cluster.endpoints[0]) as channel:
        yield channel


def test_fake_etcd_and_a_real_one_give_the_same_answers_to_random_commands(channel: grpc.Channel) -> None:
    """Puts, reads of past and present, transactions, compactions, leases and watches: no answer differs."""

    class OnThatEtcd(SideBySide):
        def __init__(self) -> None:
            super().__init__(channel)

    run_state_machine_as_test(
        OnThatEtcd,
        settings=settings(
            max_examples=40,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.reuse, Phase.generate, Phase.shrink),
        ),
    )


def test_lease_that_runs_out_takes_its_keys_in_one_revision_as_in_the_fake(channel: grpc.Channel) -> None:
    """Not before the least ttl of two seconds, in ascending order of keys; that is what test_etcd_lessor says, too."""
    pair = Pair(channel)
    begun = time.monotonic()
    pair.ask(wire.LEASE_GRANT, wire.LeaseGrantRequest(id=9, ttl=1))
    for key in (b"c", b"a", b"b"):
        pair.ask(wire.PUT, wire.PutRequest(key=key, lease=9))
    watch = channel.stream_stream(
        wire.WATCH.path, request_serializer=wire.WATCH.serialize, response_deserializer=wire.WATCH.parse_response
    )
    create = wire.WatchCreateRequest(key=b"a", range_end=b"d")
    answers = watch(iter([wire.WatchRequest(create_request=create)]), timeout=TIMEOUT_S)
    gone = next(answer for answer in answers if answer.events)
    assert time.monotonic() - begun >= 2.0
    assert [event.kv.key for event in gone.events] == [b"a", b"b", b"c"]
    assert len({event.kv.mod_revision for event in gone.events}) == 1
    answers.cancel()  # type: ignore[no-untyped-call]  # the stubs leave it so
