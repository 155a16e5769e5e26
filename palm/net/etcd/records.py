"""Between the port's values and etcd's messages, and the type checks at that door.

A wrong type must not get past here: protobuf takes None for "unset", so `key=None` would go out as an empty key.
"""

from __future__ import annotations

from palm.ports.registry import (
    Change,
    Committed,
    Compare,
    Delete,
    Get,
    Kind,
    LeaseId,
    Listing,
    Operation,
    Put,
    Record,
    Revision,
)
from palm.wire import etcd as wire

_TARGETS = {
    "version": wire.Compare.VERSION,
    "create": wire.Compare.CREATE,
    "mod": wire.Compare.MOD,
    "lease": wire.Compare.LEASE,
    "value": wire.Compare.VALUE,
}
_OPERATORS = {
    "=": wire.Compare.EQUAL,
    "!=": wire.Compare.NOT_EQUAL,
    ">": wire.Compare.GREATER,
    "<": wire.Compare.LESS,
}


def key_bytes(key: str, what: str = "key") -> bytes:
    """A key's bytes. Keys that others wrote in bad UTF-8 are read and written with surrogate escapes."""
    if not isinstance(key, str) or not key:
        raise TypeError(f"{what} must be a non-empty str, not {key!r}")
    try:
        return key.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise TypeError(f"{what} {key!r} has no UTF-8 form") from error


def prefix_range(prefix: str) -> tuple[bytes, bytes]:
    """First key, and the first key after, of all that begin with `prefix`."""
    first = key_bytes(prefix, "prefix")
    return first, wire.prefix_end(first)


def value_bytes(value: bytes) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError(f"value must be bytes, not {type(value).__name__}")
    return value


def whole(number: int, what: str) -> int:
    if not isinstance(number, int) or isinstance(number, bool):
        raise TypeError(f"{what} must be int, not {number!r}")
    if not -(2**63) <= number < 2**63:
        raise TypeError(f"{what} must fit 64 bits, {number} does not")
    return number


def put_request(put: Put) -> wire.PutRequest:
    return wire.PutRequest(key=key_bytes(put.key), value=value_bytes(put.value), lease=whole(put.lease, "lease"))


def txn_request(
    compare: tuple[Compare, ...], then: tuple[Operation, ...], otherwise: tuple[Operation, ...]
) -> wire.TxnRequest:
    return wire.TxnRequest(
        compare=[_compare(guard) for guard in compare],
        success=[_request_op(operation) for operation in then],
        failure=[_request_op(operation) for operation in otherwise],
    )


def record(kv: wire.KeyValue) -> Record:
    return Record(
        key=kv.key.decode("utf-8", "surrogateescape"),
        value=kv.value,
        create_revision=Revision(kv.create_revision),
        mod_revision=Revision(kv.mod_revision),
        version=kv.version,
        lease=LeaseId(kv.lease),
    )


def listing(kvs: list[wire.KeyValue], revision: int) -> Listing:
    return Listing(records=tuple(record(kv) for kv in kvs), revision=Revision(revision))


def change(event: wire.Event) -> Change:
    kind = Kind.DELETE if event.type == wire.Event.DELETE else Kind.PUT
    return Change(kind=kind, record=record(event.kv))


def committed(answer: wire.TxnResponse) -> Committed:
    return Committed(
        succeeded=answer.succeeded,
        revision=Revision(answer.header.revision),
        responses=tuple(_response(one) for one in answer.responses),
    )


def _compare(guard: Compare) -> wire.Compare:
    if not isinstance(guard, Compare):
        raise TypeError(f"a guard must be Compare, not {guard!r}")
    if guard.target not in _TARGETS:
        raise TypeError(f"compare target must be one of {', '.join(_TARGETS)}, not {guard.target!r}")
    if guard.operator not in _OPERATORS:
        raise TypeError(f"compare operator must be one of {', '.join(_OPERATORS)}, not {guard.operator!r}")
    message = wire.Compare(
        key=key_bytes(guard.key), target=_TARGETS[guard.target], result=_OPERATORS[guard.operator]
    )
    if guard.target == "value":
        if not isinstance(guard.value, bytes):
            raise TypeError(f"a value is compared with bytes, not {guard.value!r}")
        message.value = guard.value
        return message
    if isinstance(guard.value, bytes):
        raise TypeError(f"{guard.target} is compared with int, not {guard.value!r}")
    number = whole(guard.value, f"what {guard.target} is compared with")
    match guard.target:
        case "version":
            message.version = number
        case "create":
            message.create_revision = number
        case "mod":
            message.mod_revision = number
        case "lease":
            message.lease = number
    return message


def _request_op(operation: Operation) -> wire.RequestOp:
    match operation:
        case Put():
            return wire.RequestOp(request_put=put_request(operation))
        case Delete(key=key):
            return wire.RequestOp(request_delete_range=wire.DeleteRangeRequest(key=key_bytes(key)))
        case Get(key=key, prefix=False):
            return wire.RequestOp(request_range=wire.RangeRequest(key=key_bytes(key)))
        case Get(key=key):
            first, end = prefix_range(key)
            return wire.RequestOp(request_range=wire.RangeRequest(key=first, range_end=end))
    raise TypeError(f"an operation must be Put, Delete or Get, not {operation!r}")


def _response(answer: wire.ResponseOp) -> tuple[Record, ...] | int | None:
    match answer.WhichOneof("response"):
        case "response_range":
            return tuple(record(kv) for kv in answer.response_range.kvs)
        case "response_delete_range":
            return answer.response_delete_range.deleted
        case _:
            return None
