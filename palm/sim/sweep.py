"""Many runs: scenario files times seeds, in this process or spread over several; each comes back as one outcome.

Runs share nothing, so a process more is a core more. Processes are spawned, and given paths and numbers only: each
reads its scenarios itself.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import blake2b
from typing import Callable, Generator, Iterable, TypeVar

from palm.errors import HarnessError, PalmError
from palm.sim.chaos import with_chaos
from palm.sim.coverage import Pair, pairs_of
from palm.sim.history import History
from palm.sim.scenario.scenario import Scenario, load
from palm.sim.simulation import Result, run

T = TypeVar("T")
R = TypeVar("R")

HARNESS_FAILED = 3
AHEAD = 2
"""Runs that wait for each process, so that none is idle and little is thrown away when the sweep stops early."""


@dataclass(frozen=True, slots=True)
class Task:
    path: str
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one task. `result` has no entries in its history any more; None: it failed, as `error` says."""

    task: Task
    result: Result | None
    pairs: frozenset[Pair] = frozenset()
    error: str = ""

    @property
    def exit_code(self) -> int:
        return HARNESS_FAILED if self.result is None else self.result.verdict.exit_code


def derived_seeds(base: str, scenario: str, seeds: Iterable[int]) -> list[int]:
    """Seeds that nobody has chosen: a function of a commit, so that each change is tried on new ones and any of them
    can be had again."""
    return [
        int.from_bytes(blake2b(f"{base}/{scenario}/{seed}".encode(), digest_size=8).digest(), "big") >> 1
        for seed in seeds
    ]


def run_task(task: Task) -> Outcome:
    """One run, where it is called. A harness that fails is an outcome, not an exception."""
    try:
        scenario = _loaded(task.path)
        result = run(scenario, task.seed)
    except PalmError as error:
        return Outcome(task=task, result=None, error=f"{type(error).__name__}: {error}")
    steps = with_chaos(scenario, task.seed)[0].script
    pairs = pairs_of(result.history, {step.id: step.do for step in steps})
    slim = History(entries=(), end_ns=result.history.end_ns)
    return Outcome(task=task, result=replace(result, history=slim), pairs=pairs)


@lru_cache(maxsize=64)
def _loaded(path: str) -> Scenario:
    return load(path)


def end_with_parent() -> None:
    """In a process of a sweep: end when the one that asked for it is gone, however it went."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "only processes of a pool are told this"

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def sweep(tasks: Iterable[Task], jobs: int) -> Generator[Outcome, None, None]:
    """The outcomes in the order of the tasks. Whoever stops taking them stops the sweep: close the iterator.

    Raises HarnessError when a process of the sweep dies.
    """
    yield from spread(run_task, tasks, jobs)


def spread(function: Callable[[T], R], tasks: Iterable[T], jobs: int) -> Generator[R, None, None]:
    """`function` of each task, in their order, in that many processes; as `sweep` does it. A function of a module."""
    if jobs <= 1:
        yield from map(function, tasks)
        return
    pool = ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"), initializer=end_with_parent)
    try:
        waiting: deque[Future[R]] = deque()
        for task in tasks:
            waiting.append(pool.submit(function, task))
            if len(waiting) >= jobs * (AHEAD + 1):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise HarnessError("a process of the sweep died; run its seeds with --jobs 1 to see which") from error
    finally:
        pool.shutdown(cancel_futures=True)
