"""Leases: which keys hang on which, and when each ends.

It keeps no keys itself: whoever revokes one deletes the keys that it names. Times are ns of the driver's clock, ttls
whole seconds as in etcd.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

from palm.sim.etcd.values import EtcdRefused, Refusal

MIN_TTL_S = 2
"""etcd grants at least one and a half election timeouts (1 s by default), in whole seconds."""

MAX_TTL_S = 9_000_000_000
_SECOND = 1_000_000_000


@dataclass(slots=True)
class Lease:
    id: int
    ttl_s: int
    expires_at: int
    keys: set[bytes] = field(default_factory=set)
    """Order is not kept: sort before it can reach an answer."""


class Lessor:
    def __init__(self, *, first: int, min_ttl_s: int = MIN_TTL_S) -> None:
        self._next = first
        self._min_ttl_s = min_ttl_s
        self._leases: dict[int, Lease] = {}
        self._ends: list[tuple[int, int]] = []  # a heap of (expires_at, id); an entry that its lease disowns is stale
        self._leading = True

    def grant(self, ttl_s: int, now: int, *, id: int = 0) -> tuple[int, int]:
        """A new lease's id and ttl in seconds; `id` 0: the next free one."""
        if ttl_s > MAX_TTL_S:
            raise EtcdRefused(Refusal.LEASE_TTL_TOO_LARGE)
        if id in self._leases:
            raise EtcdRefused(Refusal.LEASE_EXISTS)
        if id == 0:
            while self._next in self._leases:
                self._next += 1
            id = self._next
            self._next += 1
        ttl_s = max(ttl_s, self._min_ttl_s)
        self._leases[id] = Lease(id, ttl_s, expires_at=0)
        self._start(self._leases[id], now)
        return id, ttl_s

    def renew(self, id: int, now: int) -> int:
        """Start the ttl of a lease anew; the ttl in seconds, 0 when there is no such lease."""
        lease = self._leases.get(id)
        if lease is None:
            return 0
        self._start(lease, now)
        return lease.ttl_s

    def revoke(self, id: int) -> set[bytes]:
        """Forget a lease; the keys that hung on it."""
        lease = self._leases.pop(id, None)
        if lease is None:
            raise EtcdRefused(Refusal.LEASE_NOT_FOUND)
        return lease.keys

    def find(self, id: int) -> Lease | None:
        return self._leases.get(id)

    def remaining_s(self, id: int, now: int) -> int:
        """Whole seconds that a lease has left; it can be overdue (negative) only while there is no leader."""
        left = self._leases[id].expires_at - now
        return left // _SECOND if left >= 0 else -(-left // _SECOND)

    def ids(self) -> tuple[int, ...]:
        """The one that ends first first."""
        return tuple(lease.id for lease in sorted(self._leases.values(), key=_ends_first))

    # -- keys ----------------------------------------------------------------------------------------------------------

    def attach(self, id: int, key: bytes) -> None:
        """Let `key` end with lease `id`; 0 is no lease."""
        if id:
            self._leases[id].keys.add(key)

    def detach(self, id: int, key: bytes) -> None:
        """The key no longer ends with lease `id`. Harmless when it did not, or there is no such lease."""
        lease = self._leases.get(id)
        if lease is not None:
            lease.keys.discard(key)

    # -- time ----------------------------------------------------------------------------------------------------------

    @property
    def next_expiry(self) -> int | None:
        """When a lease ends next; None when there is none, or no leader to end it."""
        if not self._leading:
            return None
        while self._ends and self._stale(*self._ends[0]):
            heappop(self._ends)
        return self._ends[0][0] if self._ends else None

    def due(self, now: int) -> list[int]:
        """The leases whose time is over, the one that ended first first."""
        if (earliest := self.next_expiry) is None or earliest > now:
            return []
        over = [lease for lease in self._leases.values() if lease.expires_at <= now]
        return [lease.id for lease in sorted(over, key=_ends_first)]

    def demote(self) -> None:
        """Nobody leads: no lease ends."""
        self._leading = False

    def promote(self, now: int, extend: int) -> None:
        """Somebody leads anew, and knows no renewal that the former leader granted: each lease starts over."""
        self._leading = True
        for lease in self._leases.values():
            self._start(lease, now + extend)

    def _start(self, lease: Lease, now: int) -> None:
        lease.expires_at = now + lease.ttl_s * _SECOND
        heappush(self._ends, (lease.expires_at, lease.id))
        if len(self._ends) > 64 + 4 * len(self._leases):  # renewals must not pile up until the first of them is due
            self._ends = [(living.expires_at, living.id) for living in self._leases.values()]
            heapify(self._ends)

    def _stale(self, expires_at: int, id: int) -> bool:
        lease = self._leases.get(id)
        return lease is None or lease.expires_at != expires_at


def _ends_first(lease: Lease) -> tuple[int, int]:
    return lease.expires_at, lease.id
