"""What the scenarios are worth: each planted bug is put in place, and the scenarios that should find it are run.

Each run has a process of its own: its patch is the process's, and a run that does not come to an end, or eats up the
memory, is stopped from outside. That, too, is a way of being found.
"""

from __future__ import annotations

import multiprocessing
import resource
from collections import deque
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from time import monotonic
from typing import Generator, Literal, NamedTuple, Sequence

from palm.errors import HarnessError, ScenarioError
from palm.sim.checkers import Verdict
from palm.sim.scenario.scenario import load
from palm.sim.simulation import run
from palm.testing.planted import PLANTED, Planted

RUN_LIMIT_S = 60.0
"""Wall time of one run; without a bug the longest takes a few seconds."""

MEMORY_LIMIT = 2 << 30

CONTROL = "nothing planted"


class Case(NamedTuple):
    """One file, by its path below the scenarios' directory, under one seed."""

    file: str
    seed: int


class Answer(NamedTuple):
    """What one run said: `how` is a verdict, or that there was no run; `what` names the checks that broke."""

    how: Literal["holds", "broken", "inconclusive", "no run"]
    what: str


@dataclass(slots=True)
class Found:
    """What came of one bug."""

    name: str
    cases: Sequence[Case]
    answers: dict[Case, Answer] = field(default_factory=dict)

    @property
    def found(self) -> list[Case]:
        return [case for case in self.cases if self.answers[case].how == "broken"]

    @property
    def by(self) -> dict[str, str]:
        """The scenarios that found it, each with what it said the first time."""
        first: dict[str, str] = {}
        for case in self.found:
            first.setdefault(case.file, self.answers[case].what)
        return first


def score(root: Path, *, seeds: int, jobs: int, bugs: Sequence[Planted] = PLANTED) -> Generator[Found, None, None]:
    """One `Found` for each bug, in their order; the control, all of their cases with no bug, comes last.

    `root` is the scenarios' directory; each file is run under so many seeds, its pinned ones first, then 0, 1, ...
    Raises ScenarioError where a scenario is not there, HarnessError where the line of a bug is not.
    """
    rows = [Found(bug.name, [case for file in bug.caught_by for case in _cases(root, file, seeds)]) for bug in bugs]
    rows.append(Found(CONTROL, list(dict.fromkeys(case for row in rows for case in row.cases))))
    waiting = deque((row, case) for row in rows for case in row.cases)
    under_way: dict[Connection, tuple[Found, _Run]] = {}
    try:
        for row in rows:
            while len(row.answers) < len(row.cases):
                while waiting and len(under_way) < jobs:
                    owner, case = waiting.popleft()
                    started = _Run(root, owner.name, case)
                    under_way[started.end] = (owner, started)
                ready = wait(list(under_way), timeout=0.5)
                for end, (owner, one) in list(under_way.items()):
                    answer = one.answer() if end in ready else one.overdue()
                    if answer is not None:
                        del under_way[end]
                        owner.answers[one.case] = answer
            yield row
    finally:
        for _, one in under_way.values():
            one.stop()


def _cases(root: Path, file: str, seeds: int) -> list[Case]:
    pinned = load(root / file).runs.seeds.pinned
    return [Case(file, seed) for seed in list(dict.fromkeys([*pinned, *range(seeds)]))[:seeds]]


class _Run:
    """One case under way with one bug, in a process of its own."""

    def __init__(self, root: Path, name: str, case: Case) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        self.case = case
        self.end, theirs = context.Pipe(duplex=False)
        self._process = context.Process(target=_run_case, args=(theirs, str(root / case.file), name, case.seed))
        self._process.start()
        theirs.close()
        self._until = monotonic() + RUN_LIMIT_S

    def answer(self) -> Answer:
        """What it has said. Raises HarnessError where it could not be run at all."""
        try:
            answer: Answer = self.end.recv()
        except EOFError:
            self._process.join()
            answer = Answer("broken", f"the process ended with exit code {self._process.exitcode}")
        self.stop()
        if answer.how == "no run":
            raise HarnessError(answer.what)
        return answer

    def overdue(self) -> Answer | None:
        if monotonic() < self._until:
            return None
        self.stop()
        return Answer("broken", f"did not end within {RUN_LIMIT_S:.0f} s")

    def stop(self) -> None:
        self._process.kill()
        self._process.join()
        self.end.close()


def _run_case(end: Connection, path: str, name: str, seed: int) -> None:
    """In the child."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    bug = next((one for one in PLANTED if one.name == name), None)
    try:
        if bug is None:
            end.send(_answer(path, seed))
        else:
            with bug.in_place():
                end.send(_answer(path, seed))
    except (ValueError, ScenarioError) as error:
        end.send(Answer("no run", str(error)))


def _answer(path: str, seed: int) -> Answer:
    try:
        result = run(load(path), seed)
    except HarnessError as error:
        return Answer("broken", f"the simulator failed: {str(error):.160}")
    except MemoryError:
        return Answer("broken", f"took more than {MEMORY_LIMIT >> 30} GiB of memory")
    broken = dict.fromkeys(one.check for one in result.checks if one.verdict is Verdict.BROKEN)
    return Answer(result.verdict.value, ", ".join(broken))
