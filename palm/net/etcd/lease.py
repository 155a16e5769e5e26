"""Leases: one renewal at a time, each with a deadline of a quarter of the lease.

When to renew, and when to stop acting because no renewal was answered, is the session's business (`palm.runtime`), on
its own clock. Here one renewal asks one endpoint after another, so that a dead member costs a part of the quarter only.
"""

from __future__ import annotations

from palm.errors import LeaseLost, RegistryUnavailable
from palm.net.etcd.answers import Fate, Verdict
from palm.net.etcd.calls import Calls, Metadata
from palm.net.etcd.channel import Link
from palm.ports.registry import Lease, LeaseId
from palm.wire import etcd as wire

TTLS_KEPT = 1024  # of leases granted here and never ended here; the oldest is forgotten, and its renewals get timeout_s


class Leases:
    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._ttl_s: dict[LeaseId, int] = {}

    async def grant(self, ttl_s: int) -> Lease:
        answer = await self._calls.unary(wire.LEASE_GRANT, wire.LeaseGrantRequest(ttl=ttl_s))
        lease = Lease(id=LeaseId(answer.id), ttl_s=answer.ttl)
        self._keep(lease.id, lease.ttl_s)
        return lease

    async def keep_alive(self, lease: LeaseId) -> int:
        ttl_s = self._ttl_s.get(lease)
        tries = self._calls.tries("LeaseKeepAlive", None if ttl_s is None else ttl_s / 4)

        async def attempt(link: Link, timeout_s: float, metadata: Metadata) -> wire.LeaseKeepAliveResponse | Verdict:
            return await _renew(link, lease, timeout_s, metadata)

        answer = await self._calls.run(tries, attempt)
        if answer.ttl <= 0:
            self._ttl_s.pop(lease, None)
            raise LeaseLost(f"etcd has no lease {lease:x}: it has expired or was revoked; grant a new one")
        self._keep(lease, answer.ttl)
        return answer.ttl

    async def revoke(self, lease: LeaseId) -> None:
        tries = self._calls.tries("LeaseRevoke")
        self._ttl_s.pop(lease, None)
        try:
            await self._calls.unary(wire.LEASE_REVOKE, wire.LeaseRevokeRequest(id=lease), tries=tries)
        except LeaseLost:
            if not tries.unsure:  # else it was this very call that ended it, and the answer was lost
                raise

    def _keep(self, lease: LeaseId, ttl_s: int) -> None:
        self._ttl_s.pop(lease, None)  # to the end of the line
        self._ttl_s[lease] = ttl_s
        if len(self._ttl_s) > TTLS_KEPT:
            del self._ttl_s[next(iter(self._ttl_s))]


async def _renew(
    link: Link, lease: LeaseId, timeout_s: float, metadata: Metadata
) -> wire.LeaseKeepAliveResponse | Verdict:
    method = wire.LEASE_KEEP_ALIVE
    call = link.channel.stream_stream(
        method.path, request_serializer=method.serialize, response_deserializer=method.parse_response
    )(timeout=timeout_s, metadata=metadata)
    try:
        await call.write(wire.LeaseKeepAliveRequest(id=lease))
        answer = await call.read()
    finally:
        call.cancel()
    if not isinstance(answer, wire.LeaseKeepAliveResponse):
        return Verdict(Fate.UNSURE, RegistryUnavailable, "the stream was ended by the other side")
    return answer
