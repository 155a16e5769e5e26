"""The registry port: what PALM asks of etcd, in etcd's own terms.

Two adapters implement it, `palm.net.registry` (a real etcd) and `palm.sim.registry` (the simulated one); the suite in
`palm.testing.conformance.registry` is the executable half of this specification. The port knows nothing of servers or
jobs. All calls are deadlined by the adapter (`timeout_s` of its settings) and raise only `palm.errors.RegistryError`s.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import AsyncIterator, Literal, NewType, Protocol, Sequence

Revision = NewType("Revision", int)
LeaseId = NewType("LeaseId", int)

NO_LEASE = LeaseId(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One key as the registry holds it. `version` counts puts since its creation, from 1; `lease` is 0 for none."""

    key: str
    value: bytes
    create_revision: Revision
    mod_revision: Revision
    version: int
    lease: LeaseId = NO_LEASE


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A linearizable read at `revision`; records in ascending order of their keys' UTF-8 bytes."""

    records: tuple[Record, ...]
    revision: Revision


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A granted lease. `ttl_s` is the registry's own figure, which may be larger than what was asked for."""

    id: LeaseId
    ttl_s: int


class Kind(Enum):
    PUT = "put"
    DELETE = "delete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One watch event. For a DELETE, `record.value` is empty, `version` 0, and `mod_revision` that of the delete."""

    kind: Kind
    record: Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Compare:
    """A guard of a transaction. `target` "version" with value 0 means "the key does not exist"."""

    key: str
    target: Literal["version", "create", "mod", "lease", "value"]
    operator: Literal["=", "!=", ">", "<"] = "="
    value: int | bytes = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    key: str
    value: bytes
    lease: LeaseId = NO_LEASE


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Get:
    """Read one key (`prefix` False) or all that begin with `key`, inside a transaction."""

    key: str
    prefix: bool = False


Operation = Put | Delete | Get


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """A transaction's answer: which branch ran, at which revision, and one entry per operation of that branch.

    An entry is the records read (`Get`), or how many keys were deleted (`Delete`), or None (`Put`).
    """

    succeeded: bool
    revision: Revision
    responses: tuple[tuple[Record, ...] | int | None, ...]


class Watch(Protocol):
    """A stream of changes. Iterate it from one task; `aclose` ends it.

    Each item holds one or more *whole* revisions, in order; every change since the start revision comes exactly once,
    in revision order, across lost connections, restarts of the registry and fragments. Raises `Compacted` when the
    place to resume from is gone (then list again, and watch from the listing's revision + 1), `AuthRefused` when the
    registry will not serve it. A lost connection is not an error: the adapter resumes, for ever, until closed.
    """

    def __aiter__(self) -> AsyncIterator[tuple[Change, ...]]: ...

    async def aclose(self) -> None: ...


class Registry(Protocol):
    """Keys are non-empty str, values bytes; anything else is a TypeError. Prefixes are used as given: end them with
    `/`."""

    async def grant(self, ttl_s: int) -> Lease:
        """A new lease, its id chosen by the registry."""
        ...

    async def keep_alive(self, lease: LeaseId) -> int:
        """Renew once; the ttl in seconds granted anew. Raises `LeaseLost` when it is gone (ttl <= 0 in the answer)."""
        ...

    async def revoke(self, lease: LeaseId) -> None:
        """End the lease and delete its keys, in one revision. Raises `LeaseLost` when it is already gone."""
        ...

    async def get(self, prefix: str) -> Listing:
        """All records whose key begins with `prefix`, read in pages at one revision."""
        ...

    async def put(self, key: str, value: bytes, lease: LeaseId = NO_LEASE) -> Revision:
        """Write one key. Raises `LeaseLost` when `lease` is unknown. Repeated by the adapter on a lost answer, so one
        put may make two revisions."""
        ...

    async def delete(self, key: str) -> int:
        """Delete one key; how many there were (0 or 1)."""
        ...

    async def transact(
        self, compare: Sequence[Compare], then: Sequence[Operation], otherwise: Sequence[Operation] = ()
    ) -> Committed:
        """All of `compare` true: run `then`, else `otherwise`; one revision. Never repeated by the adapter once it may
        have been sent: raises `Indefinite` instead."""
        ...

    def watch(self, prefix: str, after: Revision) -> Watch:
        """Changes to keys with `prefix` at revisions greater than `after`."""
        ...

    async def aclose(self) -> None:
        """End all watches and connections. Leases are left to run out: revoke them first where that is wanted."""
        ...
