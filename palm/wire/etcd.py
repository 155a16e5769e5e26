"""etcd's v3 API by path: the messages, and for each method its path and the two message types.

The only importer of `etcd_pb2`. Client (`palm.net.etcd`) and server (the embedded registry) read one table, `METHODS`,
so that they cannot differ. It knows no grpc: a message is serialized by `Method.serialize`, parsed by `parse_request`
or `parse_response`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from google.protobuf.message import DecodeError, Message

from palm.wire.etcd_pb2 import (
    AlarmRequest,
    AlarmResponse,
    AuthenticateRequest,
    AuthenticateResponse,
    CompactionRequest,
    CompactionResponse,
    Compare,
    DeleteRangeRequest,
    DeleteRangeResponse,
    Event,
    KeyValue,
    LeaseGrantRequest,
    LeaseGrantResponse,
    LeaseKeepAliveRequest,
    LeaseKeepAliveResponse,
    LeaseLeasesRequest,
    LeaseLeasesResponse,
    LeaseRevokeRequest,
    LeaseRevokeResponse,
    LeaseStatus,
    LeaseTimeToLiveRequest,
    LeaseTimeToLiveResponse,
    PutRequest,
    PutResponse,
    RangeRequest,
    RangeResponse,
    RequestOp,
    ResponseHeader,
    ResponseOp,
    StatusRequest,
    StatusResponse,
    TxnRequest,
    TxnResponse,
    WatchCancelRequest,
    WatchCreateRequest,
    WatchProgressRequest,
    WatchRequest,
    WatchResponse,
)

__all__ = [
    "ALARM",
    "AUTHENTICATE",
    "COMPACT",
    "DELETE_RANGE",
    "LEASE_GRANT",
    "LEASE_KEEP_ALIVE",
    "LEASE_LEASES",
    "LEASE_REVOKE",
    "LEASE_TIME_TO_LIVE",
    "METHODS",
    "PUT",
    "RANGE",
    "STATUS",
    "TXN",
    "WATCH",
    "AlarmRequest",
    "AlarmResponse",
    "AuthenticateRequest",
    "AuthenticateResponse",
    "CompactionRequest",
    "CompactionResponse",
    "Compare",
    "DecodeError",
    "DeleteRangeRequest",
    "DeleteRangeResponse",
    "Event",
    "KeyValue",
    "LeaseGrantRequest",
    "LeaseGrantResponse",
    "LeaseKeepAliveRequest",
    "LeaseKeepAliveResponse",
    "LeaseLeasesRequest",
    "LeaseLeasesResponse",
    "LeaseRevokeRequest",
    "LeaseRevokeResponse",
    "LeaseStatus",
    "LeaseTimeToLiveRequest",
    "LeaseTimeToLiveResponse",
    "Message",
    "Method",
    "PutRequest",
    "PutResponse",
    "RangeRequest",
    "RangeResponse",
    "RequestOp",
    "ResponseHeader",
    "ResponseOp",
    "StatusRequest",
    "StatusResponse",
    "TxnRequest",
    "TxnResponse",
    "WatchCancelRequest",
    "WatchCreateRequest",
    "WatchProgressRequest",
    "WatchRequest",
    "WatchResponse",
    "prefix_end",
]

Q = TypeVar("Q", bound=Message)
A = TypeVar("A", bound=Message)


@dataclass(frozen=True, slots=True)
class Method(Generic[Q, A]):
    """One method of etcd's API: `/service/name`, its request and response types, and whether both sides stream."""

    service: str
    name: str
    request: type[Q]
    response: type[A]
    streaming: bool = False

    @property
    def path(self) -> str:
        return f"/{self.service}/{self.name}"

    @property
    def parse_request(self) -> Callable[[bytes], Q]:
        return self.request.FromString

    @property
    def parse_response(self) -> Callable[[bytes], A]:
        return self.response.FromString

    @staticmethod
    def serialize(message: Message) -> bytes:
        return message.SerializeToString()


RANGE = Method("etcdserverpb.KV", "Range", RangeRequest, RangeResponse)
PUT = Method("etcdserverpb.KV", "Put", PutRequest, PutResponse)
DELETE_RANGE = Method("etcdserverpb.KV", "DeleteRange", DeleteRangeRequest, DeleteRangeResponse)
TXN = Method("etcdserverpb.KV", "Txn", TxnRequest, TxnResponse)
COMPACT = Method("etcdserverpb.KV", "Compact", CompactionRequest, CompactionResponse)
WATCH = Method("etcdserverpb.Watch", "Watch", WatchRequest, WatchResponse, streaming=True)
LEASE_GRANT = Method("etcdserverpb.Lease", "LeaseGrant", LeaseGrantRequest, LeaseGrantResponse)
LEASE_REVOKE = Method("etcdserverpb.Lease", "LeaseRevoke", LeaseRevokeRequest, LeaseRevokeResponse)
LEASE_KEEP_ALIVE = Method(
    "etcdserverpb.Lease", "LeaseKeepAlive", LeaseKeepAliveRequest, LeaseKeepAliveResponse, streaming=True
)
LEASE_TIME_TO_LIVE = Method("etcdserverpb.Lease", "LeaseTimeToLive", LeaseTimeToLiveRequest, LeaseTimeToLiveResponse)
LEASE_LEASES = Method("etcdserverpb.Lease", "LeaseLeases", LeaseLeasesRequest, LeaseLeasesResponse)
AUTHENTICATE = Method("etcdserverpb.Auth", "Authenticate", AuthenticateRequest, AuthenticateResponse)
STATUS = Method("etcdserverpb.Maintenance", "Status", StatusRequest, StatusResponse)
ALARM = Method("etcdserverpb.Maintenance", "Alarm", AlarmRequest, AlarmResponse)
"""How a test has etcd do what it does by itself once its quota is used up; the embedded registry has no quota."""

METHODS: dict[str, Method[Message, Message]] = {
    method.path: method  # type: ignore[misc]  # a table of many types: readers take the types from the constants above
    for method in (
        RANGE,
        PUT,
        DELETE_RANGE,
        TXN,
        COMPACT,
        WATCH,
        LEASE_GRANT,
        LEASE_REVOKE,
        LEASE_KEEP_ALIVE,
        LEASE_TIME_TO_LIVE,
        LEASE_LEASES,
        AUTHENTICATE,
        STATUS,
    )
}


def prefix_end(prefix: bytes) -> bytes:
    r"""The first key after all that begin with `prefix`; `b"\0"`, etcd's "to the end", when there is none.

    >>> prefix_end(b"/palm/")
    b'/palm0'
    >>> prefix_end(b"a\xff")
    b'b'
    >>> prefix_end(b"")
    b'\x00'
    """
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1]) if kept else b"\0"
