"""Writes the event ledger of a run: what drivers, the registry and the faults show becomes `History` entries."""

from __future__ import annotations

from typing import Callable

from palm.core.effect import Absorbed, Deliver, Effect, Invoke, Send, Settled, Stand
from palm.core.event import Event, Finished, Offered, Received
from palm.core.message import Batch, Header, JobId, Leg, Status
from palm.sim.history import Entry, EntryKind
from palm.sim.kernel import Clock

_new = tuple.__new__
_CARRY = (Send, Invoke)
_ENDS = {
    Status.FAILED: EntryKind.FAILED,
    Status.CANCELLED: EntryKind.FAILED,
    Status.UNKNOWN_FATE: EntryKind.FAILED,
    Status.EXPIRED: EntryKind.EXPIRED,
    Status.DEAD_LETTERED: EntryKind.DEAD_LETTERED,
}


class Recorder:
    """`notice` is called with each entry as it is written: the script's triggers listen there."""

    def __init__(self, clock: Clock) -> None:
        self.entries: list[Entry] = []
        self.notice: Callable[[Entry], None] | None = None
        self.jobs: dict[JobId, str] = {}
        """The scenario's name of each job."""
        self._clock = clock

    def add(
        self,
        kind: EntryKind,
        job: str = "",
        sequence: int = -1,
        server: str = "",
        instance: str = "",
        attempt: int = 1,
        detail: str = "",
    ) -> None:
        # What `Entry(...)` and `take` do, without the calls into Python: a run has one for every hop.
        entry = _new(Entry, (self._clock.now, kind, job, sequence, server, instance, attempt, detail))
        self.entries.append(entry)
        if self.notice is not None:
            self.notice(entry)

    def take(self, entry: Entry) -> None:
        """Write one that is made already."""
        self.entries.append(entry)
        if self.notice is not None:
            self.notice(entry)

    def name_of(self, job: JobId) -> str:
        return self.jobs.get(job, "")


class ServerInstrument:
    """`palm.runtime.drive.Instrument` of one life of one server instance."""

    def __init__(self, recorder: Recorder, server: str, instance: str, life: str) -> None:
        self._recorder = recorder
        self._server = server
        self._instance = instance
        self._life = life
        self._term = 0

    def begins(self, header: Header, sequence: int, attempt: int) -> None:
        self._add(EntryKind.HANDLING, header, sequence, attempt)

    def marks(self, name: str, header: Header | None, sequence: int) -> None:
        job = "" if header is None else self._recorder.name_of(header.job)
        self._recorder.add(EntryKind.MARK, job, sequence, self._server, self._instance, detail=name)

    def step(self, now: int, event: Event, effects: list[Effect]) -> None:
        if not effects:
            return
        if _concerns_a_leader(event, effects):
            self._leading(event, effects)
        sends = [effect for effect in effects if isinstance(effect, Send)]
        if not sends:
            return
        if isinstance(event, Finished):
            for effect in sends:
                if not effect.batch.header.leg:
                    self._answered(effect.batch)
        elif isinstance(event, Received) and not event.batch.header.leg:
            for effect in sends:
                if not effect.batch.header.leg:
                    self._answered_at_once(effect)
        for effect in sends:
            if effect.batch.header.leg == Leg.FROM_WORKER:
                self._answered(effect.batch)

    def _leading(self, event: Event, effects: list[Effect]) -> None:
        """What a step has to do with who leads."""
        terms = {
            effect.batch.header.term: None
            for effect in effects
            if isinstance(effect, Send | Invoke)
            and effect.batch.header.leg == Leg.TO_WORKER
            and (isinstance(effect, Send) or effect.ticket < 0)
        }
        if isinstance(event, Received) and event.batch.header.leg == Leg.FROM_WORKER and _passed_on(effects):
            terms[event.batch.header.term] = None
        for term in terms:
            self._note(EntryKind.LED, term)
        match event:
            case Received(batch=batch) if batch.header.leg == Leg.TO_WORKER:
                if any(isinstance(effect, Invoke) for effect in effects):
                    self._note(EntryKind.OBEYED, batch.header.term)
        for effect in effects:
            if isinstance(effect, Stand) and bool(effect.term) != bool(self._term):
                self._note(EntryKind.ELECTED if effect.term else EntryKind.DEPOSED, effect.term or self._term)
                self._term = effect.term

    def _note(self, kind: EntryKind, term: int) -> None:
        self._recorder.add(kind, server=self._server, instance=self._instance, detail=str(term))

    def _answered_at_once(self, effect: Send) -> None:
        """A message was answered as it came: from memory, or turned away. What is passed along is neither."""
        batch = effect.batch
        statuses = batch.statuses or [Status.OK] * len(batch)
        for sequence, status in zip(batch.sequences, statuses, strict=True):
            if status == Status.OK:
                self._add(EntryKind.REMEMBERED, batch.header, sequence, 1)
            elif status in (Status.BUSY, Status.AWAY):
                self._add(EntryKind.BUSY, batch.header, sequence, 1)

    def _answered(self, batch: Batch) -> None:
        for sequence in batch.sequences:
            self._add(EntryKind.ANSWERED, batch.header, sequence, 1)

    def _add(self, kind: EntryKind, header: Header, sequence: int, attempt: int) -> None:
        recorder = self._recorder
        job = recorder.jobs.get(header.job, "")
        recorder.add(kind, job, sequence, self._server, self._instance, attempt, self._life)


def _concerns_a_leader(event: Event, effects: list[Effect]) -> bool:
    """Of most steps it is told here, in a few looks, that nobody leads or is led."""
    if isinstance(event, Received) and event.batch.header.leg:
        return True
    for effect in effects:
        if isinstance(effect, _CARRY):
            if effect.batch.header.leg:
                return True
        elif isinstance(effect, Stand):
            return True
    return False


def _passed_on(effects: list[Effect]) -> bool:
    return any(isinstance(effect, Send) and not effect.batch.header.leg for effect in effects)


class ClientInstrument:
    """`palm.runtime.drive.Instrument` of one life of a client; deliveries are noted by whoever takes the results."""

    def __init__(self, recorder: Recorder) -> None:
        self.numbers: dict[int, str] = {}
        """The scenario's name of each of the client's jobs."""
        self._recorder = recorder
        self._accepted: dict[int, int] = {}

    def begins(self, header: Header, sequence: int, attempt: int) -> None:
        """Clients run no user code."""

    def marks(self, name: str, header: Header | None, sequence: int) -> None:
        """Nor does it mark anything there."""

    def step(self, now: int, event: Event, effects: list[Effect]) -> None:
        if isinstance(event, Offered):
            self._note_accepted(event)
        for effect in effects:
            if isinstance(effect, Send) and effect.batch.attempts is not None:
                job = self._recorder.name_of(effect.batch.header.job)
                for sequence, attempt in zip(effect.batch.sequences, effect.batch.attempts, strict=True):
                    self._recorder.add(EntryKind.REDELIVERED, job, sequence, attempt=attempt)
            elif isinstance(effect, Deliver) and effect.statuses is not None and not effect.emitted:
                self._note_ends(effect)
            elif isinstance(effect, Absorbed):
                for sequence in range(effect.first, effect.first + effect.count):
                    self._recorder.add(EntryKind.ABSORBED, self.numbers.get(effect.number, ""), sequence)
            elif isinstance(effect, Settled):
                end = _ENDS.get(Status(effect.status), EntryKind.DELIVERED)
                job = self.numbers.get(effect.number, "")
                self._recorder.add(EntryKind.SETTLED, job, detail=f"{effect.count} {end.value}")

    def refused(self, server: str, why: str) -> None:
        """A server's store has answered one of its operations with an error."""
        self._recorder.add(EntryKind.REFUSED, server=server, detail=why)

    def _note_accepted(self, event: Offered) -> None:
        first = self._accepted.get(event.number, 0)
        self._accepted[event.number] = first + len(event.payloads)
        job = self.numbers.get(event.number, "")
        for sequence in range(first, first + len(event.payloads)):
            self._recorder.add(EntryKind.SENT, job, sequence)

    def _note_ends(self, effect: Deliver) -> None:
        assert effect.statuses is not None
        job = self.numbers.get(effect.number, "")
        for sequence, status in zip(effect.sequences, effect.statuses, strict=True):
            kind = _ENDS.get(Status(status))
            if kind is not None:
                self._recorder.add(kind, job, sequence)
