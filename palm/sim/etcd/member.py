"""One etcd, without network, disk or clock: store, lessor and watchers behind etcd's own requests.

Whoever drives it (the simulated registry, the embedded one) passes the time in and carries the answers out. It knows
etcd's rules for one healthy member; lost quorums, slow disks and lost answers are made by the driver around it.
"""

from __future__ import annotations

from palm.sim.etcd import values as v
from palm.sim.etcd.lessor import MIN_TTL_S, Lessor
from palm.sim.etcd.store import Store
from palm.sim.etcd.txn import MAX_OPERATIONS, MAX_REQUEST_BYTES, check_request, run
from palm.sim.etcd.watch import PROGRESS_INTERVAL, Hub

FRAME_OVERHEAD_BYTES = 512 << 10
"""What a gRPC message may have beside the request in it; watch answers are cut in fragments at the sum, as in etcd."""


class Etcd:
    """A linearizable key-value store with leases and watches.

    Every method takes `now` (ns, never going back) and first lets the leases end that are due; so answers are right
    however late `tick` comes, and `tick` at `deadline` is only needed for watchers to hear of an expiry in time.
    Methods raise `EtcdRefused`, and then nothing has changed beyond those expiries. An answer's `revision` is that of
    etcd's header.

    Watches belong to streams: `watch_open` a stream, then `watch_create` on it. After any call, `ready()` names the
    streams that have something to say and `watch_take` says it. A stream that is taken from late is not queued for: it
    gets the history it missed, several revisions in one answer, or learns that it was compacted.
    """

    def __init__(
        self,
        *,
        first_lease: int = 0x1000_0000_0000_0001,
        min_lease_ttl_s: int = MIN_TTL_S,
        progress_interval: int = PROGRESS_INTERVAL,
        max_request_bytes: int = MAX_REQUEST_BYTES,
        max_operations: int = MAX_OPERATIONS,
    ) -> None:
        """An empty etcd at revision 1. Leases that etcd numbers itself count from `first_lease`; times are in ns."""
        self._store = Store()
        self._lessor = Lessor(first=first_lease, min_ttl_s=min_lease_ttl_s)
        self._hub = Hub(
            self._store,
            progress_interval=progress_interval,
            max_answer_bytes=max_request_bytes + FRAME_OVERHEAD_BYTES,
        )
        self._max_request_bytes = max_request_bytes
        self._max_operations = max_operations

    @property
    def revision(self) -> int:
        """The newest revision; 1 when nothing was ever written."""
        return self._store.revision

    @property
    def compact_revision(self) -> int:
        """The oldest revision that can be read; -1 when there was no compaction."""
        return self._store.compact_revision

    @property
    def size_bytes(self) -> int:
        """Roughly what keys and values take, history included."""
        return self._store.size_bytes

    # -- keys ----------------------------------------------------------------------------------------------------------

    def range(self, request: v.RangeRequest, now: int) -> v.RangeAnswer:
        """Read a range of keys, in ascending order of keys unless sorted otherwise."""
        answer = self._run(request, now)
        assert isinstance(answer, v.RangeAnswer)
        return answer

    def put(self, request: v.PutRequest, now: int) -> v.PutAnswer:
        """Write one key; it moves to `request.lease`, or to none."""
        answer = self._run(request, now)
        assert isinstance(answer, v.PutAnswer)
        return answer

    def delete_range(self, request: v.DeleteRequest, now: int) -> v.DeleteAnswer:
        """Delete a range of keys in one revision; no new revision when there were none."""
        answer = self._run(request, now)
        assert isinstance(answer, v.DeleteAnswer)
        return answer

    def txn(self, request: v.TxnRequest, now: int) -> v.TxnAnswer:
        """Run one of two branches in one revision; no new revision when the branch wrote nothing."""
        answer = self._run(request, now)
        assert isinstance(answer, v.TxnAnswer)
        return answer

    def compact(self, revision: int, now: int) -> v.CompactAnswer:
        """Forget what was overwritten or deleted before `revision`; reads and watches from there on still work."""
        self.tick(now)
        self._store.compact(revision)
        return v.CompactAnswer(revision=self._store.revision)

    def _run(self, request: v.Operation, now: int) -> v.OperationAnswer:
        check_request(request, max_bytes=self._max_request_bytes, max_operations=self._max_operations)
        self.tick(now)
        answer = run(self._store, self._lessor, request)
        self._hub.committed()
        return answer

    # -- leases --------------------------------------------------------------------------------------------------------

    def lease_grant(self, ttl_s: int, now: int, *, id: int = 0) -> v.LeaseAnswer:
        """A new lease; `id` 0: etcd chooses. The granted ttl is at least the least ttl (2 s)."""
        self.tick(now)
        granted_id, granted_ttl_s = self._lessor.grant(ttl_s, now, id=id)
        return v.LeaseAnswer(revision=self._store.revision, id=granted_id, ttl_s=granted_ttl_s)

    def lease_keep_alive(self, id: int, now: int) -> v.LeaseAnswer:
        """Start the ttl anew. A lease that is gone is no refusal: the answer has `ttl_s` 0."""
        self.tick(now)
        return v.LeaseAnswer(revision=self._store.revision, id=id, ttl_s=self._lessor.renew(id, now))

    def lease_revoke(self, id: int, now: int) -> v.RevokeAnswer:
        """End a lease and delete its keys in one revision."""
        self.tick(now)
        self._end(id)
        return v.RevokeAnswer(revision=self._store.revision)

    def lease_ttl(self, id: int, now: int, *, keys: bool = False) -> v.TtlAnswer:
        """How long a lease has, and which keys hang on it."""
        self.tick(now)
        lease = self._lessor.find(id)
        if lease is None:
            return v.TtlAnswer(revision=self._store.revision, id=id, ttl_s=-1)
        return v.TtlAnswer(
            revision=self._store.revision,
            id=id,
            ttl_s=self._lessor.remaining_s(id, now),
            granted_ttl_s=lease.ttl_s,
            keys=tuple(sorted(lease.keys)) if keys else (),
        )

    def leases(self, now: int) -> v.LeasesAnswer:
        """All living leases."""
        self.tick(now)
        return v.LeasesAnswer(revision=self._store.revision, ids=self._lessor.ids())

    def demote(self) -> None:
        """There is no leader: leases stop ending until `promote`. Nothing else changes here; refusing requests that
        need a leader is the driver's business."""
        self._lessor.demote()

    def promote(self, now: int, extend: int = 0) -> None:
        """A leader was elected: each lease gets its whole ttl anew, and `extend` ns beside it, as etcd does."""
        self._lessor.promote(now, extend)

    def _end(self, id: int) -> None:
        keys = self._lessor.revoke(id)
        self._store.begin()
        for key in sorted(keys):
            self._store.delete(key)
        self._store.end()
        self._hub.committed()

    # -- watches -------------------------------------------------------------------------------------------------------

    def watch_open(self, now: int) -> int:
        """A new stream, as opened by one call of etcd's Watch; its number is never used again."""
        return self._hub.open(now)

    def watch_create(self, stream: int, request: v.WatchRequest, now: int) -> int:
        """Watch a range on that stream; the watch id, or -1 when the stream will say `canceled` with a reason. The
        stream says `created`, and then its events."""
        self.tick(now)
        return self._hub.create(stream, request)

    def watch_cancel(self, stream: int, watch_id: int, now: int) -> None:
        """End one watch; the stream says `canceled`. Nothing is said about a watch that does not exist."""
        self.tick(now)
        self._hub.cancel(stream, watch_id)

    def progress(self, stream: int, now: int) -> None:
        """Ask how far the stream has come: it says so, with watch id -1, after all that it has to say."""
        self.tick(now)
        self._hub.request_progress(stream)

    def watch_take(self, stream: int) -> list[v.WatchAnswer]:
        """What the stream has to say, oldest first; each thing once."""
        return self._hub.take(stream)

    def watch_close(self, stream: int) -> None:
        """Forget the stream and its watches. Idempotent."""
        self._hub.close(stream)

    def ready(self) -> list[int]:
        """The streams that have something to say, in the order in which they were opened."""
        return self._hub.ready()

    # -- time ----------------------------------------------------------------------------------------------------------

    @property
    def deadline(self) -> int | None:
        """When `tick` has something to do; None: never, as things stand. It may move either way after any call."""
        due = [when for when in (self._lessor.next_expiry, self._hub.deadline) if when is not None]
        return min(due, default=None)

    def tick(self, now: int) -> None:
        """Let the leases end that are due, each in a revision of its own, and send the progress that is due."""
        for id in self._lessor.due(now):
            self._end(id)
        self._hub.tick(now)
