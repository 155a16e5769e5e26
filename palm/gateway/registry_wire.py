"""etcd's messages into the values of `palm.sim.etcd`, and its answers back. Knows neither grpc nor the store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from palm.sim.etcd import values as v
from palm.wire import etcd as wire

_ORDERS: dict[int, v.SortOrder] = {
    wire.RangeRequest.ASCEND: "ascend",
    wire.RangeRequest.DESCEND: "descend",
}
_SORT_TARGETS: dict[int, v.SortTarget] = {
    wire.RangeRequest.VERSION: "version",
    wire.RangeRequest.CREATE: "create",
    wire.RangeRequest.MOD: "mod",
    wire.RangeRequest.VALUE: "value",
}
_OPERATORS: dict[int, v.CompareOperator] = {
    wire.Compare.EQUAL: "=",
    wire.Compare.NOT_EQUAL: "!=",
    wire.Compare.GREATER: ">",
    wire.Compare.LESS: "<",
}


# -- requests ----------------------------------------------------------------------------------------------------------


def range_request(message: wire.RangeRequest) -> v.RangeRequest:
    return v.RangeRequest(
        key=message.key,
        range_end=message.range_end,
        limit=message.limit,
        revision=message.revision,
        sort_order=_ORDERS.get(message.sort_order, "none"),
        sort_target=_SORT_TARGETS.get(message.sort_target, "key"),
        keys_only=message.keys_only,
        count_only=message.count_only,
        min_mod_revision=message.min_mod_revision,
        max_mod_revision=message.max_mod_revision,
        min_create_revision=message.min_create_revision,
        max_create_revision=message.max_create_revision,
    )


def put_request(message: wire.PutRequest) -> v.PutRequest:
    return v.PutRequest(
        key=message.key,
        value=message.value,
        lease=message.lease,
        prev_kv=message.prev_kv,
        ignore_value=message.ignore_value,
        ignore_lease=message.ignore_lease,
    )


def delete_request(message: wire.DeleteRangeRequest) -> v.DeleteRequest:
    return v.DeleteRequest(key=message.key, range_end=message.range_end, prev_kv=message.prev_kv)


def txn_request(message: wire.TxnRequest) -> v.TxnRequest:
    """Raises `EtcdRefused` for an operation that says nothing, as etcd does."""
    return v.TxnRequest(
        compare=tuple(map(_compare, message.compare)),
        success=tuple(map(_operation, message.success)),
        failure=tuple(map(_operation, message.failure)),
    )


def _operation(message: wire.RequestOp) -> v.Operation:
    match message.WhichOneof("request"):
        case "request_range":
            return range_request(message.request_range)
        case "request_put":
            return put_request(message.request_put)
        case "request_delete_range":
            return delete_request(message.request_delete_range)
        case "request_txn":
            return txn_request(message.request_txn)
        case _:
            raise v.EtcdRefused(v.Refusal.KEY_NOT_FOUND)


def _compare(message: wire.Compare) -> v.Compare:
    target: v.CompareTarget
    value: int | bytes
    match message.target:
        case wire.Compare.CREATE:
            target, value = "create", message.create_revision
        case wire.Compare.MOD:
            target, value = "mod", message.mod_revision
        case wire.Compare.VALUE:
            target, value = "value", message.value
        case wire.Compare.LEASE:
            target, value = "lease", message.lease
        case _:
            target, value = "version", message.version
    return v.Compare(
        key=message.key,
        range_end=message.range_end,
        target=target,
        operator=_OPERATORS.get(message.result, "="),
        value=value,
    )


def watch_request(message: wire.WatchCreateRequest) -> v.WatchRequest:
    return v.WatchRequest(
        key=message.key,
        range_end=message.range_end,
        start_revision=message.start_revision,
        progress_notify=message.progress_notify,
        no_put=wire.WatchCreateRequest.NOPUT in message.filters,
        no_delete=wire.WatchCreateRequest.NODELETE in message.filters,
        prev_kv=message.prev_kv,
        watch_id=message.watch_id,
        fragment=message.fragment,
    )


# -- answers -----------------------------------------------------------------------------------------------------------


def header(revision: int) -> wire.ResponseHeader:
    """With nothing but the revision, as it stands inside of transactions; who answers a client adds who it is."""
    return wire.ResponseHeader(revision=revision)


def range_response(answer: v.RangeAnswer) -> wire.RangeResponse:
    return wire.RangeResponse(
        header=header(answer.revision), kvs=_key_values(answer.kvs), more=answer.more, count=answer.count
    )


def put_response(answer: v.PutAnswer) -> wire.PutResponse:
    return wire.PutResponse(header=header(answer.revision), prev_kv=_key_value(answer.prev_kv))


def delete_response(answer: v.DeleteAnswer) -> wire.DeleteRangeResponse:
    return wire.DeleteRangeResponse(
        header=header(answer.revision), deleted=answer.deleted, prev_kvs=_key_values(answer.prev_kvs)
    )


def txn_response(answer: v.TxnAnswer) -> wire.TxnResponse:
    return wire.TxnResponse(
        header=header(answer.revision),
        succeeded=answer.succeeded,
        responses=[_operation_response(each) for each in answer.responses],
    )


def _operation_response(answer: v.OperationAnswer) -> wire.ResponseOp:
    match answer:
        case v.RangeAnswer():
            return wire.ResponseOp(response_range=range_response(answer))
        case v.PutAnswer():
            return wire.ResponseOp(response_put=put_response(answer))
        case v.DeleteAnswer():
            return wire.ResponseOp(response_delete_range=delete_response(answer))
        case v.TxnAnswer():
            return wire.ResponseOp(response_txn=txn_response(answer))
    assert_never(answer)


def watch_response(answer: v.WatchAnswer) -> wire.WatchResponse:
    return wire.WatchResponse(
        header=header(answer.revision),
        watch_id=answer.watch_id,
        created=answer.created,
        canceled=answer.canceled,
        compact_revision=answer.compact_revision,
        cancel_reason=answer.cancel_reason,
        fragment=answer.fragment,
        events=map(_event, answer.events),
    )


def _event(event: v.Event) -> wire.Event:
    return wire.Event(
        type=wire.Event.DELETE if event.kv.deleted else wire.Event.PUT,
        kv=_key_value(event.kv),
        prev_kv=_key_value(event.prev_kv),
    )


def _key_values(kvs: Sequence[v.KeyValue]) -> list[wire.KeyValue]:
    return [message for message in map(_key_value, kvs) if message is not None]


def _key_value(kv: v.KeyValue | None) -> wire.KeyValue | None:
    if kv is None:
        return None
    return wire.KeyValue(
        key=kv.key,
        value=kv.value,
        create_revision=kv.create_revision,
        mod_revision=kv.mod_revision,
        version=kv.version,
        lease=kv.lease,
    )


# -- what palm.wire has no message for ---------------------------------------------------------------------------------


def member_list(begin: wire.ResponseHeader, *, id: int, name: str, url: str) -> bytes:
    """An encoded MemberListResponse with one member that is found at `url`: etcd's Cluster API is not PALM's to speak,
    but its tools ask for this."""
    member = (
        _varint(1 << 3) + _varint(id) + _field(2, name.encode()) + _field(3, url.encode()) + _field(4, url.encode())
    )
    return _field(1, begin.SerializeToString()) + _field(2, member)


def no_alarms(begin: wire.ResponseHeader) -> bytes:
    """An encoded AlarmResponse without alarms: `etcdctl` of 3.5 asks for them before it calls a member healthy."""
    return _field(1, begin.SerializeToString())


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
