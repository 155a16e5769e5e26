"""What a handler may know of the message it works on, beside its payload: `self.message`.

Each invocation notes itself in a context variable, so a thread, a coroutine and a parked stack of the simulator see
their own. Nothing is computed before somebody asks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass

from palm.core.message import Batch
from palm.core.share import path_of


@dataclass(slots=True)
class Work:
    """What runs in one thread, task or stack: a batch, until when it may run, and the place of the message at hand.

    Where messages of a batch run one after another, one Work serves all: only `index` moves.
    """

    batch: Batch
    expires: int | None
    now: Callable[[], int]
    index: int = 0
    awaits: bool = False
    """It is a coroutine's, and must not block."""
    tries: int = 1
    together: Sequence[Work] = ()
    """All of a batch, this one among them; empty where there is none."""


CURRENT: ContextVar[Work | None] = ContextVar("palm.message", default=None)
"""The work at hand."""


class Envelope:
    """The message that a handler works on. Read it in the handler itself: another thread sees none."""

    __slots__ = ("_work", "_index")

    def __init__(self, work: Work, index: int) -> None:
        self._work = work
        self._index = index

    @property
    def client(self) -> str:
        """The peer id of the client that owns it: new for each life of a client."""
        return self._work.batch.header.job.client

    @property
    def job(self) -> int:
        """The job's number in the client's life."""
        return self._work.batch.header.job.number

    @property
    def sequence(self) -> int:
        """Its place in the job, counted from 0."""
        return int(self._work.batch.sequences[self._index])

    @property
    def part(self) -> tuple[int, ...]:
        """Which part of the message it is: its number at each fan-out so far; empty for a whole message."""
        return tuple(step.place for step in path_of(self._work.batch.sequences[self._index]))

    @property
    def stage(self) -> int:
        """Which stage of the route this is, counted from 0 in the order written."""
        return self._work.batch.header.stage

    @property
    def attempt(self) -> int:
        """How often the client has sent it to the first stage; later stages see 1."""
        attempts = self._work.batch.attempts
        return 1 if attempts is None else attempts[self._index]

    @property
    def tries(self) -> int:
        """Which try of the function at this instance it is, counted from 1: `@palm.function(retries=...)`."""
        return self._work.tries

    @property
    def deadline_s(self) -> float | None:
        """Seconds left of its deadline, 0.0 once it has passed; None where it has none."""
        expires = self._work.expires
        return None if expires is None else max(0, expires - self._work.now()) / 1e9

    @property
    def session(self) -> str:
        """The session that it was sent in; "" where the caller named none."""
        return self._work.batch.header.session

    @property
    def trace(self) -> bytes:
        """The trace id, 16 bytes; empty where the job has none."""
        return self._work.batch.header.trace


def current() -> Envelope:
    """The message of this invocation; LookupError outside of one."""
    at_hand = CURRENT.get()
    if at_hand is None:
        raise LookupError("there is no message here: `self.message` is for handlers, while they work on one")
    return Envelope(at_hand, at_hand.index)


def all_current() -> list[Envelope]:
    """Those of the batch at hand, in its order; the one message of a function that takes no batches."""
    at_hand = CURRENT.get()
    if at_hand is None or not at_hand.together:
        return [current()]
    return [Envelope(work, work.index) for work in at_hand.together]
