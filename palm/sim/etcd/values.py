"""What is said to etcd and what it answers, as plain values: the fields of its v3 API without protobuf.

Names and meanings are etcd's. A key range is `key` and `range_end` as on the wire: an empty `range_end` means the one
key, `b"\\0"` means every key from `key` on, anything else is the first key that is not in the range. Revisions and
versions are ints, leases are ints with 0 for none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

from palm.errors import RegistryRefused

FROM_KEY = b"\0"
"""As a `range_end`: no upper bound."""


class Refusal(Enum):
    """Every way in which etcd says no: the gRPC status name and the text that its clients match on."""

    EMPTY_KEY = ("INVALID_ARGUMENT", "etcdserver: key is not provided")
    KEY_NOT_FOUND = ("INVALID_ARGUMENT", "etcdserver: key not found")
    VALUE_PROVIDED = ("INVALID_ARGUMENT", "etcdserver: value is provided")
    LEASE_PROVIDED = ("INVALID_ARGUMENT", "etcdserver: lease is provided")
    TOO_MANY_OPS = ("INVALID_ARGUMENT", "etcdserver: too many operations in txn request")
    DUPLICATE_KEY = ("INVALID_ARGUMENT", "etcdserver: duplicate key given in txn request")
    TOO_LARGE = ("INVALID_ARGUMENT", "etcdserver: request is too large")
    COMPACTED = ("OUT_OF_RANGE", "etcdserver: mvcc: required revision has been compacted")
    FUTURE_REVISION = ("OUT_OF_RANGE", "etcdserver: mvcc: required revision is a future revision")
    LEASE_NOT_FOUND = ("NOT_FOUND", "etcdserver: requested lease not found")
    LEASE_EXISTS = ("FAILED_PRECONDITION", "etcdserver: lease already exists")
    NO_SPACE = ("RESOURCE_EXHAUSTED", "etcdserver: mvcc: database space exceeded")
    LEASE_TTL_TOO_LARGE = ("OUT_OF_RANGE", "etcdserver: too large lease TTL")
    AUTH_FAILED = ("INVALID_ARGUMENT", "etcdserver: authentication failed, invalid user ID or password")
    NO_USER = ("INVALID_ARGUMENT", "etcdserver: user name is empty")
    INVALID_TOKEN = ("UNAUTHENTICATED", "etcdserver: invalid auth token")
    AUTH_DISABLED = ("FAILED_PRECONDITION", "etcdserver: authentication is not enabled")
    PERMISSION_DENIED = ("PERMISSION_DENIED", "etcdserver: permission denied")


class EtcdRefused(RegistryRefused):
    """etcd said no, and nothing changed. `refusal` says which no it was."""

    def __init__(self, refusal: Refusal) -> None:
        self.code, text = refusal.value
        super().__init__(text)
        self.refusal = refusal


# -- keys --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KeyValue:
    """A key at one revision. A deleted key has `version` and `create_revision` 0 and an empty value."""

    key: bytes
    value: bytes = b""
    create_revision: int = 0
    mod_revision: int = 0
    version: int = 0
    lease: int = 0

    @property
    def deleted(self) -> bool:
        return self.version == 0


SortOrder = Literal["none", "ascend", "descend"]
SortTarget = Literal["key", "version", "create", "mod", "value"]
CompareTarget = Literal["version", "create", "mod", "lease", "value"]
CompareOperator = Literal["=", "!=", ">", "<"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeRequest:
    """Read keys. `revision` 0 or less: the newest; `limit` 0: all; the four bounds on revisions: 0 is no bound."""

    key: bytes
    range_end: bytes = b""
    limit: int = 0
    revision: int = 0
    sort_order: SortOrder = "none"
    sort_target: SortTarget = "key"
    keys_only: bool = False
    count_only: bool = False
    min_mod_revision: int = 0
    max_mod_revision: int = 0
    min_create_revision: int = 0
    max_create_revision: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeAnswer:
    """`count` is of the whole range, whatever `limit` and the revision bounds left; `more`: `limit` cut something off.

    `revision` is the store's, not the one that was asked for.
    """

    revision: int
    kvs: tuple[KeyValue, ...] = ()
    more: bool = False
    count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PutRequest:
    key: bytes
    value: bytes = b""
    lease: int = 0
    prev_kv: bool = False
    ignore_value: bool = False
    ignore_lease: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PutAnswer:
    revision: int
    prev_kv: KeyValue | None = None
    """None: not asked for, or there was none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteRequest:
    key: bytes
    range_end: bytes = b""
    prev_kv: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteAnswer:
    revision: int
    deleted: int = 0
    prev_kvs: tuple[KeyValue, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Compare:
    """A guard. It holds when it holds for every key of the range; for no key at all, as if for a key of all zeros,
    except that a `value` guard then never holds."""

    key: bytes
    range_end: bytes = b""
    target: CompareTarget = "version"
    operator: CompareOperator = "="
    value: int | bytes = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TxnRequest:
    """All of `compare` hold: run `success`, else `failure`. Nested guards, too, see the state before all of it."""

    compare: Sequence[Compare] = ()
    success: Sequence[Operation] = ()
    failure: Sequence[Operation] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TxnAnswer:
    """One answer for each operation of the branch that ran. A nested answer has `revision` 0, as etcd's has."""

    revision: int
    succeeded: bool
    responses: tuple[OperationAnswer, ...] = ()


Operation = RangeRequest | PutRequest | DeleteRequest | TxnRequest
OperationAnswer = RangeAnswer | PutAnswer | DeleteAnswer | TxnAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactAnswer:
    revision: int


# -- leases ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseAnswer:
    """`ttl_s` is what was granted or granted anew; 0 in the answer to a renewal: the lease is gone."""

    revision: int
    id: int
    ttl_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeAnswer:
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TtlAnswer:
    """`ttl_s`: whole seconds left, rounded down; -1: no such lease. `keys` ascend, and are empty unless asked for."""

    revision: int
    id: int
    ttl_s: int
    granted_ttl_s: int = 0
    keys: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasesAnswer:
    """Living leases, the one that ends first first."""

    revision: int
    ids: tuple[int, ...]


# -- watches -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A put, or a delete when `kv.deleted` (then `kv` has only key and mod_revision)."""

    kv: KeyValue
    prev_kv: KeyValue | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchRequest:
    """`start_revision` 0: from now on. An empty key means from the very first. `watch_id` 0: etcd chooses."""

    key: bytes
    range_end: bytes = b""
    start_revision: int = 0
    progress_notify: bool = False
    no_put: bool = False
    no_delete: bool = False
    prev_kv: bool = False
    watch_id: int = 0
    fragment: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchAnswer:
    """One message of a watch stream.

    With events: one or more whole revisions in order, unless `fragment` says that more of this answer follows.
    Without: `created`, `canceled` (by request, or with `compact_revision` because history is gone, or with
    `cancel_reason` because the request was bad), or else progress: every event up to `revision` has been sent.
    `watch_id` is -1 in the answer to a progress request.
    """

    revision: int
    watch_id: int
    created: bool = False
    canceled: bool = False
    compact_revision: int = 0
    cancel_reason: str = ""
    fragment: bool = False
    events: tuple[Event, ...] = field(default=())
