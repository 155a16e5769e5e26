"""A route with reductions, as its client sees it: phases, each of which ends in a reduction or at the caller.

What a reduction gives are messages of the next phase. Each phase is a job of its own to all servers, with its own
number, sequences, window and watermark; and so are the rounds of a reduction, one stage long. To the caller all of them
are one job. This file keeps what is between two phases: what waits to be sent on, and which messages are settled by its
end.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Iterator, NamedTuple

from palm.core.folding import Entry
from palm.core.message import Status
from palm.core.reduction import Group, Partial, Reduction
from palm.core.route import Route

DELIVERED = (Status.OK, Status.EMPTY, Status.MANY)


@dataclass(slots=True)
class Account:
    """The messages of one group, until all that it gave has ended. `ends`: how what ended badly did."""

    group: Group
    pending: int
    ends: list[int] = field(default_factory=list)


class Emission(NamedTuple):
    """A message of the next phase that is not sent yet."""

    payload: bytes
    account: Account
    key: bytes


class Phase:
    """Of a job whose route ends in a reduction. `rest` is the route behind that; empty: the caller."""

    def __init__(self, every: int, rest: Route) -> None:
        self.reduction = Reduction(every)
        self.rest = rest
        self.absorbed = 0
        """Messages in partial results, and in results that have not ended."""
        self.emitted = 0
        self.has_ended = False
        self.rounds_job: int | None = None
        self.next_job: int | None = None
        self.rounds: dict[int, Partial] = {}
        """By their sequences in the rounds' job."""
        self.backlog: deque[Emission] = deque()
        self.origins: dict[int, tuple[Account, bytes]] = {}
        """What they came from, and for which key, by their sequences in the next phase."""

    @property
    def is_over(self) -> bool:
        """Everything that it gave has ended."""
        return self.has_given_all and not self.origins and not self.absorbed

    @property
    def has_given_all(self) -> bool:
        return self.reduction.is_over and not self.backlog

    def send_on(self, first: int, count: int) -> list[bytes]:
        """Up to `count` of what waits, as messages of the next phase from sequence `first` on."""
        payloads: list[bytes] = []
        while self.backlog and len(payloads) < count:
            payload, account, key = self.backlog.popleft()
            self.origins[first + len(payloads)] = account, key
            payloads.append(payload)
        return payloads

    def keys_of(self, sequences: list[int]) -> dict[int, bytes]:
        """Of messages of the next phase that have not ended."""
        return {sequence: self.origins[sequence][1] for sequence in sequences if sequence in self.origins}

    def ended(self, sequence: int, status: int) -> Account | None:
        """That message of the next phase has ended; its account, where that settles it."""
        origin = self.origins.pop(sequence, None)
        if origin is None:
            return None
        account = origin[0]
        account.pending -= 1
        if status not in DELIVERED:
            account.ends.append(status)
        return account if not account.pending else None


def in_order(table: list[Entry]) -> Iterator[Entry]:
    """As results are given: by the first message that gave something for a key, then by key."""
    return iter(sorted(table, key=_place))


def _place(entry: Entry) -> tuple[int, bytes]:
    return entry.first, entry.key
