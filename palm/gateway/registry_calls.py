"""etcd's calls with one question and one answer: for each, the message in, one step of an `Etcd`, the message out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from palm.gateway import registry_wire as convert
from palm.sim.etcd.member import Etcd
from palm.wire import etcd as wire

Call = Callable[[Etcd, Any, int], Any]
"""`call(etcd, request, now)`: the response, its header holding the revision only. Raises `EtcdRefused`.

Any: the request and response types are those of the method under which `CALLS` has it.
"""


def _range(etcd: Etcd, request: wire.RangeRequest, now: int) -> wire.RangeResponse:
    return convert.range_response(etcd.range(convert.range_request(request), now))


def _put(etcd: Etcd, request: wire.PutRequest, now: int) -> wire.PutResponse:
    return convert.put_response(etcd.put(convert.put_request(request), now))


def _delete_range(etcd: Etcd, request: wire.DeleteRangeRequest, now: int) -> wire.DeleteRangeResponse:
    return convert.delete_response(etcd.delete_range(convert.delete_request(request), now))


def _txn(etcd: Etcd, request: wire.TxnRequest, now: int) -> wire.TxnResponse:
    return convert.txn_response(etcd.txn(convert.txn_request(request), now))


def _compact(etcd: Etcd, request: wire.CompactionRequest, now: int) -> wire.CompactionResponse:
    return wire.CompactionResponse(header=convert.header(etcd.compact(request.revision, now).revision))


def _lease_grant(etcd: Etcd, request: wire.LeaseGrantRequest, now: int) -> wire.LeaseGrantResponse:
    answer = etcd.lease_grant(request.ttl, now, id=request.id)
    return wire.LeaseGrantResponse(header=convert.header(answer.revision), id=answer.id, ttl=answer.ttl_s)


def _lease_revoke(etcd: Etcd, request: wire.LeaseRevokeRequest, now: int) -> wire.LeaseRevokeResponse:
    return wire.LeaseRevokeResponse(header=convert.header(etcd.lease_revoke(request.id, now).revision))


def _lease_keep_alive(etcd: Etcd, request: wire.LeaseKeepAliveRequest, now: int) -> wire.LeaseKeepAliveResponse:
    answer = etcd.lease_keep_alive(request.id, now)
    return wire.LeaseKeepAliveResponse(header=convert.header(answer.revision), id=answer.id, ttl=answer.ttl_s)


def _lease_time_to_live(etcd: Etcd, request: wire.LeaseTimeToLiveRequest, now: int) -> wire.LeaseTimeToLiveResponse:
    answer = etcd.lease_ttl(request.id, now, keys=request.keys)
    return wire.LeaseTimeToLiveResponse(
        header=convert.header(answer.revision),
        id=answer.id,
        ttl=answer.ttl_s,
        granted_ttl=answer.granted_ttl_s,
        keys=answer.keys,
    )


def _lease_leases(etcd: Etcd, _request: wire.LeaseLeasesRequest, now: int) -> wire.LeaseLeasesResponse:
    answer = etcd.leases(now)
    leases = [wire.LeaseStatus(id=id) for id in answer.ids]
    return wire.LeaseLeasesResponse(header=convert.header(answer.revision), leases=leases)


CALLS: dict[str, Call] = {
    wire.RANGE.path: _range,
    wire.PUT.path: _put,
    wire.DELETE_RANGE.path: _delete_range,
    wire.TXN.path: _txn,
    wire.COMPACT.path: _compact,
    wire.LEASE_GRANT.path: _lease_grant,
    wire.LEASE_REVOKE.path: _lease_revoke,
    wire.LEASE_KEEP_ALIVE.path: _lease_keep_alive,
    wire.LEASE_TIME_TO_LIVE.path: _lease_time_to_live,
    wire.LEASE_LEASES.path: _lease_leases,
}
"""By path. A renewal is here too: its stream is a row of single questions."""
