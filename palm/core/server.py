"""The node of a server instance: takes batches, runs each message once, sends what came of it to the next stage.

It remembers answers at or above the client's watermark, so a message that comes again is answered from memory. It keeps
nothing else: a message is the client's, and the client sends it again when this instance, or the next one, is lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Container, Sequence

from palm.core.callers import Callers
from palm.core.effect import Abandon, Drained, Effect, Invoke, Retire, Send, Tell
from palm.core.event import (
    Bounced,
    DrainAsked,
    Event,
    Finished,
    Heard,
    InstanceDown,
    InstanceUp,
    Listed,
    Malformed,
    Received,
    Tick,
)
from palm.core.folding import Pack, Whole, outward
from palm.core.joins import InOrder, Join, Zip, joiner, objection
from palm.core.links import Links
from palm.core.memory import Memory
from palm.core.message import (
    Batch,
    Exposed,
    Failure,
    Header,
    Hello,
    JobId,
    Leave,
    Leg,
    Over,
    Payload,
    Peer,
    Ping,
    Pong,
    Refused,
    Status,
    Task,
)
from palm.core.names import BUILT_IN
from palm.core.onward import Onward
from palm.core.route import stage_after, stages_before
from palm.core.spread import spread

OVER_REMEMBERED = 4_096
"""Jobs that are over and still known as such: enough that a late copy of one of their messages is not run."""

EXPOSED_AT_ONCE = 4_096
"""Messages named in one word to their client."""

_Row = tuple[JobId, int, int]


@dataclass(slots=True)
class Counters:
    handled: int = 0
    failed: int = 0
    duplicates: int = 0
    stale: int = 0
    expired: int = 0
    turned_away: int = 0
    bad_frames: int = 0


class ServerNode:
    def __init__(
        self,
        *,
        peer: Peer,
        server: str,
        functions: Sequence[str],
        cluster: str = "palm",
        max_in_flight: int = 16_384,
        join: Join = "arrival",
        pack: Pack | None = None,
        now: int = 0,
    ) -> None:
        """`pack` is a reducer's, and makes it one: one payload of all parts of a message, for whoever folds it."""
        self.peer = peer
        self.server = server
        self.functions = tuple(functions)
        self.counters = Counters()
        self.in_flight = 0
        self.draining = False
        self.leads = True
        """False for the worker of a parallel server: messages are its leader's business, and come from there only."""
        self.chief: Peer | None = None
        """The leader that a worker answers to."""
        self._has_drained = False
        self._progress_at = now
        self._max_in_flight = max_in_flight
        self._join = join
        self._pack = pack
        self._joiners: dict[_Row, Zip | InOrder] = {}
        self._started = now
        self._callers = Callers(peer=peer, server=server, cluster=cluster)
        self._onward = Onward(Links(cluster=cluster, name=server), self._callers, self._memory_behind, max_in_flight)
        self._memories: dict[_Row, Memory] = {}
        self._jobs_of: dict[Peer, dict[JobId, None]] = {}
        self._over: dict[JobId, None] = {}
        self._headers: dict[Header, Header] = {}
        self._tickets: dict[int, tuple[Header, int | None, int]] = {}
        self._next_ticket = 0

    # -- the Node protocol --------------------------------------------------------------------------------------------

    @property
    def deadline(self) -> int | None:
        beat, sweep = self._onward.deadline, self._callers.deadline
        if beat is None:
            return sweep
        return beat if sweep is None else min(beat, sweep)

    def handle(self, event: Event, now: int) -> list[Effect]:
        effects = self._react(event, now)
        if self.draining and not self._has_drained and self.in_flight == 0 and not self._onward.waiting:
            self._has_drained = True
            effects.append(Drained())
        return effects

    def _react(self, event: Event, now: int) -> list[Effect]:
        match event:
            case Received():
                return self._received(event.peer, event.batch, now)
            case Finished():
                return self._finished(event, now)
            case Heard():
                return self._heard(event, now)
            case Bounced():
                return self._onward.bounced(event, now)
            case InstanceUp():
                return self._onward.instance_up(event, now)
            case InstanceDown():
                exposed = self._exposed(event)
                return exposed + self._onward.instance_down(event, now)
            case Listed():
                return self._onward.listed(event.server, now)
            case Tick():
                return self._onward.tick(now) + self._sweep(now)
            case DrainAsked():
                self.draining = True
            case Malformed():
                self.counters.bad_frames += 1
        return []

    def pong(self, number: int, now: int) -> Pong:
        """How this instance stands. Busy since: the last time that anything of what it has taken ended."""
        counters = self.counters
        busy_in = next((ticket[0].target.function for ticket in self._tickets.values()), "")
        return Pong(
            number=number,
            in_flight=self.in_flight,
            handled=counters.handled,
            failed=counters.failed,
            duplicates=counters.duplicates,
            busy_us=max(1, (now - self._progress_at) // 1_000) if busy_in else 0,
            busy_in=busy_in,
            draining=self.draining,
            bad_frames=counters.bad_frames,
            uptime_us=(now - self._started) // 1_000,
        )

    @property
    def reduces(self) -> bool:
        return self._pack is not None

    def has_dialed(self, peer: Peer) -> bool:
        return self._onward.link(peer) is not None

    def held(self, still_open: Container[JobId] = ()) -> list[str]:
        """What it holds for jobs, but for those that are open, in words: nothing once all others are over."""
        held = [
            f"remembers {len(memory)} messages of job {key[0].number}"
            for key, memory in self._memories.items()
            if key[0] not in still_open
        ]
        return held + ([f"holds {self._onward.waiting} answers back"] if self._onward.waiting else [])

    # -- links --------------------------------------------------------------------------------------------------------

    def _heard(self, event: Heard, now: int) -> list[Effect]:
        peer, control = event.peer, event.control
        match control:
            case Hello():
                return self._greeted(peer, control, now)
            case Ping():
                if not self._callers.heard(peer, now):
                    return [self._stranger(peer)]
                return [Tell(peer, self.pong(control.number, now)), *self._forget_ended(peer, control)]
            case Over():
                return self._job_over(JobId(peer, control.incarnation, control.number))
            case Leave():
                return [Retire()] if peer in self._callers else [self._stranger(peer)]
        return self._onward.heard(peer, control, now)

    def _greeted(self, peer: Peer, hello: Hello, now: int) -> list[Effect]:
        word = self._callers.greeted(peer, hello, now)
        return [Tell(peer, word), *(self._onward.unpark(peer, now) if peer in self._callers else [])]

    def _stranger(self, peer: Peer) -> Tell:
        return Tell(peer, Refused("STRANGER", "say Hello first"))

    def _sweep(self, now: int) -> list[Effect]:
        effects: list[Effect] = []
        for peer in self._callers.silent(now):
            self._onward.drop(peer)
            for job in list(self._jobs_of.get(peer, {})):
                effects += self._forget(job)
        return effects

    def _forget_ended(self, client: Peer, ping: Ping) -> list[Effect]:
        """The word Over may be lost; what a client's heartbeat no longer names is over all the same."""
        jobs = self._jobs_of.get(client)
        if not jobs:
            return []
        ended = [job for job in jobs if job.number < ping.next_job and job.number not in ping.open_jobs]
        return [effect for job in ended for effect in self._job_over(job)]

    def _job_over(self, job: JobId) -> list[Effect]:
        self._over[job] = None
        if len(self._over) > OVER_REMEMBERED:
            del self._over[next(iter(self._over))]
        return self._forget(job)

    def _forget(self, job: JobId) -> list[Effect]:
        """Hold nothing more of it. It may come back, where its client was only cut off."""
        jobs = self._jobs_of.get(job.client, {})
        jobs.pop(job, None)
        if not jobs:
            self._jobs_of.pop(job.client, None)
        for key in [key for key in self._memories if key[0] == job]:
            del self._memories[key]
            self._joiners.pop(key, None)
        for header in [header for header in self._headers if header.job == job]:
            del self._headers[header]
        self._onward.forget(job)
        return [Abandon(job)]

    # -- messages in --------------------------------------------------------------------------------------------------

    def _received(self, peer: Peer, batch: Batch, now: int) -> list[Effect]:
        if not self._callers.heard(peer, now):
            return [self._stranger(peer)]
        header = batch.header
        if header.is_result or header.leg or header.target.server != self.server or header.job in self._over:
            self.counters.stale += len(batch)
            return []
        if not self.leads:
            # Who leads will be known soon, and it may be this one, unless it leaves.
            self.counters.turned_away += len(batch)
            memory = None
            if header.at_most_once and not header.parts:
                memory = self._memory_of(header, now)
                batch = _picked(batch, memory.ask(batch.sequences, batch.attempts))
            status = Status.AWAY if self.draining else Status.BUSY
            return self._refuse(memory, header, batch.sequences, status, now)
        return self._take(batch, now)

    def hand(self, batch: Batch, now: int) -> list[Effect]:
        """A batch that this worker's leader hands it, under a header of that leg: taken however much is here, as the
        leader knows how much it may send."""
        if batch.header.job in self._over or batch.header.target.server != self.server:
            self.counters.stale += len(batch)
            return []
        self._callers.heard_of(batch.header.job.client, now)
        return self._take(batch, now)

    def release(self, ticket: int, sequences: Sequence[int], status: Status | None, now: int) -> list[Effect]:
        """These of an `Invoke` are not going to be run here. `status` tells the client: AWAY, BUSY; None says
        nothing."""
        header, expires, left = self._tickets.pop(ticket)
        if left > len(sequences):
            self._tickets[ticket] = (header, expires, left - len(sequences))
        self.in_flight -= len(sequences)
        memory = self._memories.get(_row(header))
        if memory is None:
            return []
        for sequence in sequences:
            memory.untake(sequence)
        if status is None:
            return []
        self.counters.turned_away += len(sequences)
        return self._refuse(memory, header, list(sequences), status, now)

    def _memory_of(self, header: Header, now: int) -> Memory:
        key = _row(header)
        memory = self._memories.get(key)
        if memory is None:
            memory = self._memories[key] = Memory()
            self._callers.known_by_jobs(header.job.client, now)
            self._jobs_of.setdefault(header.job.client, {})[header.job] = None
        return memory

    def _take(self, batch: Batch, now: int) -> list[Effect]:
        header = batch.header
        memory = self._memory_of(header, now)
        memory.header = header
        memory.advance(batch.watermark)
        built_in = header.target.function in BUILT_IN
        joins = self._join != "arrival" or (self._pack is not None and header.parts)
        if joins and not built_in:
            return self._received_to_join(memory, batch, now)
        if header.at_most_once and not header.parts and not header.leg:
            batch = _picked(batch, memory.ask(batch.sequences, batch.attempts))

        fresh = memory.take_all(batch.sequences)
        effects: list[Effect] = []
        if len(fresh) < len(batch):
            effects += self._answer_again(memory, batch, set(fresh), now)
            batch = _picked(batch, fresh)
        if not fresh:
            return effects
        if header.parts:
            memory.note_parts(batch.sequences)
        room = 0 if self.draining else max(0, self._max_in_flight - self.in_flight)
        if header.leg or built_in:
            room = len(batch)
        if len(batch) > room:
            # What fits is taken: else a batch over the whole bound would come again for ever.
            effects += self._turn_away(memory, _picked(batch, list(range(room, len(batch)))), now)
            batch = _picked(batch, list(range(room)))
        return effects + (self._admit(memory, batch, now) if len(batch) else [])

    def _received_to_join(self, memory: Memory, batch: Batch, now: int) -> list[Effect]:
        """A sink's: what may run is decided by what else has come."""
        header = batch.header
        key = _row(header)
        join = self._joiners.get(key)
        if join is None:
            join = self._joiners[key] = joiner(self._join) if self._pack is None else Whole(self._pack)
        effects: list[Effect] = []
        text = objection(self._join, header)
        if text:
            fresh = _picked(batch, memory.take_all(batch.sequences))
            failure = Failure("BAD_REQUEST", "BadRequest", text, "", self.server, header.target.function, self.peer)
            ends = [Status.FAILED] * len(fresh)
            return self._settle(memory, header, fresh.sequences, [failure] * len(fresh), ends, None, now)
        join.forget(memory.floor)
        if self.draining or self.in_flight >= self._max_in_flight:
            fits = [i for i, item in enumerate(batch.sequences) if join.knows(header, memory, item)]
            rest = sorted(set(range(len(batch))).difference(fits))
            if rest:
                effects += self._turn_away(memory, _picked(batch, rest), now)
            batch = _picked(batch, fits)
        taken = join.take(header, memory, batch, now)
        self.counters.stale += taken.stale
        for item in taken.again:
            once = Batch(header.of(item), batch.watermark, [item], [b""], batch.remaining)
            effects += self._answer_again(memory, once, set(), now)
        for ready in taken.ready:
            if ready.header.parts:
                memory.note_parts(ready.sequences)
            effects += self._admit(memory, ready, now)
        return effects

    def _admit(self, memory: Memory, batch: Batch, now: int) -> list[Effect]:
        """Run what is to be run; pass along what has already ended, and end what cannot be run."""
        header = batch.header
        if batch.remaining is not None and batch.remaining <= 0:
            return self._settle(
                memory, header, batch.sequences, [b""] * len(batch), [Status.EXPIRED] * len(batch), None, now
            )
        if batch.statuses is not None:
            ended = [i for i, status in enumerate(batch.statuses) if status != Status.OK]
            rest = [i for i, status in enumerate(batch.statuses) if status == Status.OK]
            passed = _picked(batch, ended)
            expires = None if batch.remaining is None else now + batch.remaining
            effects = self._settle(memory, header, passed.sequences, passed.payloads, passed.statuses, expires, now)
            batch = _picked(batch, rest)
            batch.statuses = None
            return effects + (self._admit(memory, batch, now) if rest else [])
        if header.target.function not in self.functions and header.target.function not in BUILT_IN:
            failure = Failure(
                "NO_FUNCTION",
                "NoSuchFunction",
                f"server {self.server!r} has no function {header.target.function!r}; "
                f"it lists {', '.join(self.functions)}",
                server=self.server,
                function=header.target.function,
                instance=self.peer,
            )
            return self._settle(
                memory, header, batch.sequences, [failure] * len(batch), [Status.FAILED] * len(batch), None, now
            )
        expires = None if batch.remaining is None else now + batch.remaining
        ticket = self._next_ticket
        self._next_ticket += 1
        self._tickets[ticket] = (header, expires, len(batch))
        if self.in_flight == 0:
            self._progress_at = now
        self.in_flight += len(batch)
        return [Invoke(ticket, batch, expires)]

    def _turn_away(self, memory: Memory, batch: Batch, now: int) -> list[Effect]:
        """Tell the client itself, whichever stage this is: it owns the messages and knows when to send them again."""
        for sequence in batch.sequences:
            memory.untake(sequence)
        self.counters.turned_away += len(batch)
        status = Status.AWAY if self.draining else Status.BUSY
        return self._refuse(memory, batch.header, batch.sequences, status, now)

    def _refuse(
        self, memory: Memory | None, header: Header, sequences: list[int], status: Status, now: int
    ) -> list[Effect]:
        """The answer to what is turned away. Of what must not run twice it names the attempt, and a second copy of that
        attempt is not taken any more."""
        attempts = None
        if memory is not None and header.at_most_once and not header.parts:
            attempts = memory.refuse(sequences)
        count = len(sequences)
        batch = Batch(header.at(len(header.route)), 0, sequences, [b""] * count, None, attempts, [status] * count)
        return self._onward.to_client(batch, now) if count else []

    def _answer_again(self, memory: Memory, batch: Batch, fresh: set[int], now: int) -> list[Effect]:
        """Messages that were here before: nothing while they run, their answer once more where they have one."""
        self.counters.duplicates += len(batch) - len(fresh)
        effects: list[Effect] = []
        remaining = None if batch.remaining is None else now + batch.remaining
        for i, sequence in enumerate(batch.sequences):
            answer = None if i in fresh else memory.recall(sequence)
            if answer is not None:
                effects += self._forward(
                    memory,
                    batch.header,
                    [sequence],
                    [answer.payload],
                    [answer.status],
                    remaining,
                    now,
                    memory.went_to(sequence),
                    None if batch.attempts is None else [batch.attempts[i]],
                )
        return effects

    # -- results out --------------------------------------------------------------------------------------------------

    def _finished(self, event: Finished, now: int) -> list[Effect]:
        header, expires, left = self._tickets[event.ticket]
        count = len(event.sequences)
        if left == count:
            del self._tickets[event.ticket]
        else:
            self._tickets[event.ticket] = (header, expires, left - count)
        self.in_flight -= count
        self._progress_at = now
        sequences, payloads, statuses = event.sequences, event.payloads, event.statuses
        if statuses is not None:
            self.counters.failed += statuses.count(Status.FAILED)
            count -= statuses.count(Status.EXPIRED) + statuses.count(Status.CANCELLED)
            # What was abandoned did not end: where its client is back, it has sent it again.
            kept = [i for i, status in enumerate(statuses) if status != Status.CANCELLED]
            if len(kept) < len(statuses):
                sequences = [sequences[i] for i in kept]
                payloads, statuses = [payloads[i] for i in kept], [statuses[i] for i in kept]
        self.counters.handled += count
        memory = self._memories.get(_row(header))
        if memory is None:
            return []
        return self._settle(memory, header, sequences, payloads, statuses, expires, now)

    def _settle(
        self,
        memory: Memory,
        header: Header,
        sequences: Sequence[int],
        payloads: list[Payload],
        statuses: Sequence[int] | None,
        expires: int | None,
        now: int,
    ) -> list[Effect]:
        """Remember how messages ended here, and send it on. What the client has meanwhile ended itself goes nowhere,
        but to a leader, which else would believe for ever that its worker has it."""
        kept = memory.answer_all(sequences, payloads, statuses)
        if self._pack is not None:
            # Who asks again for what was folded asks for another run of messages: an old one would be refused for ever.
            memory.forget(sequences)
        if statuses is not None:
            self.counters.expired += sum(1 for status in statuses if status == Status.EXPIRED)
        if len(kept) < len(sequences) and not _latest_leg(memory, header).leg:
            self.counters.stale += len(sequences) - len(kept)
            sequences = [sequences[i] for i in kept]
            payloads = [payloads[i] for i in kept]
            statuses = None if statuses is None else [statuses[i] for i in kept]
        if not sequences:
            return []
        return self._forward(memory, header, list(sequences), payloads, statuses, expires, now, None)

    def _forward(
        self,
        memory: Memory,
        header: Header,
        sequences: list[int],
        payloads: list[Payload],
        statuses: Sequence[int] | None,
        expires: int | None,
        now: int,
        before: Peer | None,
        attempts: list[int] | None = None,
    ) -> list[Effect]:
        if statuses is not None and Status.WITHIN in statuses:
            sequences, payloads, statuses = outward(sequences, payloads, statuses)
            if not sequences:
                return []
        latest = _latest_leg(memory, header)
        if statuses is not None and Status.MANY in statuses and not latest.leg:
            return self._spread(memory, latest, sequences, payloads, statuses, expires, now)
        onward = self._next_header(latest)
        batch = Batch(
            onward,
            memory.floor,
            sequences,
            payloads,
            None if expires is None else max(0, expires - now),
            attempts if header.at_most_once else None,
            None if statuses is None else list(statuses),
        )
        if onward.leg:
            return [] if self.chief is None else [Send(self.chief, batch)]
        if onward.is_result:
            return self._onward.to_client(batch, now)
        return self._onward.to_next(memory, batch, before, now)

    def _spread(
        self,
        memory: Memory,
        header: Header,
        sequences: Sequence[int],
        payloads: list[Payload],
        statuses: Sequence[int],
        expires: int | None,
        now: int,
    ) -> list[Effect]:
        """Some have many results. Each part goes where it went before, where it did."""
        remaining = None if expires is None else max(0, expires - now)
        effects: list[Effect] = []
        for onward, (items, results, ends) in spread(header, sequences, payloads, statuses).items():
            whole = Batch(onward, memory.floor, items, results, remaining, None, ends)
            if onward.is_result:
                effects += self._onward.to_client(whole, now)
                continue
            places: dict[Peer | None, list[int]] = {}
            for place, item in enumerate(items):
                places.setdefault(memory.went_to(item), []).append(place)
            for before, indices in places.items():
                effects += self._onward.to_next(memory, _picked(whole, indices), before, now)
        return effects

    def _next_header(self, header: Header) -> Header:
        onward = self._headers.get(header)
        if onward is None:
            if header.leg:
                onward = header.on(Leg.FROM_WORKER, header.term)
            else:
                onward = header.at(stage_after(header.route, header.stage))
            self._headers[header] = onward
        return onward

    def _memory_behind(self, header: Header) -> Memory | None:
        """That of the stage which made these answers; None where the job is forgotten."""
        before = stages_before(header.route, header.stage)
        memories = (self._memories.get((header.job, stage, Task.RUN)) for stage in before)
        return next((memory for memory in memories if memory is not None), None)

    def _exposed(self, event: InstanceDown) -> list[Effect]:
        """Tell each client what of its went to an instance that is gone. One that drained has handed over what it
        had."""
        link = self._onward.link(event.peer)
        if link is None or link.leaving or link.instance.server != event.server:
            return []
        suspect = link.instance.role != "leader" and link.suspected  # who was heard a moment ago has lost a lease only
        effects: list[Effect] = []
        for (job, *_), memory in self._memories.items():
            sequences = memory.exposed_to(event.peer) if job.client in self._callers else []
            for start in range(0, len(sequences), EXPOSED_AT_ONCE):
                some = tuple(sequences[start : start + EXPOSED_AT_ONCE])
                word = Exposed(job.incarnation, job.number, event.server, event.peer, some, suspect)
                effects.append(Tell(job.client, word))
        return effects


def _row(header: Header) -> _Row:
    """What has a memory of its own: a stage of a job, and in a worker what its leader wants to have done there."""
    return header.job, header.stage, header.task


def _latest_leg(memory: Memory, header: Header) -> Header:
    """The header under which it is to go on: whoever asked last for messages of this stage is who hears of it."""
    latest = memory.header
    if latest is None or (latest.leg, latest.term) == (header.leg, header.term):
        return header
    return header.on(Leg(latest.leg), latest.term)


def _picked(batch: Batch, indices: Sequence[int]) -> Batch:
    """The batch with only those items; the batch itself where that is all of them."""
    if len(indices) == len(batch):
        return batch
    return Batch(
        batch.header,
        batch.watermark,
        [batch.sequences[i] for i in indices],
        [batch.payloads[i] for i in indices],
        batch.remaining,
        None if batch.attempts is None else [batch.attempts[i] for i in indices],
        None if batch.statuses is None else [batch.statuses[i] for i in indices],
    )
