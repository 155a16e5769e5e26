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
from palm.core.message import Batch, Failure, Header, JobId, Leg, Payload, Peer, Pull, Role, Status
from palm.core.scatter import Scatter, Turn

REPEAT_AFTER = 2_000_000_000
"""A message that the client sends again goes to its worker again, when that has had it for so long (ns)."""

COMPANY = 3_000_000_000
"""So long (ns) a leader waits for a worker that is registered, before it works alone: what kills who runs it should not
kill a leader while there is anybody else."""

LONELY = 10_000_000_000
"""So long (ns) a leader without workers waits for one, before it runs by itself what may have killed the last one."""


class Outcome(NamedTuple):
    """How messages of one `Invoke` of the server node ended."""

    ticket: int
    header: Header
    sequences: list[int]
    payloads: list[Payload]
    status: Status

    def event(self) -> Finished:
        statuses: list[int] | None = None if self.status == Status.OK else [self.status] * len(self.sequences)
        return Finished(self.ticket, self.sequences, self.payloads, statuses)


class Lead:
    """One term of one leader. `me` is its own peer id, under which it works for itself. `scatter`: its messages are
    taken apart and gathered again."""

    def __init__(
        self, me: Peer, term: int, credit: int, now: int, scatter: Scatter | None = None, *, expects: bool = False
    ) -> None:
        self.term = term
        self.dispatch = Dispatch()
        self.scatter = scatter
        self.stale = 0
        """Answers that nobody of this term waited for."""
        self._me = me
        self._heard_at: dict[Peer, int] = {}
        self._beat_at = now + BEAT
        self._alone_since = now
        self._own_credit = credit
        self._expects_until: int | None = None
        # Of no other term: what two executions make of a message is told apart by it (`palm.core.share.fork_of`).
        self._next_local = -1 - (term << 32)
        # What the leader itself runs: by ticket, the header and how many are left of it.
        self._local: dict[int, tuple[Header, int]] = {}
        self._legs: dict[Header, Header] = {}
        self._work_alone(credit)
        if expects:
            self.expect(now)

    @property
    def deadline(self) -> int:
        due = None if self.scatter is None else self.scatter.deadline
        return self._beat_at if due is None else min(due, self._beat_at)

    @property
    def role(self) -> Role:
        return "leader" if self._heard_at else "alone"

    # -- the crew -----------------------------------------------------------------------------------------------------

    def heard(self, peer: Peer, now: int) -> None:
        if peer in self._heard_at:
            self._heard_at[peer] = now
            self.dispatch.workers[peer].paused = False

    def wants(self, peer: Peer, pull: Pull, now: int) -> None:
        """A worker says how much it may be given at one time, and what it has."""
        self._heard_at[peer] = now
        self._expects_until = None
        self.dispatch.wants(peer, pull.credit)
        self.dispatch.workers[peer].paused = False
        if not pull.has:
            self.dispatch.is_idle(peer, now - REPEAT_AFTER)
        self.dispatch.wants(self._me, 0)

    def lost(self, peer: Peer, now: int, *, died: bool, credit: int) -> list[Finished]:
        """The registry says that a worker is gone. `credit` is the leader's own, should it be the last one now."""
        heard_at = self._heard_at.pop(peer, None)
        if heard_at is None:
            return []
        # One that was heard a moment ago has lost its lease, not its life: nothing speaks against what it had.
        lost = self.dispatch.lost(peer, died=died and now - heard_at > 2 * BEAT)
        if not self._heard_at:
            self._alone_since = now
            self._work_alone(credit)
        return self._over(_outcomes_of(lost), now)

    def want(self, credit: int) -> None:
        """What the leader itself can work on, while it is alone."""
        self._own_credit = credit
        if not self._heard_at and self._expects_until is None:
            self.dispatch.wants(self._me, credit)

    def expect(self, now: int) -> None:
        """A worker is on its way. A message that kills whoever runs it would else kill one new leader after another."""
        if not self._heard_at:
            self._expects_until = now + COMPANY
            self.dispatch.wants(self._me, 0)

    def _work_alone(self, credit: int) -> None:
        self.dispatch.wants(self._me, credit)
        self.dispatch.workers[self._me].takes_suspects = False

    def tick(self, now: int) -> list[Finished]:
        """See who has fallen silent, and what is overdue."""
        if now >= self._beat_at:
            self._look(now)
        return [] if self.scatter is None else self._follow(self.scatter.overdue(now))

    def _look(self, now: int) -> None:
        # Several beats late (a stopped process): the silence of that time is ours.
        overslept = now - self._beat_at > BEAT
        self._beat_at = now + BEAT
        for peer, heard_at in self._heard_at.items():
            if overslept:
                self._heard_at[peer] = max(heard_at, now - BEAT)
            else:
                self.dispatch.workers[peer].paused = now - heard_at > SUSPECT
        if self._expects_until is not None and now >= self._expects_until:
            self._expects_until = None
            self.dispatch.wants(self._me, self._own_credit)
        self._own.takes_suspects = not self._heard_at and now - self._alone_since >= LONELY

    @property
    def _own(self) -> Worker:
        return self.dispatch.workers[self._me]

    # -- work ---------------------------------------------------------------------------------------------------------

    def take(self, invoke: Invoke) -> None:
        """Messages that somebody of the crew is to run."""
        todo = (invoke.ticket, invoke.batch, invoke.expires) if self.scatter is None else self.scatter.begin(invoke)
        self.dispatch.add(*todo)

    def hand_out(self, now: int) -> tuple[list[Effect], list[Finished]]:
        """Give what can be given; and what has expired meanwhile."""
        if not self.dispatch.waiting:
            return [], []
        given, expired = self.dispatch.assign(now)
        return self._effects(given, now), self._over([_outcome(ended, Status.EXPIRED) for ended in expired], now)

    def repeat(self, header: Header, sequences: Sequence[int], now: int) -> list[Effect]:
        """The client asks again for messages that are with workers."""
        tasks = [(header, sequences)] if self.scatter is None else self.scatter.tasks_of(header, sequences)
        given = [one for task, items in tasks for one in self.dispatch.repeat(task, items, now - REPEAT_AFTER)]
        return self._effects(given, now, again=True)

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

    def answered(self, worker: Peer, batch: Batch, now: int) -> list[Finished]:
        """A worker's answers, as they concern the server node."""
        header = batch.header.on(Leg.NONE, 0)
        return self._answered(worker, header, batch.sequences, batch.payloads, batch.statuses, now)

    def worked(self, event: Finished, now: int) -> tuple[list[Finished], list[tuple[int, list[int]]]]:
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
                abandoned += self._abandoned(ticket, header, [given_up[i] for i in indices])
            kept = [i for i, status in enumerate(statuses) if status != Status.CANCELLED]
            sequences, payloads = [sequences[i] for i in kept], [payloads[i] for i in kept]
            statuses = [statuses[i] for i in kept]
        return self._answered(self._me, header, sequences, payloads, statuses, now), abandoned

    def _abandoned(self, ticket: int, header: Header, items: list[int]) -> list[tuple[int, list[int]]]:
        if self.scatter is None:
            return [(ticket, items)]
        ended, needless = self.scatter.abandon(header, items)
        for task, parts in needless:
            self.dispatch.withdraw(task, parts)
        return [(one.ticket, one.sequences) for one in ended]

    def _answered(
        self,
        worker: Peer,
        header: Header,
        sequences: Sequence[int],
        payloads: list[Payload],
        statuses: list[int] | None,
        now: int,
    ) -> list[Finished]:
        events: list[Finished] = []
        self.stale += len(sequences)
        for ticket, indices in self.dispatch.answered(worker, header, sequences):
            self.stale -= len(indices)
            if len(indices) == len(sequences):
                events = [Finished(ticket, sequences, payloads, statuses)]
                break
            events.append(
                Finished(
                    ticket,
                    [sequences[i] for i in indices],
                    [payloads[i] for i in indices],
                    None if statuses is None else [statuses[i] for i in indices],
                )
            )
        return [one for event in events for one in self._ended(header, event, now)]

    # -- messages that end --------------------------------------------------------------------------------------------

    def _over(self, outcomes: list[Outcome], now: int) -> list[Finished]:
        return [one for outcome in outcomes for one in self._ended(outcome.header, outcome.event(), now)]

    def _ended(self, header: Header, event: Finished, now: int) -> list[Finished]:
        """What the server node is to hear when the crew is done with these."""
        if self.scatter is None:
            return [event]
        return self._follow(self.scatter.over(header, event.sequences, event.payloads, event.statuses, now))

    def _follow(self, turn: Turn) -> list[Finished]:
        self.stale += turn.late
        for header, items in turn.needless:
            self.dispatch.withdraw(header, items)
        for todo in turn.todo:
            self.dispatch.add(*todo)
        return turn.ended

    def drop(self, job: JobId) -> list[Finished]:
        """Nobody waits for that job any more."""
        for header in [header for header in self._legs if header.job == job]:
            del self._legs[header]
        dropped = self.dispatch.drop(job)
        gone = dropped if self.scatter is None else self.scatter.drop(job)
        return [_outcome(ended, Status.CANCELLED).event() for ended in gone]

    def give_back(self) -> list[Ended]:
        """Forget the messages that nobody has begun."""
        ended = self.dispatch.drop_queued()
        if self.scatter is not None:
            for one in ended:
                self.scatter.abandon(one.header, one.sequences)
        return ended

    def give_up(self) -> list[Ended]:
        """Forget all messages."""
        dropped = self.dispatch.drop()
        return dropped if self.scatter is None else self.scatter.drop()


def _outcome(ended: Ended, status: Status) -> Outcome:
    return Outcome(ended.ticket, ended.header, ended.sequences, [b""] * len(ended.sequences), status)


def _outcomes_of(lost: Lost) -> list[Outcome]:
    outcomes = []
    for ended, deaths in lost.dead:
        text = f"{MAX_DEATHS} workers died while they had this message: {', '.join(deaths)}"
        failure = _failure(ended, text, deaths[-1], len(deaths))
        outcomes.append(Outcome(ended.ticket, ended.header, ended.sequences, [failure], Status.DEAD_LETTERED))
    for ended in lost.unknown:
        failure = _failure(ended, "its worker was lost, and it must not run twice: it may or may not have run", "", 1)
        outcomes.append(
            Outcome(ended.ticket, ended.header, ended.sequences, [failure] * len(ended.sequences), Status.UNKNOWN_FATE)
        )
    return outcomes


def _failure(ended: Ended, text: str, instance: str, attempt: int) -> Failure:
    stage = ended.header.target
    return Failure("WORKER_LOST", "WorkerLost", text, "", stage.server, stage.function, instance, attempt)
