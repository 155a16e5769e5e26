"""What a client does for a job whose route has reductions: it cuts the route into phases, takes tables in, has them
folded, and sends on what they come to.

`ClientNode` sends, retries and notices who is lost, for the jobs of phases and rounds as for any other. Here is decided
what their outcomes mean for the job that the caller knows.
"""

from __future__ import annotations

from itertools import chain, repeat
from typing import Callable, Sequence

from palm.core.effect import Absorbed, Deliver, Effect, Settled
from palm.core.folding import REDUCE, Entry, Span
from palm.core.jobs import Ends, Job
from palm.core.links import Links
from palm.core.message import Batch, Buried, Failure, Form, JobId, Payload, Status, results_bytes
from palm.core.names import BUILT_IN
from palm.core.phases import DELIVERED, Account, Emission, Phase, in_order
from palm.core.reduction import MOST_HELD, Group, Round
from palm.core.route import Branching, Route, cut_route
from palm.core.window import Window
from palm.errors import BadRequest

Unfold = Callable[[bytes], list[Entry]]
"""The entries of a table that has travelled."""

Columns = tuple[list[int], list[Payload], list[int]]

ROUNDS = 1 << 20
"""The window of the rounds of a reduction: how many there are is bounded by what it holds."""


class Chain:
    """`dispatch` sends what waits; `maybe_over` ends a job where nothing is left of it; both are the client's."""

    def __init__(
        self,
        jobs: dict[int, Job],
        links: Links,
        unfold: Unfold | None,
        new_number: Callable[[], int],
        dispatch: Callable[[Job, int], list[Effect]],
        maybe_over: Callable[[int, Job, int], list[Effect]],
    ) -> None:
        self._jobs = jobs
        self._links = links
        self._unfold = unfold
        self._new_number = new_number
        self._dispatch = dispatch
        self._maybe_over = maybe_over

    # -- the route ----------------------------------------------------------------------------------------------------

    def objection(self, job: Job) -> BadRequest | None:
        """Why a route with reductions cannot be gone along so."""
        for stage, target in enumerate(job.route):
            if not self._reduces(job.route, stage):
                continue
            if isinstance(job.route, Branching) and stage in job.route.within:
                return BadRequest(f"{target} reduces, but stands in a branch: put it behind the branches")
            if job.at_most_once:
                return BadRequest(f"{target} reduces, so messages may run more than once: leave out at_most_once")
            if job.endless:
                return BadRequest(f"{target} reduces, which has no result before the end of a job: use map or a job")
        return None

    def divide(self, job: Job) -> None:
        """Cut the route behind its first reduction, and so on: from now on the job goes along the first phase."""
        stage = next((at for at in range(len(job.route)) if self._reduces(job.route, at)), None)
        if stage is None:
            return
        every = max((link.instance.every for link in self._links.of(job.route[stage].server).values()), default=0)
        route, rest = cut_route(job.route, stage)
        job.go_along(route)
        job.phase = Phase(every, rest)
        if rest:
            behind = self._hidden(job, rest)
            job.phase.next_job = behind.id.number
            self.divide(behind)

    def _reduces(self, route: Route, stage: int) -> bool:
        server, function = route[stage]
        return function not in BUILT_IN and any(
            link.instance.kind == REDUCE for link in self._links.of(server).values()
        )

    def _hidden(self, parent: Job, route: Route, window: Window | None = None) -> Job:
        """A job that only the servers know."""
        number = self._new_number()
        identity = JobId(parent.id.client, parent.id.incarnation, number)
        window = window or Window(parent.window.limit, parent.window.limit_bytes)
        trace, session = parent.header.trace, parent.header.session
        job = Job(identity, route, window, parent.deadline, False, parent.progress_at, trace, session)
        job.whole_route = parent.whole_route
        job.parent = parent
        job.ready = True
        self._jobs[number] = job
        return job

    # -- tables in ----------------------------------------------------------------------------------------------------

    def take(self, job: Job, batch: Batch) -> tuple[list[Effect], Batch | None]:
        """Take the tables among these answers, and give back the others. All messages of a table are open and absorbed
        with it, or it is dropped, and what is still open of it goes out again: whoever folded that with others has
        nothing that could count."""
        if batch.statuses is None or Status.FOLDED not in batch.statuses or _is_rounds(job):
            return [], batch
        effects: list[Effect] = []
        for item, payload, status in zip(batch.sequences, batch.payloads, batch.statuses, strict=True):
            if status == Status.FOLDED and isinstance(item, Span) and isinstance(payload, bytes):
                effects += self._take_table(job, item, payload)
        rest = [i for i, status in enumerate(batch.statuses) if status != Status.FOLDED]
        if not rest:
            return effects, None
        return effects, Batch(
            batch.header,
            batch.watermark,
            [batch.sequences[i] for i in rest],
            [batch.payloads[i] for i in rest],
            statuses=[batch.statuses[i] for i in rest],
        )

    def _take_table(self, job: Job, span: Span, table: bytes) -> list[Effect]:
        open_ = job.present(span.sequences)
        phase = job.phase
        if phase is None or len(open_) < span.count or not phase.reduction.fits(span):
            job.duplicates += span.count
            for group in job.take_back(open_):
                group.attempt += 1
                group.before = None
                job.waiting.append(group)
            return []
        job.end(open_)
        job.window.answered(span.count)
        phase.absorbed += span.count
        phase.reduction.absorb(span, table)
        return [] if job.parent is not None else [Absorbed(job.id.number, int(span), span.count)]

    # -- outcomes in --------------------------------------------------------------------------------------------------

    def outcomes(
        self, job: Job, sequences: list[int], payloads: list[Payload], statuses: Sequence[int] | None
    ) -> list[Effect]:
        """What it means that these, of a phase or of rounds, have ended."""
        ends = [int(Status.OK)] * len(sequences) if statuses is None else list(statuses)
        if _is_rounds(job):
            self._rounds_ended(job, sequences, payloads, ends)
            return []
        effects: list[Effect] = []
        keys: dict[int, bytes] = {}
        if job.parent is not None and job.parent.phase is not None:
            failed = [sequence for sequence, end in zip(sequences, ends, strict=True) if end not in DELIVERED]
            keys = job.parent.phase.keys_of(failed)
            effects += self._settle(job.parent, sequences, ends)
        if job.phase is None:
            return effects + self._deliver(job, sequences, payloads, ends, emitted=True, in_order=True, keys=keys)
        for sequence in sequences:
            job.phase.reduction.gap(sequence)
        if job.parent is None:
            for status in ends:
                count_end(job.ends, status)
        bad = [i for i, status in enumerate(ends) if status not in DELIVERED]
        good = [sequences[i] for i, status in enumerate(ends) if status in DELIVERED]
        if job.parent is None:
            effects += [Absorbed(job.id.number, sequence, 1) for sequence in good]
            effects += [Settled(job.id.number, len(good), Status.OK)] if good else []
        return effects + self._deliver(
            job,
            [sequences[i] for i in bad],
            [payloads[i] for i in bad],
            [ends[i] for i in bad],
            emitted=job.parent is not None,
            in_order=False,
            keys=keys,
        )

    def _rounds_ended(self, job: Job, sequences: list[int], payloads: list[Payload], ends: list[int]) -> None:
        assert job.parent is not None and job.parent.phase is not None, "rounds are of a phase"
        phase = job.parent.phase
        for sequence, payload, status in zip(sequences, payloads, ends, strict=True):
            partial = phase.rounds.pop(sequence, None)
            if partial is None:
                continue
            if status == Status.FOLDED and isinstance(payload, bytes):
                phase.reduction.folded(partial, payload)
            elif status in DELIVERED:
                text = f"{job.route[0]} was to fold partial results, and gave something else"
                phase.reduction.spoiled(partial, (Failure("BAD_RESULT", "BadResult", text), Status.FAILED))
            else:
                phase.reduction.spoiled(partial, (payload, status))

    def _deliver(
        self,
        job: Job,
        sequences: list[int],
        payloads: list[Payload],
        ends: list[int],
        *,
        emitted: bool,
        in_order: bool,
        keys: dict[int, bytes] | None = None,
    ) -> list[Effect]:
        if not sequences:
            return []
        payloads = [() if end == Status.EMPTY else payload for payload, end in zip(payloads, ends, strict=True)]
        if emitted:
            # The caller's route is not theirs: nobody could replay them.
            payloads = [payload.failure if isinstance(payload, Buried) else payload for payload in payloads]
        ends = [Status.MANY if end == Status.EMPTY else end for end in ends]
        root = job.root
        root.untaken += len(sequences)
        root.held_bytes += sum(map(results_bytes, payloads, ends))
        statuses = ends if any(ends) else None
        return [Deliver(root.id.number, sequences, payloads, statuses, emitted, in_order, keys or None)]

    # -- settled ------------------------------------------------------------------------------------------------------

    def _settle(self, job: Job, sequences: Sequence[int], ends: Sequence[int]) -> list[Effect]:
        """These messages of the phase behind it have ended; what that says of its own."""
        assert job.phase is not None, "what is behind a phase came from it"
        effects: list[Effect] = []
        for sequence, status in zip(sequences, ends, strict=True):
            account = job.phase.ended(sequence, status)
            if account is not None:
                effects += self._close(job, account)
        return effects

    def _close(self, job: Job, account: Account) -> list[Effect]:
        """All that a group gave has ended: for each result that ended badly one of its messages has, too, and the
        others are delivered."""
        assert job.phase is not None, "groups are of a phase"
        group = account.group
        job.phase.absorbed -= group.absorbed
        # Without any result, none of its messages came to one.
        bad = account.ends[: group.absorbed] if group.end is None else [group.end[1]] * group.absorbed
        if job.parent is not None:
            return self._settle(job.parent, range(group.first, group.stop), _padded(bad, group.stop - group.first))
        ends = {status: bad.count(status) for status in dict.fromkeys(bad)}
        ends[Status.OK] = group.absorbed - len(bad)
        effects: list[Effect] = []
        for status, count in ends.items():
            if count:
                count_end(job.ends, status, count)
                effects.append(Settled(job.id.number, count, status))
        return effects

    # -- on -----------------------------------------------------------------------------------------------------------

    def advance(self, job: Job, now: int) -> list[Effect]:
        """Fold what is to be folded, and send on what is ready."""
        phase = job.phase
        if phase is None or job.ended:
            return []
        if job.source_ended and not phase.has_ended:
            phase.has_ended = True
            phase.reduction.source_ended(job.sent)
        effects: list[Effect] = []
        rounds = phase.reduction.rounds()
        if rounds:
            effects += self._fold(job, phase, rounds, now)
        for group in phase.reduction.finished():
            effects += self._emit(job, phase, group)
        return effects + self.feed(job, now)

    def _fold(self, job: Job, phase: Phase, rounds: list[Round], now: int) -> list[Effect]:
        if phase.rounds_job is None:
            folding = self._hidden(job, (job.route[-1],), Window(ROUNDS, 1 << 62))
            folding.header = folding.header.formed(Form.TABLES)
            phase.rounds_job = folding.id.number
        folding = self._jobs[phase.rounds_job]
        phase.rounds.update((folding.sent + place, one.partial) for place, one in enumerate(rounds))
        folding.accept([tables for _, tables in rounds], now)
        return self._dispatch(folding, now)

    def _emit(self, job: Job, phase: Phase, group: Group) -> list[Effect]:
        """The results of a group: for the caller, or for the next phase."""
        assert self._unfold is not None, "who has jobs with reductions can read tables"
        entries = [] if group.table is None else list(in_order(self._unfold(group.table)))
        account = Account(group, 0)
        effects: list[Effect] = []
        ends: list[tuple[Payload, int]] = [
            (entry.value, Status.FAILED if entry.failed else Status.OK) for entry in entries
        ]
        if group.end is not None:
            ends.append(group.end)
        account.ends = [status for _, status in ends if status != Status.OK]
        job.root.emitted += len(ends)
        if phase.next_job is None:
            places = list(range(phase.emitted, phase.emitted + len(ends)))
            phase.emitted += len(ends)
            effects += self._deliver(
                job, places, [one for one, _ in ends], [status for _, status in ends], emitted=True, in_order=True
            )
        else:
            good = [entry for entry in entries if not entry.failed]
            bad = [(payload, status) for payload, status in ends if status != Status.OK]
            account.pending = len(good)
            phase.backlog.extend(Emission(entry.value, account, entry.key) for entry in good)
            effects += self._deliver(
                job,
                [group.first] * len(bad),
                [payload for payload, _ in bad],
                [status for _, status in bad],
                emitted=True,
                in_order=False,
            )
        return effects if account.pending else effects + self._close(job, account)

    def feed(self, job: Job, now: int) -> list[Effect]:
        """Give the next phase what it has room for."""
        phase = job.phase
        behind = None if phase is None or phase.next_job is None else self._jobs.get(phase.next_job)
        if phase is None or behind is None or behind.source_ended:
            return []
        effects: list[Effect] = []
        while phase.backlog:
            room = behind.window.room(self.outstanding(behind), behind.held_bytes)
            if room <= 0:
                break
            behind.accept(phase.send_on(behind.sent, room), now)
            behind.demanded = 0
            effects += self._dispatch(behind, now)
        if phase.has_given_all:
            behind.source_ended = True
            effects += self._maybe_over(behind.id.number, behind, now)
        return effects

    def outstanding(self, job: Job) -> int:
        """What counts against the window of a job: also what is behind a reduction, and what that has not digested."""
        count = len(job.rows) + job.root.untaken + job.demanded
        if job.phase is not None:
            count += len(job.phase.backlog) + max(0, job.phase.reduction.held - MOST_HELD)
        return count

    # -- over ---------------------------------------------------------------------------------------------------------

    def behind(self, job: Job) -> list[Job]:
        """The jobs that belong to it, at any depth."""
        phase = job.phase
        own = [] if phase is None else [self._jobs.get(one or 0) for one in (phase.rounds_job, phase.next_job)]
        return [each for one in own if one is not None for each in (one, *self.behind(one))]

    def cancel(self, job: Job) -> list[Effect]:
        """Of what is absorbed nothing will come."""
        phase = job.phase
        if phase is None or not phase.absorbed:
            return []
        count, phase.absorbed = phase.absorbed, 0
        count_end(job.ends, Status.CANCELLED, count)
        return [Settled(job.id.number, count, Status.CANCELLED)]


def count_end(ends: Ends, status: int, count: int = 1) -> None:
    """So many messages ended that way."""
    if status in DELIVERED:
        ends.delivered += count
    elif status == Status.EXPIRED:
        ends.expired += count
    elif status == Status.DEAD_LETTERED:
        ends.dead_lettered += count
    else:
        ends.failed += count


def _is_rounds(job: Job) -> bool:
    return job.parent is not None and job.parent.phase is not None and job.parent.phase.rounds_job == job.id.number


def _padded(bad: list[int], count: int) -> list[int]:
    return list(chain(bad, repeat(int(Status.OK), count - len(bad))))
