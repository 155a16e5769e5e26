"""Runs what a search proposes, in this process or in several, and says which of it still breaks the same check.

A candidate counts if the check that the search is about breaks in it, while all its faults bite that bit before, and
does not break in its control: the same world without the faults. So they stay the reason, whatever becomes smaller.
"""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter, deque
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Callable, Iterable, Iterator, Mapping, NamedTuple, Self

from palm.errors import HarnessError, ScenarioError
from palm.sim.history import History
from palm.sim.scenario.scenario import parse
from palm.sim.simulation import Result, RunFailed, attempt
from palm.sim.sweep import end_with_parent
from palm.sim.verdict import Verdict

OF_SERVERS = ("handling", "answered", "elected", "lease-expired", "registered")
OF_JOBS = ("delivered", "sent")


HARNESS = "harness"
"""In the place of a check: the run itself fails, in a way that its `of` tells from others."""


class Target(NamedTuple):
    """The check that is to break: its name, and its job, server or function."""

    check: str
    of: str

    def __str__(self) -> str:
        if self.check == HARNESS:
            return f"the harness ({self.of})"
        return f"{self.check} of {self.of}" if self.of else self.check


class Moment(NamedTuple):
    """The last event of its kind before a step: the `nth` of that kind at that server, or of that job."""

    event: str
    server: str
    job: str
    nth: int
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """The text of a scenario; `control` is its world without faults, where faults are what is to blame."""

    text: str
    control: str | None = None
    idle: frozenset[str] | None = None
    """The steps that may touch nothing; None: any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What a search wants to know of the run of a candidate."""

    breaks: bool
    why: str = ""
    """What the check says; where the candidate did not run, why not."""
    trace_hash: str = ""
    events: int = 0
    idle: frozenset[str] = frozenset()
    """The steps that were never done or touched nothing."""
    started: Mapping[str, int] = field(default_factory=dict)
    """By step: when it was done."""
    before: Mapping[str, tuple[Moment, ...]] = field(default_factory=dict)
    """By step: what had happened by then, the latest first."""


def targets(seen: Result | RunFailed) -> list[Target]:
    """The checks that are broken, in the order in which they are judged; or the harness, where that failed."""
    if isinstance(seen, RunFailed):
        return [Target(HARNESS, seen.kind)]
    return [Target(one.check, one.of) for one in seen.checks if one.verdict is Verdict.BROKEN]


def look(candidate: Candidate, file: str, seed: int, target: Target) -> Sight:
    """Run it. One that cannot be run, or in which the harness fails in another way, breaks nothing that is looked
    for."""
    sight = _look_at(candidate.text, file, seed, target)
    if sight.breaks and candidate.idle is not None and not sight.idle <= candidate.idle:
        return replace(
            sight, breaks=False, why=f"nothing was touched by {', '.join(sorted(sight.idle - candidate.idle))}"
        )
    if sight.breaks and candidate.control is not None and _look_at(candidate.control, file, seed, target).breaks:
        return Sight(breaks=False, why="it breaks without any fault")
    return sight


def _look_at(text: str, file: str, seed: int, target: Target) -> Sight:
    try:
        scenario = parse(text, file)
        seen = attempt(scenario, seed)
    except ScenarioError as error:
        return Sight(breaks=False, why=str(error))
    if isinstance(seen, Result):
        why = next((one.why for one in seen.checks if (one.check, one.of) == target), "")
    elif target not in targets(seen):
        return Sight(breaks=False, why=str(seen))
    else:
        why = str(seen)
    history = seen.history
    return Sight(
        breaks=target in targets(seen),
        why=why,
        trace_hash=seen.trace_hash,
        events=seen.events,
        idle=frozenset(step.id for step in scenario.script if not history.touched.get(step.id)),
        started={step: spans[0].start for step, spans in history.active.items()},
        before={step: tuple(_before(history, spans[0].start)) for step, spans in history.active.items()},
    )


def _before(history: History, moment: int) -> Iterator[Moment]:
    counts: Counter[tuple[str, str, str]] = Counter()
    last: dict[tuple[str, str, str], int] = {}
    for entry in history.entries:
        if entry.at > moment:
            break
        name = entry.kind.value
        if name in OF_SERVERS or name in OF_JOBS:
            kind = (name, entry.server, "") if name in OF_SERVERS else (name, "", entry.job.partition("[")[0])
            counts[kind] += 1
            last[kind] = entry.at
    for kind in sorted(counts, key=lambda kind: (-last[kind], kind)):
        yield Moment(*kind, counts[kind], last[kind])


Look = Callable[[Candidate, str, int, Target], Sight]
"""A function of a module, where there are several processes: they are told its name."""


class Runs:
    """Looks at candidates, none of them twice, until `seconds` or `most` runs are used up."""

    def __init__(
        self,
        file: str,
        seed: int,
        target: Target,
        *,
        jobs: int = 1,
        seconds: float = 60.0,
        most: int = 2000,
        look: Look = look,
    ) -> None:
        self.target = target
        self.count = 0
        self.passed: str | None = None
        """The last candidate that ran and did not break."""
        self._file = file
        self._seed = seed
        self._jobs = jobs
        self._most = most
        self._look = look
        self._ends_at = time.monotonic() + seconds
        self._seen: dict[Candidate, Sight] = {}
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        if self._jobs > 1:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._jobs, mp_context=context, initializer=end_with_parent)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    @property
    def spent(self) -> bool:
        """There is no time left, or too much was run."""
        return self.count >= self._most or time.monotonic() >= self._ends_at

    def first(self, candidates: Iterable[Candidate]) -> tuple[int, Sight] | None:
        """The first candidate that breaks, by its place; however many processes there are, it is the same one."""
        for number, (candidate, sight) in enumerate(self._looks(candidates)):
            if sight.breaks:
                return number, sight
            if sight.trace_hash:
                self.passed = candidate.text
        return None

    def _looks(self, candidates: Iterable[Candidate]) -> Iterator[tuple[Candidate, Sight]]:
        waiting: deque[tuple[Candidate, Future[Sight] | None]] = deque()
        try:
            for candidate in candidates:
                waiting.append((candidate, self._begin(candidate)))
                if len(waiting) >= self._jobs:
                    yield self._end(*waiting.popleft())
            while waiting:
                yield self._end(*waiting.popleft())
        finally:
            for _, future in waiting:
                if future is not None:
                    future.cancel()

    def _begin(self, candidate: Candidate) -> Future[Sight] | None:
        """None where it needs no other process."""
        if self._pool is None or candidate in self._seen or self.spent or self._refused(candidate):
            return None
        return self._pool.submit(self._look, candidate, self._file, self._seed, self.target)

    def _end(self, candidate: Candidate, future: Future[Sight] | None) -> tuple[Candidate, Sight]:
        if candidate not in self._seen:
            if future is None and self.spent:
                return candidate, Sight(breaks=False, why="there was no time left")
            refused = self._refused(candidate)
            if refused:
                self._seen[candidate] = Sight(breaks=False, why=refused)
            else:
                self.count += 1
                self._seen[candidate] = self._result(candidate, future)
        return candidate, self._seen[candidate]

    def _result(self, candidate: Candidate, future: Future[Sight] | None) -> Sight:
        try:
            return self._look(candidate, self._file, self._seed, self.target) if future is None else future.result()
        except BrokenProcessPool as error:
            raise HarnessError("a process of the search died; shrink with --jobs 1 to see which candidate") from error

    def _refused(self, candidate: Candidate) -> str:
        """Why it is no scenario: most of what a search tries in vain ends here, and costs no run."""
        try:
            parse(candidate.text, self._file)
        except ScenarioError as error:
            return str(error)
        return ""
