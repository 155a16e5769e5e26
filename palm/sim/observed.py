"""The fake etcd with an eye on who is registered: tells of every record that comes and goes, and why it went."""

from __future__ import annotations

from typing import Callable

from palm.sim.etcd import values as v
from palm.sim.etcd.member import Etcd
from palm.sim.etcd.watch import PROGRESS_INTERVAL

Seen = Callable[[str, str], None]
"""Called with `registered`, `deregistered` or `lease-expired`, and the key."""


class ObservedEtcd(Etcd):
    """An Etcd; `seen` is called for records under `prefix`, after each call that changed them."""

    def __init__(self, prefix: str, seen: Seen, *, progress_interval: int = PROGRESS_INTERVAL) -> None:
        super().__init__(progress_interval=progress_interval)
        self._seen = seen
        self._stream = super().watch_open(0)
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        super().watch_create(self._stream, v.WatchRequest(key=prefix.encode(), range_end=end.encode()), 0)

    def ready(self) -> list[int]:
        return [stream for stream in super().ready() if stream != self._stream]

    def put(self, request: v.PutRequest, now: int) -> v.PutAnswer:
        answer = super().put(request, now)
        self._tell("deregistered")
        return answer

    def delete_range(self, request: v.DeleteRequest, now: int) -> v.DeleteAnswer:
        answer = super().delete_range(request, now)
        self._tell("deregistered")
        return answer

    def txn(self, request: v.TxnRequest, now: int) -> v.TxnAnswer:
        answer = super().txn(request, now)
        self._tell("deregistered")
        return answer

    def lease_revoke(self, id: int, now: int) -> v.RevokeAnswer:
        answer = super().lease_revoke(id, now)
        self._tell("deregistered")
        return answer

    def tick(self, now: int) -> None:
        super().tick(now)
        self._tell("lease-expired")

    def _tell(self, why_gone: str) -> None:
        for answer in self.watch_take(self._stream):
            for event in answer.events:
                key = event.kv.key.decode()
                if event.kv.deleted:
                    self._seen(why_gone, key)
                elif event.kv.version == 1:
                    self._seen("registered", key)
