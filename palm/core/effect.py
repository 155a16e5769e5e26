"""What a node can ask of its driver. Effects are values; performing them is `palm.runtime.drive`'s business."""

from __future__ import annotations

from dataclasses import dataclass

from palm.core.message import Address, Batch, Control, JobId, Payload, Peer, Role
from palm.core.store import Row, StoreRecord
from palm.errors import PalmError


@dataclass(slots=True)
class Send:
    """Put a batch on its way to `peer`. The driver may merge it with others of its header; it owns the batch now."""

    peer: Peer
    batch: Batch


@dataclass(slots=True)
class Tell:
    peer: Peer
    control: Control


@dataclass(slots=True)
class Dial:
    peer: Peer
    address: Address


@dataclass(slots=True)
class HangUp:
    peer: Peer


@dataclass(slots=True)
class Follow:
    """Tell me of the instances of that server, from now on."""

    server: str


# -- servers' ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Invoke:
    """Run the function on each item; answer with `Finished` events that name the ticket."""

    ticket: int
    batch: Batch
    expires: int | None
    """Node time after which an item that has not begun is not to be run."""


@dataclass(slots=True)
class Abandon:
    """What is queued for that job need not run; its `Finished` is still due, with CANCELLED for what was not."""

    job: JobId


@dataclass(slots=True)
class Drained:
    """Nothing that was taken is left."""


@dataclass(slots=True)
class Retire:
    """Somebody asks this instance to drain and end, as SIGTERM would."""


@dataclass(slots=True)
class Stand:
    """Show in the registry what this instance is from now on; `term` where it leads."""

    role: Role
    term: int


# -- of instances with a store ----------------------------------------------------------------------------------------


@dataclass(slots=True)
class LookUp:
    """What does the registry say of my server's store? Answer with `Found`."""


@dataclass(slots=True)
class Enlist:
    """Write that record in its place, if I lead in that term and the record there is of `revision`. Answer with
    `Enlisted`."""

    term: int
    record: StoreRecord
    revision: int


@dataclass(slots=True)
class Persist:
    """Write these rows to disk, all or none, and answer with `Persisted` once they will be there after a crash."""

    ticket: int
    rows: list[Row]


@dataclass(slots=True)
class Remark:
    """Something that whoever runs the cluster should know."""

    text: str


# -- clients' ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Ready:
    """The job's whole route is there."""

    number: int


@dataclass(slots=True)
class Demand:
    """The job's window has room for that many more payloads."""

    number: int
    count: int


@dataclass(slots=True)
class Deliver:
    """Outcomes for the caller, in order of arrival."""

    number: int
    sequences: list[int]
    payloads: list[Payload]
    statuses: list[int] | None
    emitted: bool = False
    """They are what a reduction gave, or became of that: no message of the job's source ends with them."""
    in_order: bool = True
    """`sequences` are places in the order of the job's results: each comes once, and none is left out."""
    keys: dict[int, bytes] | None = None
    """Of a reduction's results that ended badly later: for which key they were, by their sequences here."""


@dataclass(slots=True)
class Absorbed:
    """So many messages of the job, from `first` on, are in a partial result."""

    number: int
    first: int
    count: int


@dataclass(slots=True)
class Settled:
    """So many absorbed messages of the job have ended, in that way: `Status.OK` for delivered."""

    number: int
    count: int
    status: int


@dataclass(slots=True)
class Ended:
    """Every message of the job has ended and its source too; `error` where the job as a whole was refused."""

    number: int
    error: PalmError | None = None


Effect = (
    Send
    | Tell
    | Dial
    | HangUp
    | Follow
    | Invoke
    | Abandon
    | Drained
    | Retire
    | Stand
    | LookUp
    | Enlist
    | Persist
    | Remark
    | Ready
    | Demand
    | Deliver
    | Absorbed
    | Settled
    | Ended
)
