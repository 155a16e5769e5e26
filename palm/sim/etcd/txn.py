"""How etcd runs a request on its store: which are refused, what a guard means, what each operation answers.

A request is checked twice, as in etcd: for its form, before anything is known of the store (`check_request`), and
against the state from which it starts (inside `run`). After both it cannot fail, so a transaction never stops in the
middle. A single put, read or delete is run as a transaction of one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import assert_never

from palm.sim.etcd.lessor import Lessor
from palm.sim.etcd.store import Store
from palm.sim.etcd.values import (
    Compare,
    CompareOperator,
    DeleteAnswer,
    DeleteRequest,
    EtcdRefused,
    KeyValue,
    Operation,
    OperationAnswer,
    PutAnswer,
    PutRequest,
    RangeAnswer,
    RangeRequest,
    Refusal,
    SortTarget,
    TxnAnswer,
    TxnRequest,
)

MAX_OPERATIONS = 128
MAX_REQUEST_BYTES = 1_572_864
_OPERATION_OVERHEAD_BYTES = 24  # etcd counts the encoded request; what is not key or value comes to about this

_SORT_KEY: dict[SortTarget, Callable[[KeyValue], bytes | int]] = {
    "key": lambda kv: kv.key,
    "version": lambda kv: kv.version,
    "create": lambda kv: kv.create_revision,
    "mod": lambda kv: kv.mod_revision,
    "value": lambda kv: kv.value,
}


# -- the form ----------------------------------------------------------------------------------------------------------


def check_request(request: Operation, *, max_bytes: int, max_operations: int) -> None:
    """Raise `EtcdRefused` for a request that no state of the store could make good."""
    _check_form(request, max_operations)
    if isinstance(request, TxnRequest):
        _check_overlap(request.success)
        _check_overlap(request.failure)
    if _size(request) > max_bytes:
        raise EtcdRefused(Refusal.TOO_LARGE)


def _check_form(request: Operation, operations_left: int) -> None:
    if isinstance(request, TxnRequest):
        operations = max(len(request.compare), len(request.success), len(request.failure))
        if operations > operations_left:
            raise EtcdRefused(Refusal.TOO_MANY_OPS)
        if any(not guard.key for guard in request.compare):
            raise EtcdRefused(Refusal.EMPTY_KEY)
        for operation in chain(request.success, request.failure):
            _check_form(operation, operations_left - operations)
        return
    if not request.key:
        raise EtcdRefused(Refusal.EMPTY_KEY)
    if isinstance(request, PutRequest):
        if request.ignore_value and request.value:
            raise EtcdRefused(Refusal.VALUE_PROVIDED)
        if request.ignore_lease and request.lease:
            raise EtcdRefused(Refusal.LEASE_PROVIDED)


_Span = tuple[bytes, bytes]


def _check_overlap(operations: Sequence[Operation]) -> tuple[set[bytes], list[_Span]]:
    """Refuse a branch that may put a key twice, or put one that it deletes; what it may put, and what it may delete.

    The two branches of a nested transaction exclude each other. A delete in a later nested transaction of what an
    earlier one put is let through, as etcd lets it.
    """
    deletes = [(op.key, op.range_end) for op in operations if isinstance(op, DeleteRequest)]
    puts: set[bytes] = set()
    for nested in (op for op in operations if isinstance(op, TxnRequest)):
        puts_then, deletes_then = _check_overlap(nested.success)
        puts_else, deletes_else = _check_overlap(nested.failure)
        for key in chain(puts_then, puts_else):
            if key in puts or _hits(deletes, key):
                raise EtcdRefused(Refusal.DUPLICATE_KEY)
        puts |= puts_then | puts_else
        deletes += deletes_then + deletes_else
    for put in (op for op in operations if isinstance(op, PutRequest)):
        if put.key in puts or _hits(deletes, put.key):
            raise EtcdRefused(Refusal.DUPLICATE_KEY)
        puts.add(put.key)
    return puts, deletes


def _hits(spans: Sequence[_Span], key: bytes) -> bool:
    # etcd takes a range_end of b"\0" for a key here, so a delete "to the end" meets no put (seen: 3.4.23, 3.5.1).
    return any(first <= key < end if end else key == first for first, end in spans)


def _size(request: Operation) -> int:
    match request:
        case TxnRequest():
            guards = sum(len(guard.key) + len(guard.range_end) + _guard_size(guard.value) for guard in request.compare)
            operations = sum(map(_size, chain(request.success, request.failure)))
            return guards + operations + _OPERATION_OVERHEAD_BYTES
        case PutRequest():
            return len(request.key) + len(request.value) + _OPERATION_OVERHEAD_BYTES
        case RangeRequest() | DeleteRequest():
            return len(request.key) + len(request.range_end) + _OPERATION_OVERHEAD_BYTES
    assert_never(request)


def _guard_size(value: int | bytes) -> int:
    return len(value) if isinstance(value, bytes) else 8


# -- the run -----------------------------------------------------------------------------------------------------------


def run(store: Store, lessor: Lessor, request: Operation) -> OperationAnswer:
    """Do all of a checked request in at most one revision, or raise `EtcdRefused` with nothing done."""
    path = _Path(store, request)
    for put in path.operations():
        if isinstance(put, PutRequest):
            _check_put(store, lessor, put, single=put is request)
    for read in path.operations():
        if isinstance(read, RangeRequest):
            store.check_revision(read.revision)
    store.begin()
    answer = _Runner(store, lessor, path).run(request)
    store.end()
    if isinstance(answer, TxnAnswer):
        return replace(answer, revision=store.revision)
    return answer


class _Path:
    """Which branch each transaction takes, decided before any of them changes anything."""

    def __init__(self, store: Store, request: Operation) -> None:
        self._store = store
        self._request = request
        self._holds: dict[int, bool] = {}
        if isinstance(request, TxnRequest):
            self._decide(request)

    def _decide(self, txn: TxnRequest) -> None:
        # By identity: one and the same nested request may stand in two places, with one fate.
        self._holds[id(txn)] = all(_holds(self._store, guard) for guard in txn.compare)
        for operation in self.branch(txn):
            if isinstance(operation, TxnRequest):
                self._decide(operation)

    def holds(self, txn: TxnRequest) -> bool:
        return self._holds[id(txn)]

    def branch(self, txn: TxnRequest) -> Sequence[Operation]:
        return txn.success if self.holds(txn) else txn.failure

    def operations(self) -> Iterator[Operation]:
        """Reads, puts and deletes that will run, in order."""
        return self._walk(self._request)

    def _walk(self, operation: Operation) -> Iterator[Operation]:
        if isinstance(operation, TxnRequest):
            for inner in self.branch(operation):
                yield from self._walk(inner)
        else:
            yield operation


def _holds(store: Store, guard: Compare) -> bool:
    found = store.read(guard.key, guard.range_end)
    if not found:
        return guard.target != "value" and _compare(guard, KeyValue(key=guard.key))
    return all(_compare(guard, kv) for kv in found)


def _compare(guard: Compare, kv: KeyValue) -> bool:
    if guard.target == "value":
        assert isinstance(guard.value, bytes), "a value is compared with bytes"
        return _ordered(guard.operator, (kv.value > guard.value) - (kv.value < guard.value))
    assert isinstance(guard.value, int), f"{guard.target} is compared with a number"
    number = {
        "version": kv.version,
        "create": kv.create_revision,
        "mod": kv.mod_revision,
        "lease": kv.lease,
    }[guard.target]
    return _ordered(guard.operator, number - guard.value)


def _ordered(operator: CompareOperator, difference: int) -> bool:
    return {"=": difference == 0, "!=": difference != 0, ">": difference > 0, "<": difference < 0}[operator]


def _check_put(store: Store, lessor: Lessor, put: PutRequest, *, single: bool) -> None:
    no_key = (put.ignore_value or put.ignore_lease) and store.get(put.key) is None
    no_lease = put.lease != 0 and lessor.find(put.lease) is None
    # etcd looks for the key first inside a transaction, and for the lease first outside of one.
    if no_lease and (single or not no_key):
        raise EtcdRefused(Refusal.LEASE_NOT_FOUND)
    if no_key:
        raise EtcdRefused(Refusal.KEY_NOT_FOUND)


class _Runner:
    def __init__(self, store: Store, lessor: Lessor, path: _Path) -> None:
        self._store = store
        self._lessor = lessor
        self._path = path

    def run(self, operation: Operation) -> OperationAnswer:
        match operation:
            case RangeRequest():
                return self._range(operation)
            case PutRequest():
                return self._put(operation)
            case DeleteRequest():
                return self._delete(operation)
            case TxnRequest():
                responses = tuple(self.run(inner) for inner in self._path.branch(operation))
                return TxnAnswer(revision=0, succeeded=self._path.holds(operation), responses=responses)
        assert_never(operation)

    def _put(self, put: PutRequest) -> PutAnswer:
        old = self._store.get(put.key)
        value, lease = put.value, put.lease
        if put.ignore_value:
            assert old is not None, "checked before the transaction began"
            value = old.value
        if put.ignore_lease:
            assert old is not None, "checked before the transaction began"
            lease = old.lease
        if old is not None:
            self._lessor.detach(old.lease, put.key)
        self._store.put(put.key, value, lease)
        self._lessor.attach(lease, put.key)
        return PutAnswer(revision=self._store.visible_revision, prev_kv=old if put.prev_kv else None)

    def _delete(self, delete: DeleteRequest) -> DeleteAnswer:
        found = self._store.read(delete.key, delete.range_end)
        for kv in found:
            self._lessor.detach(kv.lease, kv.key)
            self._store.delete(kv.key)
        return DeleteAnswer(
            revision=self._store.visible_revision,
            deleted=len(found),
            prev_kvs=tuple(found) if delete.prev_kv else (),
        )

    def _range(self, request: RangeRequest) -> RangeAnswer:
        found = self._store.read(request.key, request.range_end, request.revision)
        revision = self._store.visible_revision
        count = len(found)
        if request.count_only:
            return RangeAnswer(revision=revision, count=count)
        if request.limit > 0 and request.sort_order == "none" and not _bounded(request):
            # One more than asked for tells whether there is more. It is cut before a sort whose order is not given,
            # which is etcd's way (and of little use to anybody).
            found = found[: request.limit + 1]
        kvs = [kv for kv in found if _within(request, kv)]
        if request.sort_order != "none" or request.sort_target != "key":
            kvs.sort(key=_SORT_KEY[request.sort_target], reverse=request.sort_order == "descend")
        more = 0 < request.limit < len(kvs)
        kvs = kvs[: request.limit] if more else kvs
        if request.keys_only:
            kvs = [replace(kv, value=b"") for kv in kvs]
        return RangeAnswer(revision=revision, kvs=tuple(kvs), more=more, count=count)


def _bounded(request: RangeRequest) -> bool:
    return any(
        (request.min_mod_revision, request.max_mod_revision, request.min_create_revision, request.max_create_revision)
    )


def _within(request: RangeRequest, kv: KeyValue) -> bool:
    return not (
        (request.max_mod_revision and kv.mod_revision > request.max_mod_revision)
        or (request.min_mod_revision and kv.mod_revision < request.min_mod_revision)
        or (request.max_create_revision and kv.create_revision > request.max_create_revision)
        or (request.min_create_revision and kv.create_revision < request.min_create_revision)
    )
