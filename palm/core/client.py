"""The node of a client: owns the messages of its jobs until each has ended.

It dials every instance of every server on a job's route: the first stage to send, the last to be answered, all of them
to notice who is lost and to tell them when a job is over. What is lost is sent again under the same identity.
"""

from __future__ import annotations

from typing import Sequence

from palm.core.admission import objection
from palm.core.chain import Chain, Unfold
from palm.core.effect import Deliver, Demand, Effect, Ended, Follow, Ready, Send, Tell
from palm.core.event import (
    Bounced,
    Cancelled,
    Event,
    Heard,
    InstanceDown,
    InstanceUp,
    Listed,
    Offered,
    Opened,
    Received,
    SourceEnded,
    Taken,
    Tick,
)
from palm.core.jobs import Flight, Job, PartEnd, Waiting
from palm.core.joins import SINK, meeting_place
from palm.core.links import Link, Links
from palm.core.message import (
    Batch,
    Buried,
    Exposed,
    Failure,
    JobId,
    Over,
    Payload,
    Peer,
    Pong,
    Status,
    results_bytes,
)
from palm.core.route import Stage
from palm.core.share import Part
from palm.core.store import FUNCTION as STORE
from palm.core.window import Window

MAX_DEATHS = 3
"""Instances that died with a message before it is dead-lettered: it may well be what killed them."""

MAX_ATTEMPTS = 12
"""Sendings without an answer, from instances that were idle all the while, before a message is dead-lettered."""

BUSY_PAUSE = 50_000_000
"""First pause after a BUSY or AWAY answer (ns); it doubles to 64 times that while they go on."""

SPAN = 32
"""A job goes on for so many windows beyond its oldest message that has not ended: what servers remember of it is what
is above that one."""

_NOT_TAKEN = (Status.BUSY, Status.AWAY)


class ClientNode:
    def __init__(
        self,
        *,
        peer: Peer,
        incarnation: int,
        cluster: str = "palm",
        name: str = "client",
        unfold: Unfold | None = None,
    ) -> None:
        self.peer = peer
        self.incarnation = incarnation
        self.jobs: dict[int, Job] = {}
        self.stale = 0
        self._links = Links(cluster=cluster, name=name)
        self._followed: set[str] = set()
        self._listed: set[str] = set()
        # A message that was with an instance when it died is sent alone: at most one such at each instance.
        self._quarantine: dict[Peer, tuple[int, int]] = {}
        self._pauses: dict[int, int] = {}
        self._next_job = 1
        self._chain = Chain(self.jobs, self._links, unfold, self.new_number, self._dispatch, self._maybe_over)

    def new_number(self) -> int:
        """A number for a job."""
        number = self._next_job
        self._next_job += 1
        return number

    # -- the Node protocol --------------------------------------------------------------------------------------------

    @property
    def deadline(self) -> int | None:
        first = self._links.deadline
        for job in self.jobs.values():
            due = job.due()
            if due is not None and (first is None or due < first):
                first = due
        return first

    def handle(self, event: Event, now: int) -> list[Effect]:
        match event:
            case Received():
                return self._received(event.peer, event.batch, now)
            case Offered():
                return self._offered(event, now)
            case Taken():
                return self._taken(event, now)
            case Heard():
                return self._heard(event, now)
            case Bounced():
                return self._bounced(event, now)
            case Tick():
                return self._tick(now)
            case InstanceUp():
                return self._instance_up(event, now)
            case InstanceDown():
                return self._instance_down(event, now)
            case Listed():
                self._listed.add(event.server)
                return self._check_ready(now)
            case Opened():
                return self._opened(event, now)
            case SourceEnded():
                return self._source_ended(event.number, now)
            case Cancelled():
                return self._cancelled(event.number, now)
        return []

    # -- jobs ---------------------------------------------------------------------------------------------------------

    def _opened(self, event: Opened, now: int) -> list[Effect]:
        identity = JobId(self.peer, self.incarnation, event.number)
        self._next_job = max(self._next_job, event.number + 1)
        window = Window(event.window, event.window_bytes)
        job = Job(
            identity, event.route, window, event.deadline, event.at_most_once, now, event.trace, event.session
        )
        job.endless = event.endless
        self.jobs[event.number] = job
        effects: list[Effect] = []
        for stage in event.route:
            if stage.server not in self._followed:
                self._followed.add(stage.server)
                effects.append(Follow(stage.server))
        return effects + self._check_ready(now)

    def _check_ready(self, now: int) -> list[Effect]:
        effects: list[Effect] = []
        for number, job in list(self.jobs.items()):
            if job.ready or job.ended or any(not self._links.of(stage.server) for stage in job.route):
                continue
            self._heed_once(job)
            refusal = objection(job.route, self._links) or self._chain.objection(job)
            if refusal is not None:
                if not all(stage.server in self._listed for stage in job.route):
                    continue  # the instance that has the function may be the next on the list
                job.ended = True
                del self.jobs[number]
                effects.append(Ended(number, refusal))
                continue
            job.ready = True
            job.progress_at = now
            self._chain.divide(job)
            effects.append(Ready(number))
            effects += self._demand(number, job, now)
        return effects

    def _heed_once(self, job: Job) -> None:
        for stage in job.route:
            if any(stage.function in link.instance.once for link in self._links.of(stage.server).values()):
                job.forbid_repeats()

    def missing(self, number: int) -> list[str]:
        """The servers of the job's route that have no live instance, each once."""
        job = self.jobs.get(number)
        if job is None:
            return []
        return list(dict.fromkeys(stage.server for stage in job.whole_route if not self._links.of(stage.server)))

    def _demand(self, number: int, job: Job, now: int) -> list[Effect]:
        if job.parent is not None:
            return self._chain.feed(job.parent, now)
        if job.source_ended or job.ended or not job.ready:
            return []
        outstanding = self._chain.outstanding(job)
        room = job.window.room(outstanding, job.held_bytes, job.demanded)
        room = min(room, SPAN * job.window.limit - (job.sent + job.demanded - job.watermark))
        # In quarters of a window: each demand wakes a thread at the other end.
        if room <= 0 or (job.demanded and room < job.window.size // 4):
            return []
        job.demanded += room
        return [Demand(number, room)]

    def _offered(self, event: Offered, now: int) -> list[Effect]:
        job = self.jobs.get(event.number)
        if job is None or job.ended:
            return []
        job.accept(event.payloads, now, event.deadline)
        return self._dispatch(job, now) + self._demand(event.number, job, now)

    def _taken(self, event: Taken, now: int) -> list[Effect]:
        job = self.jobs.get(event.number)
        if job is None:
            return []
        job.untaken -= event.outcomes
        job.held_bytes -= event.payload_bytes
        if job.phase is None:
            job.untaken_ok -= event.delivered
            job.ends.delivered += event.delivered
            return self._demand(event.number, job, now)
        effects = self._demand(event.number, job, now)
        for one in (job, *self._chain.behind(job)):
            effects += self._chain.feed(one, now)
        return effects

    def _source_ended(self, number: int, now: int) -> list[Effect]:
        job = self.jobs.get(number)
        if job is None or job.ended:
            return []
        job.source_ended = True
        job.demanded = 0
        return self._maybe_over(number, job, now)

    def _cancelled(self, number: int, now: int) -> list[Effect]:
        job = self.jobs.get(number)
        if job is None or job.ended:
            return []
        job.source_ended = True
        effects = self._end(number, job, job.present(range(job.floor, job.sent)), Status.CANCELLED)
        effects += self._chain.cancel(job)
        return effects + self._over(number, job)

    def _maybe_over(self, number: int, job: Job, now: int) -> list[Effect]:
        """After anything that may be the last thing that was missing, or that makes partial results go on."""
        effects = self._chain.advance(job, now)
        if not job.ended and job.source_ended and not job.rows and (job.phase is None or job.phase.is_over):
            effects += self._over(number, job)
        if job.parent is not None and not job.parent.ended:
            effects += self._maybe_over(job.parent.id.number, job.parent, now)
        return effects

    def _over(self, number: int, job: Job) -> list[Effect]:
        effects: list[Effect] = []
        for one in (job, *self._chain.behind(job)):
            one.ended = True
            over = Over(one.id.incarnation, one.id.number)
            peers = {peer: None for stage in one.route for peer in self._links.of(stage.server)}
            effects += [Tell(peer, over) for peer in peers]
            if one.parent is not None:
                self.close(one.id.number)
        return effects + [Ended(number)] if job.parent is None else effects

    def close(self, number: int) -> None:
        """The caller is done with an ended job; its counts go."""
        self.jobs.pop(number, None)
        self._pauses.pop(number, None)

    # -- out ----------------------------------------------------------------------------------------------------------

    def _dispatch(self, job: Job, now: int) -> list[Effect]:
        """Send what waits, as far as there is somebody to take it."""
        if job.resume_at is not None:
            if now < job.resume_at:
                return []
            job.resume_at = None
        if not job.waiting and not job.suspects and not job.trials:
            return []
        stage = job.route[0]
        links = self._takers(stage)
        if any(link.instance.kind == SINK for link in links):
            meeting = meeting_place(job.id, self._links.of(stage.server).values(), stage.function)
            links = [link for link in links if link is meeting]
        if not links:
            return []
        effects: list[Effect] = []
        while job.waiting:
            group = job.waiting.popleft()
            sequences = job.present(group.sequences)
            if job.trials:
                sequences = [sequence for sequence in sequences if sequence not in job.trials]
            if not sequences:
                continue
            if group.before is not None and group.before in links:
                effects.append(self._depart(job, group, sequences, group.before, now))
                continue
            if group.pinned:
                effects += self._end(job.id.number, job, sequences, Status.UNKNOWN_FATE)
                continue
            share = len(sequences) if len(links) == 1 else max(1, min(64, -(-len(sequences) // len(links))))
            for start in range(0, len(sequences), share):
                link = min(links, key=_outstanding) if len(links) > 1 else links[0]
                effects.append(self._depart(job, group, sequences[start : start + share], link, now))
        effects += self._dispatch_suspects(job, links, now)
        while job.trials and (trial := job.trials.next(job.rows)) is not None:
            link = trial.before if trial.before is not None and trial.before in links else min(links, key=_outstanding)
            effects.append(self._depart(job, trial, trial.sequences, link, now))
        return effects

    def _takers(self, stage: Stage) -> list[Link]:
        """Who can take a message for that stage now. Of a store that is its keeper alone, also while it drains."""
        links = self._links.of(stage.server).values()
        if stage.function == STORE:
            term = max((link.instance.term for link in links), default=0)
            return [link for link in links if term and link.instance.term == term and link.answers]
        return [link for link in links if link.usable and link.instance.has(stage.function)]

    def _dispatch_suspects(self, job: Job, links: list[Link], now: int) -> list[Effect]:
        effects: list[Effect] = []
        for link in links:
            while job.suspects and link.instance.peer not in self._quarantine:
                group = job.suspects.popleft()
                if job.present(group.sequences) and group.sequences[0] not in job.trials:
                    self._quarantine[link.instance.peer] = (job.id.number, group.sequences[0])
                    effects.append(self._depart(job, group, group.sequences, link, now))
        return effects

    def _depart(self, job: Job, group: Waiting, sequences: Sequence[int], link: Link, now: int) -> Send:
        job.depart(group, sequences, link, now)
        payloads = job.payloads
        first = group.attempt == 1
        if not first:
            job.retries += len(sequences)
        batch = Batch(
            job.header,
            job.watermark,
            list(sequences),
            list(map(payloads.__getitem__, sequences)),
            None if group.expires is None else max(0, group.expires - now),
            None if first else [group.attempt] * len(sequences),
        )
        return Send(link.instance.peer, batch)

    # -- in -----------------------------------------------------------------------------------------------------------

    def _received(self, peer: Peer, batch: Batch, now: int) -> list[Effect]:
        effects: list[Effect] = []
        if self._links.heard(peer, now):
            effects += self._dispatch_all(now)
        header = batch.header
        identity = header.job
        job = self.jobs.get(identity.number)
        if job is None or job.id != identity or not header.is_result:
            self.stale += len(batch)
            return effects
        job.root.progress_at = now
        taken, rest = self._chain.take(job, batch)
        effects += taken
        had_tables = rest is not batch
        if had_tables:
            self._acquit(identity.number, job)
        if rest is None:
            return effects + self._after(identity.number, job, now)
        batch = rest
        sequences, payloads, statuses = _gathered(job, batch) if header.parts else _new_outcomes(job, batch)
        if statuses is not None and any(status in _NOT_TAKEN for status in statuses):
            if job.at_most_once and not header.parts:
                sequences, payloads, statuses = _of_this_attempt(job, batch, sequences, payloads, statuses)
            effects += self._turned_away(job, peer, sequences, statuses, now)
            keep = [i for i, status in enumerate(statuses) if status not in _NOT_TAKEN]
            sequences = [sequences[i] for i in keep]
            payloads = [payloads[i] for i in keep]
            statuses = [statuses[i] for i in keep]
        if not sequences:
            return effects + (self._after(identity.number, job, now) if had_tables else [])
        job.window.answered(len(sequences))
        self._pauses.pop(identity.number, None)
        effects += self._outcomes(identity.number, job, sequences, payloads, statuses)
        return effects + self._after(identity.number, job, now)

    def _after(self, number: int, job: Job, now: int) -> list[Effect]:
        effects = self._dispatch(job, now) if job.waiting or job.suspects or job.trials else []
        effects += self._demand(number, job, now)
        return effects + self._maybe_over(number, job, now)

    def _turned_away(
        self, job: Job, peer: Peer, sequences: list[int], statuses: Sequence[int], now: int
    ) -> list[Effect]:
        """BUSY: later, and less at once. AWAY: that instance takes nothing more, another one may at once."""
        away = [sequence for sequence, status in zip(sequences, statuses, strict=True) if status == Status.AWAY]
        busy = [sequence for sequence, status in zip(sequences, statuses, strict=True) if status == Status.BUSY]
        link = self._links.get(peer)
        if away and link is not None:
            link.leaving = True
        if not away and not busy:
            return []
        # A later stage that drains is not ours to avoid: its neighbours learn of it from the registry, in a moment.
        later = link is None or link.instance.server != job.route[0].server
        for group in job.take_back(busy + away):
            # A second copy of what was turned away is known by its attempt, and so is a second copy of this answer.
            group.attempt += job.at_most_once
            group.pinned = job.at_most_once and later
            job.waiting.append(group)
        if job.resume_at is not None and now < job.resume_at:
            return []  # one overload has many answers: the first has made the window smaller
        number = job.id.number
        if busy:
            job.window.shrink()
        if busy or later or not any(link.usable for link in self._links.of(job.route[0].server).values()):
            level = self._pauses.get(number, 0)
            self._pauses[number] = min(level + 1, 6)
            job.resume_at = now + (BUSY_PAUSE << level)
            return []
        return self._dispatch(job, now)

    def _outcomes(
        self,
        number: int,
        job: Job,
        sequences: list[int],
        payloads: list[Payload],
        statuses: Sequence[int] | None,
    ) -> list[Effect]:
        if statuses is not None and Status.DEAD_LETTERED in statuses:
            payloads = [
                Buried(job.payloads[sequence], evidence)  # type: ignore[arg-type]  # with that status it is a failure
                if status == Status.DEAD_LETTERED
                else evidence
                for sequence, evidence, status in zip(sequences, payloads, statuses, strict=True)
            ]
        job.end(sequences)
        if job.phase is None and job.parent is None:
            effects = self._tell(number, job, sequences, payloads, statuses)
        else:
            effects = self._chain.outcomes(job, sequences, payloads, statuses)
        self._acquit(number, job)
        return effects

    def _acquit(self, number: int, job: Job) -> None:
        """Instances whose suspect has ended may have the next one."""
        over = [
            peer
            for peer, (job_number, sequence) in self._quarantine.items()
            if job_number == number and sequence not in job.rows
        ]
        for peer in over:
            del self._quarantine[peer]

    def _tell(
        self, number: int, job: Job, sequences: list[int], payloads: list[Payload], statuses: Sequence[int] | None
    ) -> list[Effect]:
        """The caller, of messages that have ended."""
        ends = job.ends
        if statuses is None or not any(statuses):
            statuses = None
            ok = len(sequences)
        else:
            if Status.EMPTY in statuses:
                # For the caller, no result is a number of results like any other.
                payloads = [() if status == Status.EMPTY else payloads[i] for i, status in enumerate(statuses)]
                statuses = [Status.MANY if status == Status.EMPTY else status for status in statuses]
            ok = sum(1 for status in statuses if status in (Status.OK, Status.MANY))
            ends.expired += sum(1 for status in statuses if status == Status.EXPIRED)
            ends.dead_lettered += sum(1 for status in statuses if status == Status.DEAD_LETTERED)
            ends.failed += sum(
                1 for status in statuses if status in (Status.FAILED, Status.CANCELLED, Status.UNKNOWN_FATE)
            )
        job.untaken += len(sequences)
        job.untaken_ok += ok
        if statuses is None:
            job.held_bytes += sum(map(len, payloads))
        else:
            job.held_bytes += sum(map(results_bytes, payloads, statuses))
        return [Deliver(number, sequences, payloads, None if statuses is None else list(statuses))]

    def _end(self, number: int, job: Job, sequences: list[int], status: Status) -> list[Effect]:
        """End messages from this side."""
        if not sequences:
            return []
        return self._outcomes(number, job, sequences, [b""] * len(sequences), [status] * len(sequences))

    # -- links, and what is lost --------------------------------------------------------------------------------------

    def _heard(self, event: Heard, now: int) -> list[Effect]:
        woken = self._links.heard(event.peer, now)
        if isinstance(event.control, Exposed):
            return self._exposed(event.control, now) + (self._dispatch_all(now) if woken else [])
        if isinstance(event.control, Pong) and event.control.in_flight:
            link = self._links.get(event.peer)
            for job in self.jobs.values():
                if link is not None and any(stage.server == link.instance.server for stage in job.route):
                    job.root.progress_at = now
        effects = self._links.told(event.peer, event.control)
        return effects + self._dispatch_all(now) if woken else effects

    def _dispatch_all(self, now: int) -> list[Effect]:
        return [effect for job in self.jobs.values() for effect in self._dispatch(job, now)]

    def _instance_up(self, event: InstanceUp, now: int) -> list[Effect]:
        effects = self._links.add(event.instance, now)
        if event.instance.once:
            for job in self.jobs.values():
                self._heed_once(job)
        return effects + self._check_ready(now) + self._dispatch_all(now)

    def _instance_down(self, event: InstanceDown, now: int) -> list[Effect]:
        link = self._links.get(event.peer)
        effects = self._links.remove(event.peer, event.server)
        if link is None or not effects:
            return []
        self._quarantine.pop(event.peer, None)
        # A leader runs nothing but when it is alone: that it died says nothing against what it had. Nor does a worker
        # hold anything that its leader does not know of.
        # And one that was heard of a moment ago has lost its lease, not its life.
        leads = link.instance.role == "leader" or not link.suspected
        if link.instance.role == "worker":
            return effects
        for number, job in list(self.jobs.items()):
            # A store runs no code of a user's.
            clean = leads or link.instance.draining or job.route[0].function == STORE
            # What one that drained had is with the next stage: to ask another one for it would run it again.
            if job.route[0].server == event.server and not (link.instance.draining and len(job.route) > 1):
                effects += self._lost_flights(number, job, [f for f in job.flights() if f.link is link], link, clean)
            effects += self._dispatch(job, now)
            effects += self._demand(number, job, now)
            effects += self._maybe_over(number, job, now)
        return effects

    def _lost_flights(self, number: int, job: Job, flights: list[Flight], link: Link, clean: bool) -> list[Effect]:
        """These flights were with an instance that is gone: send them to another, the suspects one by one."""
        effects: list[Effect] = []
        unknown: list[int] = []
        for flight in flights:
            left = job.recall(flight)
            if job.at_most_once:
                unknown += left
                continue
            if clean:
                job.waiting.append(Waiting(left, flight.attempt + 1, flight.expires))
                continue
            for sequence in left:
                dead = job.died_with(sequence, link.instance.server, link.instance.peer) or []
                if len(dead) >= MAX_DEATHS:
                    effects += self._bury(number, job, sequence, link.instance.server, dead, flight.attempt)
                else:
                    job.suspects.append(Waiting([sequence], flight.attempt + 1, flight.expires))
        return effects + self._end(number, job, unknown, Status.UNKNOWN_FATE)

    def _exposed(self, word: Exposed, now: int) -> list[Effect]:
        """A stage has sent messages on to an instance that is gone. What of them has not ended is asked for again: the
        stages before answer from memory, and drop what still runs. The word may be lost: then the retry time ends."""
        number = word.number
        job = self.jobs.get(number)
        if job is None or job.ended or job.id.incarnation != word.incarnation:
            return []
        if not any(stage.server == word.server for stage in job.route[1:]):
            return []
        left = job.present(word.sequences)
        if job.at_most_once:
            effects = self._end(number, job, left, Status.UNKNOWN_FATE)
        elif not word.suspect:
            for group in job.take_back(left):
                group.attempt += 1
                job.waiting.append(group)
            effects = []
        else:
            effects = self._suspect(number, job, word, left)
        return effects + self._after(number, job, now)

    def _suspect(self, number: int, job: Job, word: Exposed, sequences: list[int]) -> list[Effect]:
        effects: list[Effect] = []
        for sequence in sequences:
            dead = job.died_with(sequence, word.server, word.instance)
            if dead is None:
                continue
            flight = job.rows[sequence]
            if len(dead) >= MAX_DEATHS:
                effects += self._bury(number, job, sequence, word.server, dead, flight.attempt)
                continue
            job.take_back([sequence])
            again = Waiting([sequence], flight.attempt + 1, flight.expires, flight.link)
            job.trials.add(sequence, again, len(dead))
        return effects

    def _bury(self, number: int, job: Job, sequence: int, server: str, dead: list[Peer], attempt: int) -> list[Effect]:
        """A dead letter, with the evidence."""
        function = next((stage.function for stage in job.route if stage.server == server), "")
        text = f"{len(dead)} instances of {server} died while they had this message: {', '.join(dead)}"
        failure = Failure("WORKER_LOST", "WorkerLost", text, "", server, function, dead[-1], attempt)
        return self._outcomes(number, job, [sequence], [failure], [Status.DEAD_LETTERED])

    def _bounced(self, event: Bounced, now: int) -> list[Effect]:
        """It certainly did not arrive: another instance may have it at once, this one is suspect."""
        link = self._links.get(event.peer)
        if link is not None:
            link.suspected = True
        job = self.jobs.get(event.batch.header.job.number)
        if job is None or job.id != event.batch.header.job:
            return []
        for group in job.take_back(event.batch.sequences):
            if group.before is link:
                group.before = None
            job.waiting.append(group)
        return self._dispatch(job, now)

    # -- time ---------------------------------------------------------------------------------------------------------

    def _tick(self, now: int) -> list[Effect]:
        open_jobs = tuple(number for number, job in self.jobs.items() if not job.ended)
        effects = self._links.tick(now, open_jobs, self._next_job)
        for number, job in list(self.jobs.items()):
            effects += self._end(number, job, job.expired(now), Status.EXPIRED)
            for flight in job.overdue(now):
                effects += self._overdue(number, job, flight, now)
            effects += self._dispatch(job, now)
            effects += self._demand(number, job, now)
            effects += self._maybe_over(number, job, now)
        return effects

    def _overdue(self, number: int, job: Job, flight: Flight, now: int) -> list[Effect]:
        """No answer in time. While an instance of the route still has something to do, that is no fault of the
        message."""
        working = self._route_works(job)
        if job.at_most_once:
            if working or flight.waits < MAX_ATTEMPTS:
                flight.waits += not working
                job.wait_on(flight, now)
                return []
            return self._end(number, job, job.recall(flight), Status.UNKNOWN_FATE)
        link = flight.link
        left = job.recall(flight)
        attempt = flight.attempt + 1
        if attempt > MAX_ATTEMPTS and not working:
            text = f"no answer to {MAX_ATTEMPTS} sendings, while every instance of the route was idle"
            failures: list[Payload] = [Failure("WORKER_LOST", "NoAnswer", text, attempt=MAX_ATTEMPTS)] * len(left)
            return self._outcomes(number, job, left, failures, [Status.DEAD_LETTERED] * len(left)) if left else []
        job.waiting.append(Waiting(left, attempt, flight.expires, link))
        return []

    def _route_works(self, job: Job) -> bool:
        return any(
            link.pong is not None and link.pong.in_flight and not link.suspected
            for stage in job.route
            for link in self._links.of(stage.server).values()
        )

    # -- for people ---------------------------------------------------------------------------------------------------

    def describe(self, number: int, now: int) -> str:
        """What the job waits for, in words: for the error of a wait that took too long."""
        job = self.jobs.get(number)
        if job is None:
            return "the job has ended"
        missing = self.missing(number)
        if missing:
            return f"no live instance of {', '.join(missing)}"
        parts = [f"{len(job.rows)} of {job.sent} messages in flight, {job.retries} sent again"]
        if job.phase is not None:
            parts.append(f"{job.phase.absorbed} in {job.phase.reduction.held} partial results or what came of them")
        for server in dict.fromkeys(stage.server for stage in job.whole_route):
            parts += [f"{server}: {link.in_words(now)}" for link in self._links.of(server).values()]
        return "; ".join(parts)

    def instances(self) -> list[Link]:
        return list(self._links)


def _outstanding(link: Link) -> int:
    return link.outstanding


def _new_outcomes(job: Job, batch: Batch) -> tuple[list[int], list[Payload], list[int] | None]:
    """Those that have not ended yet, each once: a late answer of an earlier attempt is no news."""
    rows = job.rows
    sequences, payloads, statuses = batch.sequences, batch.payloads, batch.statuses
    if not all(map(rows.__contains__, sequences)) or len(set(sequences)) < len(sequences):
        first: dict[int, int] = {}
        for i, sequence in enumerate(sequences):
            if sequence in rows:
                first.setdefault(sequence, i)
        known = list(first.values())
        job.duplicates += len(sequences) - len(known)
        sequences = [sequences[i] for i in known]
        payloads = [payloads[i] for i in known]
        statuses = None if statuses is None else [statuses[i] for i in known]
    return sequences, payloads, statuses


def _of_this_attempt(
    job: Job, batch: Batch, sequences: list[int], payloads: list[Payload], statuses: list[int]
) -> tuple[list[int], list[Payload], list[int]]:
    """Without answers by which an earlier attempt was turned away: it has been sent again since, and may run."""
    attempts = dict(zip(batch.sequences, batch.attempts or [1] * len(batch), strict=True))
    kept = [
        i
        for i, sequence in enumerate(sequences)
        if statuses[i] not in _NOT_TAKEN or attempts[sequence] == job.rows[sequence].attempt
    ]
    return [sequences[i] for i in kept], [payloads[i] for i in kept], [statuses[i] for i in kept]


def _gathered(job: Job, batch: Batch) -> tuple[list[int], list[Payload], list[int] | None]:
    """The messages that end with these parts, and those of which a part was turned away: it comes again whole."""
    ends: dict[int, PartEnd] = {}
    statuses = batch.statuses or [Status.OK] * len(batch)
    for part, payload, status in zip(batch.sequences, batch.payloads, statuses, strict=True):
        sequence = int(part)
        if sequence not in job.rows or sequence in ends or not isinstance(part, Part):
            job.duplicates += 1
        elif status in _NOT_TAKEN:
            ends[sequence] = (b"", status)
        else:
            end = job.gather(part, (payload, status))
            if end is not None:
                ends[sequence] = end
    return list(ends), [end[0] for end in ends.values()], [end[1] for end in ends.values()]
