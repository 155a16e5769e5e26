"""A scenario's jobs at work: what sends their messages, by a rate or as the window allows, and takes their results."""

from __future__ import annotations

from itertools import islice
from typing import Callable, Iterator, Sequence

from palm.core.message import JobId, Payload, Status, results_bytes
from palm.errors import HarnessError, PalmError
from palm.observe.ledger import Ledger
from palm.runtime.engine import ClientEngine
from palm.sim.history import EntryKind
from palm.sim.kernel import Kernel
from palm.sim.recorder import ClientInstrument, Recorder
from palm.sim.scenario.load import Job

WINDOW = 1024
WINDOW_BYTES = 64 * 1024 * 1024
DELIVERED = (Status.OK, Status.MANY)


class Load:
    """One job: the sink of its engine, and its source. Results are taken at once, in order where the job asks for
    it."""

    def __init__(self, job: Job, payloads: Iterator[bytes], kernel: Kernel, recorder: Recorder) -> None:
        self.job = job
        self.has_ended = False
        self.ledger = Ledger()
        self.ended_at: int | None = None
        self.results: list[bytes] | None = None
        """All that came, where somebody is going to look at it."""
        self.on_end: Callable[[], None] = lambda: None
        self._payloads = payloads
        self._kernel = kernel
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

    def begin(self, engine: ClientEngine, instrument: ClientInstrument) -> None:
        self._engine = engine
        self._number = number = engine.new_number()
        instrument.numbers[number] = self.job.id
        self._recorder.jobs[JobId(engine.node.peer, engine.node.incarnation, number)] = self.job.id
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
        """No further interest; how many of its messages had not ended."""
        self.note_ledger()
        if self._engine is None or self.has_ended:
            return 0
        in_flight = self.ledger.in_flight
        self._source_ended = True
        self._engine.cancel(self._number)
        return in_flight

    # -- JobSink ------------------------------------------------------------------------------------------------------

    def ready(self) -> None:
        self._began_at = self._kernel.now

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
    ) -> None:
        assert self._engine is not None
        ok = [Status.OK] * len(sequences) if statuses is None else statuses
        size = sum(map(results_bytes, payloads, ok))
        if self.results is not None:
            self.results += _results(payloads, ok)
        for sequence, status in zip(sequences, ok, strict=True):
            if emitted or not in_order:
                continue  # whether a message was delivered is told by `Settled`
            if self.job.ordered:
                self._early[sequence] = status
            elif status in DELIVERED:
                self._delivered(sequence)
        while self._next_sequence in self._early:
            if self._early.pop(self._next_sequence) in DELIVERED:
                self._delivered(self._next_sequence)
            self._next_sequence += 1
        self._engine.taken(self._number, len(sequences), sum(status in DELIVERED for status in ok), size)

    def ended(self, error: PalmError | None) -> None:
        if error is not None:
            raise HarnessError(f"job {self.job.id} was refused: {error}") from error
        self._kernel.call_soon(self._over)

    def _over(self) -> None:
        """After the last `taken` was heard."""
        self.note_ledger()
        self.has_ended = True
        self.ended_at = self._kernel.now
        self.on_end()

    def note_ledger(self) -> None:
        """Ask the client for its counts, as they are now."""
        if self._engine is not None and not self.has_ended:
            self.ledger = self._engine.ledger(self._number) or self.ledger

    def describe(self) -> str:
        if self._engine is None:
            return f"job {self.job.id}: its client has not reached the registry"
        return f"job {self.job.id}: {self._engine.describe(self._number)}"

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
            self._kernel.call_at(self._due_at(self._offered), self._send)

    def _due_at(self, n: int) -> int:
        rate = self.job.rate
        return self._began_at + (0 if rate is None else rate.due_ns(n))

    def _due(self) -> int:
        """How many more are due by now: all that is allowed, for a closed job."""
        if self.job.rate is None:
            return self._allowed
        count = 0
        while count < self._allowed and self._due_at(self._offered + count) <= self._kernel.now:
            count += 1
        return count

    def _delivered(self, sequence: int) -> None:
        self._recorder.add(EntryKind.DELIVERED, self.job.id, sequence)


def _results(payloads: list[Payload], statuses: Sequence[int]) -> list[bytes]:
    results: list[bytes] = []
    for payload, status in zip(payloads, statuses, strict=True):
        if status == Status.MANY and isinstance(payload, tuple):
            results += [one for one in payload if isinstance(one, bytes)]
        elif status == Status.OK and isinstance(payload, bytes):
            results.append(payload)
    return results
