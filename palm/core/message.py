"""Identities, headers and batches: the values that nodes talk about.

Messages are never objects of their own on the hot path. What travels together under one header is one `Batch` of
columns, so that the cost of a step is shared by all that was ready.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Literal, NamedTuple, NewType

from palm.core.names import BUILT_IN
from palm.core.route import Route, Stage
from palm.core.share import Part

Peer = NewType("Peer", str)
"""One life of one process: 16 to 64 characters of `[A-Za-z0-9_-]`; its ASCII bytes are the ZeroMQ routing id."""

Address = str
"""`tcp://host:port` on the real network; `sim://host:port` in the simulator."""

Frame = tuple[bytes] | tuple[bytes, bytes]
"""What a transport carries: an envelope, or an envelope and one large payload that is not copied."""


class JobId(NamedTuple):
    """A job for ever: the client's life (its peer id, and the registry revision at which it registered) and a count."""

    client: Peer
    incarnation: int
    number: int


class Status(IntEnum):
    """How an item stands. The numbers below 16 are the wire's; those above are a client's own and never travel."""

    OK = 0
    FAILED = 1
    EXPIRED = 2
    BUSY = 3
    AWAY = 4
    DEAD_LETTERED = 5
    UNKNOWN_FATE = 6
    EMPTY = 7
    MANY = 8
    """It has none, one or several results: in a server its payload is a `Split`, for a caller the tuple of them. It
    travels from a worker to its leader only."""
    FOLDED = 9
    """What a run of messages came to in a reduction: its identity is a `Span`, its payload their table."""
    CANCELLED = 17
    WITHIN = 18
    """In a reducer: it is in the table of a message before it, and has no answer of its own."""


class Leg(IntEnum):
    """Between whom of a parallel server an item travels."""

    NONE = 0
    TO_WORKER = 1
    FROM_WORKER = 2


class Task(IntEnum):
    """What a leader wants to have done with an item."""

    RUN = 0
    """The route's function on a message: all that most servers know."""
    SCATTER = 1
    PART = 2
    """The route's function on one of the parts that SCATTER made."""
    GATHER = 3


class Form(IntEnum):
    """What the payloads of a reduction's messages are."""

    PLAIN = 0
    PARTS = 1
    """All parts of one message, gathered by a leader for its worker."""
    TABLES = 2
    """Partial results of one reduction, one behind the other: to be folded into one."""


@dataclass(frozen=True, slots=True)
class Header:
    """What all messages of one job at one stage have in common. Interned by the codec; equal by value."""

    job: JobId
    route: Route
    stage: int
    """Index of the stage that is to run it; `len(route)` for a result on its way to the client."""
    at_most_once: bool = False
    trace: bytes = b""
    parts: bool = False
    """Each item is a part of a message (`palm.core.share.Part`); never mixed with whole ones."""
    leg: int = Leg.NONE
    term: int = 0
    """Of the leader that handed it out; 0 where `leg` is NONE."""
    task: int = Task.RUN
    """Only a leader and its workers know others than RUN."""
    form: int = Form.PLAIN
    session: str = ""
    """Whose keys of a store its functions are to use; "" where the caller named none."""
    _hash: int = field(init=False, repr=False, compare=False, default=0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((self.job, self.stage, self.parts, self.leg, self.task)))

    def __hash__(self) -> int:
        return self._hash

    @property
    def is_result(self) -> bool:
        return self.stage == len(self.route)

    @property
    def target(self) -> Stage:
        """The stage that is to run it. Only where `is_result` is False."""
        return self.route[self.stage]

    def at(self, stage: int) -> Header:
        return Header(
            self.job, self.route, stage, self.at_most_once, self.trace, self.parts, session=self.session
        )

    def of(self, item: int) -> Header:
        """The one that this item travels under: parts have their own."""
        parts = isinstance(item, Part)
        if parts == self.parts:
            return self
        return replace(self, parts=parts)

    def on(self, leg: Leg, term: int) -> Header:
        """The same stage, between a leader of that term and a worker; `Leg.NONE` and 0 for what the client knows."""
        return replace(self, leg=leg, term=term)

    def doing(self, task: Task, item: int) -> Header:
        """The one under which a leader has that done with the item, or with a part made of it."""
        return replace(self, parts=isinstance(item, Part), task=task)

    def formed(self, form: Form) -> Header:
        return replace(self, form=form)


class Failure(NamedTuple):
    """Why a message failed; travels as the payload of an item with `Status.FAILED`, encoded by the wire."""

    reason: str
    """One of HANDLER_RAISED, BAD_RESULT, NO_FUNCTION, TOO_LARGE, BAD_REQUEST, WORKER_LOST, TIMED_OUT."""
    kind: str
    text: str
    remote_traceback: str = ""
    server: str = ""
    function: str = ""
    instance: str = ""
    attempt: int = 1


class Split(NamedTuple):
    """What one execution made of one message: results, each with the stage that it goes to."""

    fork: int
    """The execution's own number: `palm.core.share.fork_of`."""
    results: tuple[tuple[int, bytes], ...]


Results = tuple[bytes, ...]
"""All results of one message, in the order of their paths."""


class PartFailed(NamedTuple):
    """In the place of a part that failed, where `gather` is to see such (`partial = "show"`)."""

    part: int
    """Its number among the parts of the message, counted from 0."""
    reason: str
    """As a `Failure`'s."""
    kind: str
    text: str


Joined = tuple[bytes | None | PartFailed, ...]
"""What came back together of one message; None for a part that was filtered out."""

class Buried(NamedTuple):
    """What a client has of a message that is dead-lettered."""

    payload: bytes
    failure: bytes | Failure
    """The evidence."""


Payload = bytes | Failure | Split | Results | Joined | Buried
"""What an item carries: data, or for `Status.FAILED` the failure (in its wire form once it has travelled). A Split and
Results stand with `Status.MANY`; Joined is for the function that joins; Buried stands with `Status.DEAD_LETTERED` in a
client."""


def results_bytes(payload: Payload, status: int) -> int:
    """What the results of one message weigh: nothing where it has none."""
    if status == Status.OK:
        return len(payload)
    return sum(len(result) for result in payload if isinstance(result, bytes)) if status == Status.MANY else 0


@dataclass(slots=True)
class Batch:
    """Items under one header, in columns of equal length. Whoever receives one owns it."""

    header: Header
    watermark: int
    """Every sequence of the job below this has ended."""
    sequences: list[int]
    """The items' identities: sequences, or `Part`s where the header says so."""
    payloads: list[Payload]
    remaining: int | None = None
    """Nanoseconds until the deadline of all items; None where there is none."""
    attempts: list[int] | None = None
    """None: each is at its first attempt."""
    statuses: list[int] | None = None
    """None: each is `Status.OK`."""

    def __len__(self) -> int:
        return len(self.sequences)


# -- talk about links and jobs ----------------------------------------------------------------------------------------


class Hello(NamedTuple):
    version: int
    expects: Peer
    cluster: str
    name: str


class Welcome(NamedTuple):
    version: int


class Refused(NamedTuple):
    why: str
    """One of STRANGER, NOT_ME, VERSION, CLUSTER."""
    text: str


class Ping(NamedTuple):
    """A heartbeat. A client's says which of its jobs are open; those below `next_job` that are not among them are
    over."""

    number: int
    open_jobs: tuple[int, ...] = ()
    next_job: int = 0


class Pong(NamedTuple):
    """The answer to a Ping, and how the instance stands. Times in microseconds."""

    number: int
    in_flight: int = 0
    handled: int = 0
    failed: int = 0
    duplicates: int = 0
    busy_us: int = 0
    busy_in: str = ""
    draining: bool = False
    bad_frames: int = 0
    uptime_us: int = 0


class Over(NamedTuple):
    """The client has no further interest in its job."""

    incarnation: int
    number: int


class Pull(NamedTuple):
    """A worker's word to the leader of that term: let me have up to `credit` messages at one time; I have so many."""

    term: int
    credit: int
    has: int = 0


class Leave(NamedTuple):
    """To an instance: drain, and end."""


class Exposed(NamedTuple):
    """From a stage to the client: these of its messages went on from here to an instance that is gone without having
    drained. Each may have been lost there, or be further on, or have ended. A hint: it may itself be lost."""

    incarnation: int
    number: int
    server: str
    instance: Peer
    sequences: tuple[int, ...]
    suspect: bool
    """One of them may be what ended it. A leader runs nothing itself: what it had is not suspect."""


Control = Hello | Welcome | Refused | Ping | Pong | Over | Pull | Exposed | Leave

PROTOCOL_VERSION = 1

Role = Literal["", "alone", "leader", "worker", "keeper"]
"""Of an instance of a parallel server: it leads and works, leads others, or works for a leader. Of other servers one
leads, too, but only keeps the store; the others have no role."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One process that serves, as the registry shows it."""

    server: str
    peer: Peer
    address: str
    functions: tuple[str, ...]
    kind: str = "RegisteredServer"
    host: str = ""
    pid: int = 0
    started_ms: int = 0
    """Unix time in milliseconds, of the instance's own wall clock: for people."""
    draining: bool = False
    protocol: int = PROTOCOL_VERSION
    role: Role = ""
    term: int = 0
    """Of its election, while it leads."""
    once: tuple[str, ...] = ()
    """Those of its functions that never run a message again when nobody knows whether it was run."""
    join: str = ""
    """How a sink joins; others say nothing."""
    outputs: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """The names that results of a function may have, for functions that declare them."""
    every: int = 0
    """Of a reduction: results come for each so many messages; 0: at the end of the job."""

    @property
    def takes_messages(self) -> bool:
        """False for a worker: messages go to its leader."""
        return self.role != "worker"

    def has(self, function: str) -> bool:
        return function in self.functions or function in BUILT_IN
