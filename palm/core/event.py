"""What can happen to a node. Events carry batches; the node never sees bytes of the wire, sockets or clocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

from palm.core.message import Batch, Control, Instance, Payload, Peer
from palm.core.route import Route
from palm.core.store import StoreRecord


@dataclass(slots=True)
class Received:
    """A batch arrived from `peer`."""

    peer: Peer
    batch: Batch


@dataclass(slots=True)
class Heard:
    """A word about the link or a job arrived from `peer`."""

    peer: Peer
    control: Control


@dataclass(slots=True)
class Malformed:
    """Bytes arrived from `peer` that are no frame of ours; they were dropped."""

    peer: Peer


@dataclass(slots=True)
class Bounced:
    """A batch that was to go to `peer` was given back unsent: it certainly did not arrive."""

    peer: Peer
    batch: Batch
    reason: str


@dataclass(slots=True)
class Listed:
    """The registry's first answer about a followed server is in; the instances it holds came before this."""

    server: str


@dataclass(slots=True)
class InstanceUp:
    """An instance appeared in the registry, or its record changed (it now drains)."""

    instance: Instance


@dataclass(slots=True)
class InstanceDown:
    """An instance left the registry: its lease ran out, or it deregistered (`draining` said so before)."""

    server: str
    peer: Peer


@dataclass(slots=True)
class Tick:
    """The node's deadline has come."""


# -- for servers ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Finished:
    """User code ended for some items of an invocation: three columns."""

    ticket: int
    sequences: Sequence[int]
    payloads: list[Payload]
    statuses: list[int] | None


@dataclass(slots=True)
class DrainAsked:
    """Take nothing more; finish what was taken."""


# -- for instances that elect a leader ---------------------------------------------------------------------------------


@dataclass(slots=True)
class Elected:
    """This instance leads its server, and its lease is known to last until `until`; said again as the lease is
    renewed."""

    term: int
    until: int


@dataclass(slots=True)
class Deposed:
    """It does not lead any more."""


# -- for instances with a store ----------------------------------------------------------------------------------------


@dataclass(slots=True)
class Found:
    """What the registry holds of this server's store; None: nothing."""

    record: StoreRecord | None
    revision: int


@dataclass(slots=True)
class Enlisted:
    """The record of that term was written, as `revision`; None: it was not, or nobody knows."""

    term: int
    revision: int | None


@dataclass(slots=True)
class Persisted:
    """The disk holds what it was given under that ticket; `error` says why it does not."""

    ticket: int
    error: str


# -- for clients ------------------------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class Opened:
    """The caller wants a job. `number` is the client's own count; sending waits for the whole route to be there."""

    number: int
    route: Route
    window: int
    window_bytes: int
    deadline: int | None
    """Nanoseconds that each message has, from its first sending."""
    at_most_once: bool
    trace: bytes = b""
    session: str = ""
    """16 bytes that follow its messages through the cluster, or none."""
    endless: bool = False
    """Its source never ends: single calls."""


@dataclass(slots=True)
class Offered:
    """Payloads from the job's source, at most as many as were demanded."""

    number: int
    payloads: list[bytes]
    deadline: int | None = None
    """Nanoseconds that these have, where it is not the job's."""


@dataclass(slots=True)
class SourceEnded:
    """The job's source has no more."""

    number: int


@dataclass(slots=True)
class Taken:
    """The caller took that many outcomes of the job since the last time, `delivered` of them results."""

    number: int
    outcomes: int
    delivered: int
    payload_bytes: int


@dataclass(slots=True)
class Cancelled:
    """The caller has no further interest in the job: what is in flight ends as failed."""

    number: int


Event = (
    Received
    | Heard
    | Malformed
    | Bounced
    | Listed
    | InstanceUp
    | InstanceDown
    | Tick
    | Finished
    | DrainAsked
    | Elected
    | Deposed
    | Found
    | Enlisted
    | Persisted
    | Opened
    | Offered
    | SourceEnded
    | Taken
    | Cancelled
)
