"""A client's job: which messages have not ended, where each is, and when it is to be sent again.

A *flight* is a run of messages sent to one peer at one moment; time-outs are kept by flight, not by message. The job
knows no links and chooses no peers: `palm.core.client` does.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Iterable, Sequence

from palm.core.links import Link
from palm.core.message import Header, JobId, Payload, Peer, Status
from palm.core.phases import Phase
from palm.core.route import Route
from palm.core.share import Gathering, Part
from palm.core.trials import Trials
from palm.core.window import Window

RETRY_AFTER = 5_000_000_000
RETRY_LEVELS = 3
"""Waits double from one attempt to the next, up to 5, 10, 20 s."""


PartEnd = tuple[Payload, int]
"""How a part ended: its payload, and its status."""


class Flight:
    """`left` counts the messages that have not ended or been sent anew; `expires` is the deadline of all of them."""

    __slots__ = ("link", "sequences", "attempt", "due", "expires", "left", "waits")

    def __init__(
        self, link: Link | None, sequences: Sequence[int], attempt: int, due: int, expires: int | None
    ) -> None:
        self.link = link
        self.sequences = sequences
        self.attempt = attempt
        self.due = due
        self.expires = expires
        self.left = len(sequences)
        self.waits = 1
        """How often its time has come, where it is not sent again."""


@dataclass(slots=True)
class Waiting:
    """Messages to be sent when somebody can take them. `before` is where they were, and should go again if it lives."""

    sequences: Sequence[int]
    attempt: int = 1
    expires: int | None = None
    before: Link | None = None
    pinned: bool = False
    """Nowhere but there: it has run there, and must not run twice."""


@dataclass(slots=True)
class Ends:
    """How many messages ended in which way; `delivered` once the caller has them."""

    delivered: int = 0
    failed: int = 0
    expired: int = 0
    dead_lettered: int = 0


class Job:
    def __init__(
        self,
        job: JobId,
        route: Route,
        window: Window,
        deadline: int | None,
        at_most_once: bool,
        now: int,
        trace: bytes = b"",
        session: str = "",
    ) -> None:
        self.id = job
        self.route = route
        self.whole_route = route
        """As the caller knows it; `route` is the part of it that this job itself goes along."""
        self.phase: Phase | None = None
        """Where its route ends in a reduction."""
        self.parent: Job | None = None
        """The phase that it belongs to: as what comes behind it, or as its rounds."""
        self.endless = False
        self.emitted = 0
        """Results that reductions gave, all phases together."""
        self.header = Header(job, route, 0, at_most_once, trace, session=session)
        self.window = window
        self.deadline = deadline
        self.at_most_once = at_most_once
        self.ready = False
        self.ended = False
        self.source_ended = False
        self.sent = 0
        self.floor = 0
        self.demanded = 0
        self.untaken = 0
        self.untaken_ok = 0
        self.held_bytes = 0
        self.ends = Ends()
        self.duplicates = 0
        self.retries = 0
        self.progress_at = now
        self.rows: dict[int, Flight] = {}
        self.payloads: dict[int, bytes] = {}
        self.waiting: deque[Waiting] = deque()
        self.suspects: deque[Waiting] = deque()
        # Instances that died with a message, by their server: one host may take an instance of each stage with it.
        self.deaths: dict[int, dict[str, list[Peer]]] = {}
        self.trials: Trials[Waiting] = Trials()
        # What has come of messages that were split, until all of it has.
        self.gathering: dict[int, Gathering[PartEnd]] = {}
        self.gathered_bytes: dict[int, int] = {}
        self.resume_at: int | None = None
        self._retries: list[deque[Flight]] = [deque() for _ in range(RETRY_LEVELS)]
        self._expiries: list[tuple[int, int, Sequence[int]]] = []  # a heap

    def go_along(self, route: Route) -> None:
        """Only along this part of its route. Before the first message."""
        self.route = route
        header = self.header
        self.header = Header(self.id, route, 0, self.at_most_once, header.trace, session=header.session)

    def forbid_repeats(self) -> None:
        """A function of its route must not run a message again whose fate nobody knows; and at which stage a message
        is, the client does not know either."""
        if not self.at_most_once:
            self.at_most_once = True
            header = self.header
            self.header = Header(
                header.job, header.route, header.stage, True, header.trace, session=header.session
            )

    @property
    def in_flight(self) -> int:
        """Messages that have not ended, and results that the caller has not taken."""
        absorbed = 0 if self.phase is None else self.phase.absorbed
        return len(self.rows) + self.untaken_ok + absorbed

    @property
    def root(self) -> Job:
        """The job that the caller knows."""
        return self if self.parent is None else self.parent.root

    @property
    def watermark(self) -> int:
        self.floor = next(filter(self.rows.__contains__, range(self.floor, self.sent)), self.sent)
        return self.floor

    def accept(self, payloads: list[bytes], now: int, deadline: int | None = None) -> None:
        """New messages from the source, to be sent; `deadline` where it is not the job's."""
        first = self.sent
        sequences = range(first, first + len(payloads))
        self.sent = sequences.stop
        if deadline is None:
            deadline = self.deadline
        expires = None if deadline is None else now + deadline
        nowhere = Flight(None, sequences, 1, 0, expires)
        self.rows.update(dict.fromkeys(sequences, nowhere))
        self.payloads.update(zip(sequences, payloads, strict=True))
        size = sum(map(len, payloads))
        self.held_bytes += size
        self.window.saw(len(payloads), size)
        self.demanded -= len(payloads)
        self.waiting.append(Waiting(sequences, 1, expires))
        if expires is not None:
            heappush(self._expiries, (expires, first, sequences))

    def depart(self, group: Waiting, sequences: Sequence[int], link: Link, now: int) -> Flight:
        """These of the group are sent to that peer now."""
        level = min(group.attempt, RETRY_LEVELS) - 1
        flight = Flight(link, sequences, group.attempt, now + (RETRY_AFTER << level), group.expires)
        self.rows.update(dict.fromkeys(sequences, flight))
        link.outstanding += len(sequences)
        self._retries[level].append(flight)
        return flight

    def present(self, sequences: Iterable[int]) -> list[int]:
        """Those that have not ended."""
        return list(filter(self.rows.__contains__, sequences))

    def end(self, sequences: Sequence[int]) -> None:
        """These, all present, have ended."""
        flights = list(map(self.rows.pop, sequences))
        while flights:
            # Whole runs at a time: what left together mostly ends together.
            flight = flights[-1]
            count = flights.count(flight)
            together = flights[-count] is flight
            flights = flights[:-count] if together else [other for other in flights if other is not flight]
            flight.left -= count
            if flight.link is not None:
                flight.link.outstanding -= count
        self.held_bytes -= sum(map(len, map(self.payloads.pop, sequences)))
        if self.deaths:
            for sequence in sequences:
                self.deaths.pop(sequence, None)
        if self.gathering:
            for sequence in sequences:
                if self.gathering.pop(sequence, None) is not None:
                    self.held_bytes -= self.gathered_bytes.pop(sequence)

    def gather(self, part: Part, end: PartEnd) -> PartEnd | None:
        """One part of a message that has not ended came; how the message ends, where it was the last one missing.

        With all results in the order of paths; or, where a part failed or expired, as the first such part did.
        """
        sequence = int(part)
        gathering = self.gathering.get(sequence)
        if gathering is None:
            gathering = self.gathering[sequence] = Gathering()
            self.gathered_bytes[sequence] = 0
        if not gathering.add(part.path, end):
            self.duplicates += 1
            return None
        size = len(end[0])
        self.gathered_bytes[sequence] += size
        self.held_bytes += size
        if not gathering.is_complete:
            return None
        ends = list(gathering.values())
        for payload, status in ends:
            if status not in (Status.OK, Status.EMPTY):
                return payload, status
        results = [payload for payload, status in ends if status == Status.OK and isinstance(payload, bytes)]
        return tuple(results), Status.MANY

    def recall(self, flight: Flight) -> list[int]:
        """Take back what is left of a flight: nobody is asked for it any more until it departs again."""
        rows = self.rows
        left = [sequence for sequence in flight.sequences if rows.get(sequence) is flight]
        if left:
            nowhere = Flight(None, left, flight.attempt, 0, flight.expires)
            for sequence in left:
                rows[sequence] = nowhere
            if flight.link is not None:
                flight.link.outstanding -= len(left)
        flight.left = 0
        return left

    def take_back(self, sequences: Sequence[int]) -> list[Waiting]:
        """Take back single messages, grouped by the flights they were in."""
        groups: dict[int, Waiting] = {}
        for sequence in sequences:
            flight = self.rows.get(sequence)
            if flight is None or flight.link is None:
                continue
            group = groups.get(id(flight))
            if group is None:
                group = groups[id(flight)] = Waiting([], flight.attempt, flight.expires, flight.link)
            assert isinstance(group.sequences, list)
            group.sequences.append(sequence)
            flight.left -= 1
            flight.link.outstanding -= 1
        for group in groups.values():
            nowhere = Flight(None, group.sequences, group.attempt, 0, group.expires)
            for sequence in group.sequences:
                self.rows[sequence] = nowhere
        return list(groups.values())

    def died_with(self, sequence: int, server: str, instance: Peer) -> list[Peer] | None:
        """That instance is dead, and had the message: all of its server that had it. None where that was known."""
        dead = self.deaths.setdefault(sequence, {}).setdefault(server, [])
        if instance in dead:
            return None
        dead.append(instance)
        return dead

    def flights(self) -> list[Flight]:
        """All that are under way, oldest attempt level first."""
        return [flight for level in self._retries for flight in level if flight.left]

    def due(self) -> int | None:
        """When the next flight is to be sent again, or the next deadline passes."""
        first: int | None = self.resume_at
        for level in self._retries:
            while level and not level[0].left:
                level.popleft()
            if level and (first is None or level[0].due < first):
                first = level[0].due
        while self._expiries and not self._expiries_alive():
            heappop(self._expiries)
        if self._expiries and (first is None or self._expiries[0][0] < first):
            first = self._expiries[0][0]
        return first

    def overdue(self, now: int) -> list[Flight]:
        """The flights whose time has come, each once."""
        flights = []
        for level in self._retries:
            while level and (not level[0].left or level[0].due <= now):
                flight = level.popleft()
                if flight.left:
                    flights.append(flight)
        return flights

    def wait_on(self, flight: Flight, now: int) -> None:
        """Give a flight its time once more."""
        level = min(flight.waits, RETRY_LEVELS) - 1
        flight.due = now + (RETRY_AFTER << level)
        self._retries[level].append(flight)

    def expired(self, now: int) -> list[int]:
        """The messages whose deadline has passed and that have not ended."""
        late: list[int] = []
        while self._expiries and self._expiries[0][0] <= now:
            late += self.present(heappop(self._expiries)[2])
        return late

    def _expiries_alive(self) -> bool:
        sequences = self._expiries[0][2]
        return sequences[-1] >= self.floor and any(sequence in self.rows for sequence in sequences)
