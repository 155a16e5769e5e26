"""A scenario's jobs at work: what sends their messages, by a rate or as the window allows, and takes their results."""

from __future__ import annotations

from collections import deque
from itertools import islice, repeat
from typing import Callable, Sequence

from palm.core.message import JobId, Payload, Status, results_bytes
from palm.errors import HarnessError, PalmError
from palm.observe.ledger import Ledger
from palm.runtime.engine import ClientEngine
from palm.sim.draws import ZERO, Key
from palm.sim.history import EntryKind
from palm.sim.kernel import Clock
from palm.sim.recorder import ClientInstrument, Recorder
from palm.sim.scenario.load import Job
from palm.sim.scenario.payloads import payloads

WINDOW = 1024
WINDOW_BYTES = 64 * 1024 * 1024
DELIVERED = (Status.OK, Status.MANY)


class Load:
    """One job: the sink of its engine, and its source. Results are taken at once, in order where the job asks for
    it."""

    def __init__(self, job: Job, name: str, clock: Clock, recorder: Recorder) -> None:
        """`name` is one of the job's parts."""
        self.job = job
        self.name = name
        self.has_ended = False
        self.ledger = Ledger()
        self.ended_at: int | None = None
        self.results: list[bytes] | None = None
        """All that came, where somebody is going to look at it."""
        self.on_end: Callable[[], None] = lambda: None
        self._payloads = payloads(job.messages, clock.seed, name)
        self._clock = clock
        self._recorder = recorder
        self._engine: ClientEngine | None = None
        self._number = 0
        self._allowed = 0
        self._source_ended = False
        self._began_at = 0
        self._offered = 0
        self._waits = False
        self._early: dict[int, int] = {}
        self._next_sequence = 0
        self._untaken: deque[tuple[int, int, int, bool]] = deque()
        self._takes = Key(clock.seed, f"takes/{name}")
        self._taken = 0
        self._is_over = False

    def begin(self, engine: ClientEngine, instrument: ClientInstrument) -> None:
        self._engine = engine
        self._number = number = engine.new_number()
        instrument.numbers[number] = self.name
        self._recorder.jobs[JobId(engine.node.peer, engine.node.incarnation, number)] = self.name
        engine.open(
            number,
            self,
            self.job.route,
            window=self.job.window or WINDOW,
            window_bytes=WINDOW_BYTES,
            deadline=self.job.deadline_ns,
            at_most_once=self.job.at_most_once,
        )

    def cancel(self) -> int:
        """No further interest; how many of its messages had not ended, those that are never sent among them."""
        self.note_ledger()
        if self._engine is None or self.has_ended:
            return 0
        left = self.job.messages.count - self.ledger.sent + self.ledger.in_flight
        self._source_ended = True
        self._engine.cancel(self._number)
        return left

    # -- JobSink ------------------------------------------------------------------------------------------------------

    def ready(self) -> None:
        self._began_at = self._clock.now

    def demand(self, count: int) -> None:
        self._allowed += count
        if not self._waits:
            self._send()

    def deliver(
        self,
        sequences: list[int],
        payloads: list[Payload],
        statuses: list[int] | None,
        emitted: bool = False,
        in_order: bool = True,
        keys: dict[int, bytes] | None = None,
    ) -> None:
        assert self._engine is not None
        ok = [Status.OK] * len(sequences) if statuses is None else statuses
        if self.results is not None:
            self.results += _results(payloads, ok)
        counts = in_order and not emitted  # else whether a message was delivered is told by `Settled`
        if self.job.takes != ZERO:
            was_idle = not self._untaken
            self._untaken.extend(zip(sequences, ok, map(results_bytes, payloads, ok), repeat(counts), strict=False))
            if was_idle and self._untaken:
                self._take_next()
            return
        size = sum(map(results_bytes, payloads, ok))
        for sequence, status in zip(sequences, ok, strict=True):
            if counts:
                self._came(sequence, status)
        self._engine.taken(self._number, len(sequences), sum(status in DELIVERED for status in ok), size)

    def _take_next(self) -> None:
        """A caller that is at work on one result at a time."""
        self._taken += 1
        duration = self.job.takes.sample(self._takes.unit(self._taken))
        self._clock.call_at(self._clock.now + duration, self._took)

    def _took(self) -> None:
        assert self._engine is not None
        sequence, status, size, counts = self._untaken.popleft()
        if counts:
            self._came(sequence, status)
        self._engine.taken(self._number, 1, int(status in DELIVERED), size)
        if self._untaken:
            self._take_next()
        elif self._is_over:
            self._clock.call_soon(self._over)

    def _came(self, sequence: int, status: int) -> None:
        if not self.job.ordered:
            if status in DELIVERED:
                self._delivered(sequence)
            return
        self._early[sequence] = status
        while self._next_sequence in self._early:
            if self._early.pop(self._next_sequence) in DELIVERED:
                self._delivered(self._next_sequence)
            self._next_sequence += 1

    def ended(self, error: PalmError | None) -> None:
        if error is not None:
            raise HarnessError(f"job {self.name} was refused: {error}") from error
        self._is_over = True
        if not self._untaken:
            self._clock.call_soon(self._over)

    def _over(self) -> None:
        """After the last `taken` was heard."""
        self.note_ledger()
        self.has_ended = True
        self.ended_at = self._clock.now
        self.on_end()

    def note_ledger(self) -> None:
        """Ask the client for its counts, as they are now."""
        if self._engine is not None and not self.has_ended:
            self.ledger = self._engine.ledger(self._number) or self.ledger

    def describe(self) -> str:
        if self._engine is None:
            return f"job {self.name}: its client has not reached the registry"
        return f"job {self.name}: {self._engine.describe(self._number)}"

    # -- the source ---------------------------------------------------------------------------------------------------

    def _send(self) -> None:
        """Send what is allowed: at once for a closed job, as many as are due for an open one."""
        self._waits = False
        if self._source_ended or self._engine is None:
            return
        count = min(self._allowed, self._due())
        payloads: list[bytes] = []
        payloads.extend(islice(self._payloads, count))
        self._allowed -= len(payloads)
        self._offered += len(payloads)
        if payloads:
            self._engine.offer(self._number, payloads)
        if len(payloads) < count:
            self._source_ended = True
            self._engine.source_ended(self._number)
        elif self._allowed:
            self._waits = True
            self._clock.call_at(self._due_at(self._offered), self._send)

    def _due_at(self, n: int) -> int:
        rate = self.job.rate
        return self._began_at + (0 if rate is None else rate.due_ns(n))

    def _due(self) -> int:
        """How many more are due by now: all that is allowed, for a closed job."""
        if self.job.rate is None:
            return self._allowed
        count = 0
        while count < self._allowed and self._due_at(self._offered + count) <= self._clock.now:
            count += 1
        return count

    def _delivered(self, sequence: int) -> None:
        self._recorder.add(EntryKind.DELIVERED, self.name, sequence)


def _results(payloads: list[Payload], statuses: Sequence[int]) -> list[bytes]:
    results: list[bytes] = []
    for payload, status in zip(payloads, statuses, strict=True):
        if status == Status.MANY and isinstance(payload, tuple):
            results += [one for one in payload if isinstance(one, bytes)]
        elif status == Status.OK and isinstance(payload, bytes):
            results.append(payload)
    return results
