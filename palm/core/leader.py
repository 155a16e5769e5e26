"""The part of an instance that leads: its crew, and what it hands to whom.

The crew are the instances of the same server that have asked for work; the registry says which of them live. With
nobody else the leader works itself. A worker that has fallen silent gets nothing new; what it has goes to others once
the registry says that it is gone. What becomes of the messages' outcomes is `ServerNode`'s business.
"""

from __future__ import annotations

from typing import NamedTuple, Sequence

from palm.core.dispatch import MAX_DEATHS, Dispatch, Ended, Given, Lost, Worker
from palm.core.effect import Effect, Invoke, Send
from palm.core.event import Finished
from palm.core.links import BEAT, SUSPECT
from palm.core.message import Batch, Failure, Header, JobId, Leg, Payload, Peer, Role, Status

REPEAT_AFTER = 2_000_000_000
"""A message that the client sends again goes to its worker again, when that has had it for so long (ns)."""

LONELY = 10_000_000_000
"""So long (ns) a leader without workers waits for one, before it runs by itself what may have killed the last one."""


class Outcome(NamedTuple):
    """How messages of one `Invoke` of the server node ended."""

    ticket: int
    sequences: list[int]
    payloads: list[Payload]
    status: Status

    def event(self) -> Finished:
        statuses: list[int] | None = None if self.status == Status.OK else [self.status] * len(self.sequences)
        return Finished(self.ticket, self.sequences, self.payloads, statuses)


class Lead:
    """One term of one leader. `me` is its own peer id, under which it works for itself."""

    def __init__(self, me: Peer, term: int, credit: int, now: int) -> None:
        self.term = term
        self.dispatch = Dispatch()
        self._me = me
        self._heard_at: dict[Peer, int] = {}
        self._beat_at = now + BEAT
        self._alone_since = now
        self._next_local = -1
        # What the leader itself runs: by ticket, the header and how many are left of it.
        self._local: dict[int, tuple[Header, int]] = {}
        self._legs: dict[Header, Header] = {}
        self._work_alone(credit)

    @property
    def deadline(self) -> int:
        return self._beat_at

    @property
    def role(self) -> Role:
        return "leader" if self._heard_at else "alone"

    # -- the crew -----------------------------------------------------------------------------------------------------

    def heard(self, peer: Peer, now: int) -> None:
        if peer in self._heard_at:
            self._heard_at[peer] = now
            self.dispatch.workers[peer].paused = False

    def wants(self, peer: Peer, credit: int, now: int) -> None:
        """A worker says how much it may be given at one time."""
        self._heard_at[peer] = now
        self.dispatch.wants(peer, credit)
        self.dispatch.workers[peer].paused = False
        self.dispatch.wants(self._me, 0)

    def lost(self, peer: Peer, now: int, *, died: bool, credit: int) -> list[Outcome]:
        """The registry says that a worker is gone. `credit` is the leader's own, should it be the last one now."""
        if self._heard_at.pop(peer, None) is None:
            return []
        lost = self.dispatch.lost(peer, died=died)
        if not self._heard_at:
            self._alone_since = now
            self._work_alone(credit)
        return _outcomes_of(lost)

    def want(self, credit: int) -> None:
        """What the leader itself can work on, while it is alone."""
        if not self._heard_at:
            self.dispatch.wants(self._me, credit)

    def _work_alone(self, credit: int) -> None:
        self.dispatch.wants(self._me, credit)
        self.dispatch.workers[self._me].takes_suspects = False

    def tick(self, now: int) -> None:
        """See who has fallen silent."""
        if now < self._beat_at:
            return
        # Several beats late (a stopped process): the silence of that time is ours.
        overslept = now - self._beat_at > BEAT
        self._beat_at = now + BEAT
        for peer, heard_at in self._heard_at.items():
            if overslept:
                self._heard_at[peer] = max(heard_at, now - BEAT)
            else:
                self.dispatch.workers[peer].paused = now - heard_at > SUSPECT
        self._own.takes_suspects = not self._heard_at and now - self._alone_since >= LONELY

    @property
    def _own(self) -> Worker:
        return self.dispatch.workers[self._me]

    # -- work ---------------------------------------------------------------------------------------------------------

    def take(self, invoke: Invoke) -> None:
        """Messages that somebody of the crew is to run."""
        self.dispatch.add(invoke.ticket, invoke.batch, invoke.expires)

    def hand_out(self, now: int) -> tuple[list[Effect], list[Outcome]]:
        """Give what can be given; and what has expired meanwhile."""
        if not self.dispatch.waiting:
            return [], []
        given, expired = self.dispatch.assign(now)
        return self._effects(given, now), [_outcome(ended, Status.EXPIRED) for ended in expired]

    def repeat(self, header: Header, sequences: Sequence[int], now: int) -> list[Effect]:
        """The client asks again for messages that are with workers."""
        return self._effects(self.dispatch.repeat(header, sequences, now - REPEAT_AFTER), now, again=True)

    def _effects(self, given: list[Given], now: int, again: bool = False) -> list[Effect]:
        effects: list[Effect] = []
        for worker, piece in given:
            batch = piece.batch(now)
            header = batch.header
            leg = self._legs.get(header)
            if leg is None:
                leg = self._legs[header] = header.on(Leg.TO_WORKER, self.term)
            batch.header = leg
            if worker != self._me:
                effects.append(Send(worker, batch))
            elif not again:  # what is here cannot be lost on the way
                self._local[self._next_local] = (header, len(batch))
                effects.append(Invoke(self._next_local, batch, piece.expires))
                self._next_local -= 1
        return effects

    def returned(self, worker: Peer, batch: Batch) -> None:
        """A batch did not leave for that worker: others may have it, and this one nothing until it is heard again."""
        crew = self.dispatch.workers.get(worker)
        if crew is not None:
            crew.paused = True
            self.dispatch.returned(worker, batch.header.on(Leg.NONE, 0), batch.sequences)

    def answered(self, worker: Peer, batch: Batch) -> tuple[list[Finished], int]:
        """A worker's answers, as they concern the server node; and how many nobody of this term waits for from it."""
        return self._answered(worker, batch.header.on(Leg.NONE, 0), batch.sequences, batch.payloads, batch.statuses)

    def worked(self, event: Finished) -> tuple[list[Finished], list[tuple[int, list[int]]]]:
        """The leader itself is done with something: as it concerns the server node, and what of it was not run after
        all. Work of another term comes to nothing."""
        known = self._local.pop(event.ticket, None)
        if known is None:
            return [], []
        header, left = known
        if left > len(event.sequences):
            self._local[event.ticket] = (header, left - len(event.sequences))
        sequences, payloads, statuses = event.sequences, event.payloads, event.statuses
        abandoned: list[tuple[int, list[int]]] = []
        if statuses is not None and Status.CANCELLED in statuses:
            given_up = [one for one, status in zip(sequences, statuses, strict=True) if status == Status.CANCELLED]
            for ticket, indices in self.dispatch.answered(self._me, header, given_up):
                abandoned.append((ticket, [given_up[i] for i in indices]))
            kept = [i for i, status in enumerate(statuses) if status != Status.CANCELLED]
            sequences, payloads = [sequences[i] for i in kept], [payloads[i] for i in kept]
            statuses = [statuses[i] for i in kept]
        events, _ = self._answered(self._me, header, sequences, payloads, statuses)
        return events, abandoned

    def _answered(
        self,
        worker: Peer,
        header: Header,
        sequences: Sequence[int],
        payloads: list[Payload],
        statuses: list[int] | None,
    ) -> tuple[list[Finished], int]:
        events: list[Finished] = []
        stale = len(sequences)
        for ticket, indices in self.dispatch.answered(worker, header, sequences):
            stale -= len(indices)
            if len(indices) == len(sequences):
                return [Finished(ticket, sequences, payloads, statuses)], 0
            events.append(
                Finished(
                    ticket,
                    [sequences[i] for i in indices],
                    [payloads[i] for i in indices],
                    None if statuses is None else [statuses[i] for i in indices],
                )
            )
        return events, stale

    def drop(self, job: JobId) -> list[Outcome]:
        """Nobody waits for that job any more."""
        for header in [header for header in self._legs if header.job == job]:
            del self._legs[header]
        return [_outcome(ended, Status.CANCELLED) for ended in self.dispatch.drop(job)]


def _outcome(ended: Ended, status: Status) -> Outcome:
    return Outcome(ended.ticket, ended.sequences, [b""] * len(ended.sequences), status)


def _outcomes_of(lost: Lost) -> list[Outcome]:
    outcomes = []
    for ended, deaths in lost.dead:
        text = f"{MAX_DEATHS} workers died while they had this message: {', '.join(deaths)}"
        failure = _failure(ended, text, deaths[-1], len(deaths))
        outcomes.append(Outcome(ended.ticket, ended.sequences, [failure], Status.DEAD_LETTERED))
    for ended in lost.unknown:
        failure = _failure(ended, "its worker was lost, and it must not run twice: it may or may not have run", "", 1)
        outcomes.append(Outcome(ended.ticket, ended.sequences, [failure] * len(ended.sequences), Status.UNKNOWN_FATE))
    return outcomes


def _failure(ended: Ended, text: str, instance: str, attempt: int) -> Failure:
    stage = ended.header.target
    return Failure("WORKER_LOST", "WorkerLost", text, "", stage.server, stage.function, instance, attempt)
