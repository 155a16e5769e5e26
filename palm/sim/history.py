"""What happened in a run, as the checks read it: one event ledger, written by the simulator or on real processes.

The ledger is about messages, instances and leases, not about frames: a trace that shows every step is another thing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Mapping, NamedTuple, Sequence

from palm.observe.ledger import Ledger
from palm.sim.linearizable import Operation


class EntryKind(Enum):
    """The words of the ledger; scenario files use the values."""

    # The members are what they are by identity; Enum's own hash is a call into Python, for each entry of a run.
    __hash__ = object.__hash__

    # of a message, at its client: subject is the job and the sequence
    SENT = "sent"
    """The client took it from the job's source, and answers for it from now on."""
    REDELIVERED = "redelivered"
    """Given to the transport again, as the next attempt."""
    DELIVERED = "delivered"
    """Its result was handed to the caller."""
    FAILED = "failed"
    EXPIRED = "expired"
    DEAD_LETTERED = "dead-lettered"
    ABSORBED = "absorbed"
    """It is in a partial result of a reduction."""
    SETTLED = "settled"
    """So many absorbed messages have ended with what came of them; `detail` is how many, and how: "12 delivered"."""
    STALE = "stale"
    """An answer came that nobody waits for any more; it was dropped."""
    # of a message, at a server's instance
    HANDLING = "handling"
    """User code begins."""
    ANSWERED = "answered"
    """User code ended, and what it gave went on."""
    REMEMBERED = "remembered"
    """Answered from memory, without running user code again."""
    BUSY = "busy"
    """Refused because the instance was over its bound."""
    MARK = "mark"
    """User code came to a place that it calls `detail`."""
    # of an instance; `detail` is its life (peer id)
    STARTED = "started"
    CRASHED = "crashed"
    STOPPED = "stopped"
    """Ended by itself, in good order."""
    SUSPENDED = "suspended"
    """It stands still with all that is in its memory, and without its connections."""
    RESUMED = "resumed"
    REFUSED = "refused"
    """Its store has answered a client's operation with an error; `detail` is what it says."""
    COMMITTING = "committing"
    """It has given its disk something to keep."""
    CUT_SHORT = "cut-short"
    """It died with commits to its disk under way; `detail` says how many, and how many the disk has all the same."""
    REGISTERED = "registered"
    DEREGISTERED = "deregistered"
    LEASE_EXPIRED = "lease-expired"
    WATCH_EVENT = "watch-event"
    ELECTED = "elected"
    """It leads its server from now on; `detail` is its term, in decimal digits."""
    DEPOSED = "deposed"
    """It leads no more."""
    CONVERGED = "converged"
    """From now on every living process sees the registry as it is; of nobody in particular."""
    DIVERGED = "diverged"
    """Somebody's view is behind; `detail` says whose."""
    OBEYED = "obeyed"
    """It took from a leader what it is to run; `detail` is that leader's term."""
    LED = "led"
    """It acted as the leader: handed messages out, ran them while alone, or passed results on; `detail` is its term."""


ENDS = {
    EntryKind.DELIVERED: "delivered",
    EntryKind.FAILED: "failed",
    EntryKind.EXPIRED: "expired",
    EntryKind.DEAD_LETTERED: "dead_lettered",
}
"""The four ends of a message, and their names in `Ledger`."""


def is_of(entry_job: str, job: str) -> bool:
    """Whether an entry is of that job of the scenario: its own, or one of its clients', as `main[3]` is of `main`."""
    return entry_job == job or entry_job.partition("[")[0] == job


class Entry(NamedTuple):
    """One event. A tuple, as a run has some for every hop."""

    at: int
    """Nanoseconds since the start of the run."""
    kind: EntryKind
    job: str = ""
    """The job's id in the scenario, with the number of the client where it has several."""
    sequence: int = -1
    server: str = ""
    instance: str = ""
    """Its place in the world, as `count[1]`: the same after a restart."""
    attempt: int = 1
    detail: str = ""


class Interval(NamedTuple):
    """From `start` up to and including `end`, in ns since the start of the run."""

    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """A whole run, over. Entries are in the order in which they happened, so `at` never falls."""

    entries: Sequence[Entry]
    end_ns: int
    seed: int = 0
    active: Mapping[str, tuple[Interval, ...]] = field(default_factory=dict)
    """By step id: when its fault was active; one moment for what is over at once; no key if it never was done."""
    touched: Mapping[str, int] = field(default_factory=dict)
    """By step id: how many frames, processes or requests its fault changed."""
    counts: Mapping[str, Ledger] = field(default_factory=dict)
    """By job id: what the client itself counted, at the end."""
    operations: Mapping[str, Sequence[Operation]] = field(default_factory=dict)
    """By use of a store: what its clients did and saw."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """By server: how many instances it was meant to have, at the end."""
    results: Mapping[str, Sequence[bytes]] = field(default_factory=dict)
    """By job id, where a check looks at them: all results, in the order in which they came."""
    left_open: Sequence[str] | None = None
    """What was still open at the end, in words; None when nobody looked."""
