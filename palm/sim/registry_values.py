"""Between the registry port's values and the simulated etcd's, and the type checks at that door."""

from __future__ import annotations

from collections.abc import Sequence

from palm.errors import AuthRefused, Compacted, LeaseLost, RegistryError, RegistryRefused
from palm.ports.registry import (
    Change,
    Committed,
    Compare,
    Delete,
    Get,
    Kind,
    LeaseId,
    Operation,
    Put,
    Record,
    Revision,
)
from palm.sim.etcd import values as v

_WHO = {
    v.Refusal.AUTH_FAILED: "check the user and password that it was given",
    v.Refusal.INVALID_TOKEN: "check the user and password that it was given",
    v.Refusal.NO_USER: "the registry wants authentication: give user and password",
    v.Refusal.PERMISSION_DENIED: "grant the user's role read and write on PALM's prefix",
}
_TARGETS = ("version", "create", "mod", "lease", "value")


def key_bytes(key: str, what: str = "key") -> bytes:
    """A key as etcd has it; keys in bad UTF-8 that others wrote pass as surrogate escapes."""
    if not isinstance(key, str) or not key:
        raise TypeError(f"{what} must be a non-empty str, not {key!r}")
    try:
        return key.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise TypeError(f"{what} {key!r} cannot be written in UTF-8") from error


def range_of(prefix: str) -> tuple[bytes, bytes]:
    """The first key that begins with `prefix`, and the first after it that does not."""
    first = key_bytes(prefix, "prefix")
    kept = first.rstrip(b"\xff")
    return first, kept[:-1] + bytes([kept[-1] + 1]) if kept else v.FROM_KEY


def whole(number: int, what: str) -> int:
    if type(number) is not int or not -(2**63) <= number < 2**63:
        raise TypeError(f"{what} must be an int of 64 bits, not {number!r}")
    return number


def put_request(put: Put) -> v.PutRequest:
    if type(put.value) is not bytes:
        raise TypeError(f"value must be bytes, not {type(put.value).__name__}")
    return v.PutRequest(key=key_bytes(put.key), value=put.value, lease=whole(put.lease, "lease"))


def txn_request(
    compare: Sequence[Compare], then: Sequence[Operation], otherwise: Sequence[Operation]
) -> v.TxnRequest:
    return v.TxnRequest(
        compare=tuple(_guard(guard) for guard in compare),
        success=tuple(_operation(operation) for operation in then),
        failure=tuple(_operation(operation) for operation in otherwise),
    )


def record(kv: v.KeyValue) -> Record:
    return Record(
        key=kv.key.decode("utf-8", "surrogateescape"),
        value=kv.value,
        create_revision=Revision(kv.create_revision),
        mod_revision=Revision(kv.mod_revision),
        version=kv.version,
        lease=LeaseId(kv.lease),
    )


def change(event: v.Event) -> Change:
    return Change(kind=Kind.DELETE if event.kv.deleted else Kind.PUT, record=record(event.kv))


def committed(answer: v.TxnAnswer) -> Committed:
    responses = tuple(_response(response) for response in answer.responses)
    return Committed(succeeded=answer.succeeded, revision=Revision(answer.revision), responses=responses)


def refused(operation: str, refusal: v.EtcdRefused) -> RegistryError:
    """etcd's no, as the port says it."""
    if refusal.refusal is v.Refusal.LEASE_NOT_FOUND:
        return LeaseLost(f"{operation}: the lease has expired or was revoked; grant a new one")
    if refusal.refusal in _WHO:
        return AuthRefused(f"{operation}: {refusal} ({_WHO[refusal.refusal]})")
    if refusal.refusal is v.Refusal.COMPACTED:
        return Compacted(f"{operation}: {refusal}; list again")
    return RegistryRefused(f"{operation}: {refusal}")


def _guard(guard: Compare) -> v.Compare:
    if not isinstance(guard, Compare) or guard.target not in _TARGETS or guard.operator not in ("=", "!=", ">", "<"):
        raise TypeError(f"a guard is a Compare of {', '.join(_TARGETS)} by =, !=, > or <, not {guard!r}")
    if guard.target == "value":
        if type(guard.value) is not bytes:
            raise TypeError(f"a value is compared with bytes, not {guard.value!r}")
    elif type(guard.value) is not int:
        raise TypeError(f"a {guard.target} is compared with an int, not {guard.value!r}")
    return v.Compare(key=key_bytes(guard.key), target=guard.target, operator=guard.operator, value=guard.value)


def _operation(operation: Operation) -> v.Operation:
    match operation:
        case Put():
            return put_request(operation)
        case Delete():
            return v.DeleteRequest(key=key_bytes(operation.key))
        case Get(prefix=True):
            first, end = range_of(operation.key)
            return v.RangeRequest(key=first, range_end=end)
        case Get():
            return v.RangeRequest(key=key_bytes(operation.key))
    raise TypeError(f"an operation is a Put, Delete or Get, not {operation!r}")


def _response(answer: v.OperationAnswer) -> tuple[Record, ...] | int | None:
    match answer:
        case v.RangeAnswer():
            return tuple(record(kv) for kv in answer.kvs)
        case v.DeleteAnswer():
            return answer.deleted
        case _:
            return None
