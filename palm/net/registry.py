"""The registry port on a real etcd. Puts the pieces of `palm.net.etcd` together; holds no rule of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from palm.errors import Compacted, RegistryError
from palm.net.etcd import records
from palm.net.etcd.answers import AnswerTooLarge
from palm.net.etcd.calls import Calls
from palm.net.etcd.lease import Leases
from palm.net.etcd.settings import EtcdSettings
from palm.net.etcd.watch import EtcdWatch
from palm.ports.registry import (
    NO_LEASE,
    Committed,
    Compare,
    Lease,
    LeaseId,
    Listing,
    Operation,
    Put,
    Revision,
)
from palm.wire import etcd as wire

__all__ = ["EtcdRegistry", "EtcdSettings", "MemberStatus"]

LISTINGS_MAX = 3  # a listing whose revision is compacted between two pages begins anew; not for ever


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberStatus:
    """What one endpoint says of itself; `trouble` is why it says nothing, or the alarms it raises (empty: none)."""

    endpoint: str
    version: str = ""
    member_id: int = 0
    leader_id: int = 0
    revision: int = 0
    db_bytes: int = 0
    trouble: str = ""


class EtcdRegistry:
    """`palm.ports.registry.Registry` on etcd 3.4 or newer. Belongs to one event loop; connects when first used.

    Raises `BadRequest` when a certificate file of `settings` cannot be read.
    """

    def __init__(self, settings: EtcdSettings) -> None:
        self._settings = settings
        self._calls = Calls(settings)
        self._leases = Leases(self._calls)
        self._watches: set[EtcdWatch] = set()

    async def grant(self, ttl_s: int) -> Lease:
        return await self._leases.grant(records.whole(ttl_s, "ttl_s"))

    async def keep_alive(self, lease: LeaseId) -> int:
        """Deadlined by a quarter of the lease's ttl, where that is known here; by `timeout_s` otherwise."""
        return await self._leases.keep_alive(LeaseId(records.whole(lease, "lease")))

    async def revoke(self, lease: LeaseId) -> None:
        await self._leases.revoke(LeaseId(records.whole(lease, "lease")))

    async def get(self, prefix: str) -> Listing:
        first, end = records.prefix_range(prefix)
        for listing in range(1, LISTINGS_MAX + 1):
            try:
                return await self._listing(first, end)
            except Compacted:
                if listing == LISTINGS_MAX:
                    raise
        raise AssertionError("the last listing returns or raises")

    async def put(self, key: str, value: bytes, lease: LeaseId = NO_LEASE) -> Revision:
        request = records.put_request(Put(key=key, value=value, lease=lease))
        return Revision((await self._calls.unary(wire.PUT, request)).header.revision)

    async def delete(self, key: str) -> int:
        """0 also when the answer to a first try was lost and the second found nothing more to delete."""
        request = wire.DeleteRangeRequest(key=records.key_bytes(key))
        return (await self._calls.unary(wire.DELETE_RANGE, request)).deleted

    async def transact(
        self, compare: Sequence[Compare], then: Sequence[Operation], otherwise: Sequence[Operation] = ()
    ) -> Committed:
        request = records.txn_request(tuple(compare), tuple(then), tuple(otherwise))
        return records.committed(await self._calls.unary(wire.TXN, request, once=True))

    def watch(self, prefix: str, after: Revision) -> EtcdWatch:
        watch = EtcdWatch(
            self._calls, prefix, after, probe_s=self._settings.probe_s, closed=self._watches.discard
        )
        self._watches.add(watch)
        return watch

    async def status(self) -> list[MemberStatus]:
        """How each endpoint stands, one after another; never raises for one that is down."""
        return [await self._status_of(endpoint) for endpoint in self._settings.targets]

    async def aclose(self) -> None:
        for watch in list(self._watches):
            await watch.aclose()
        await self._calls.links.aclose()

    async def _listing(self, first: bytes, end: bytes) -> Listing:
        kvs: list[wire.KeyValue] = []
        revision, page = 0, self._settings.page
        while True:
            request = wire.RangeRequest(key=first, range_end=end, limit=page, revision=revision)
            try:
                answer = await self._calls.unary(wire.RANGE, request)
            except AnswerTooLarge:
                if page == 1:
                    raise
                page = max(1, page // 4)
                continue
            kvs += answer.kvs
            revision = revision or answer.header.revision
            if not answer.more:
                return records.listing(kvs, revision)
            first = answer.kvs[-1].key + b"\0"

    async def _status_of(self, endpoint: str) -> MemberStatus:
        calls = Calls(self._settings.only(endpoint))
        try:
            answer = await calls.unary(wire.STATUS, wire.StatusRequest())
        except RegistryError as error:
            return MemberStatus(endpoint=endpoint, trouble=str(error))
        finally:
            await calls.links.aclose()
        return MemberStatus(
            endpoint=endpoint,
            version=answer.version,
            member_id=answer.header.member_id,
            leader_id=answer.leader,
            revision=answer.header.revision,
            db_bytes=answer.db_size,
            trouble="; ".join(answer.errors),
        )
