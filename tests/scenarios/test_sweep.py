"""Every scenario file of the repository holds under its pinned seeds and the first twenty; spread over all cores."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Iterator

import pytest

from palm.sim.scenario.scenario import load
from palm.sim.sweep import Outcome, Task, end_with_parent, run_task

ROOT = Path(__file__).parents[2] / "scenarios"
FILES = sorted(str(path.relative_to(ROOT)) for path in ROOT.rglob("*.yaml") if "found" not in path.parts)
SEEDS = range(20)

pytestmark = pytest.mark.timeout(600)  # whole runs, on a machine that others may use
CONTEXT = multiprocessing.get_context("spawn")


def seeds_of(file: str) -> list[int]:
    return list(dict.fromkeys([*load(ROOT / file).runs.seeds.pinned, *SEEDS]))


@pytest.fixture(scope="module")
def running(request: pytest.FixtureRequest) -> Iterator[dict[str, list[Future[Outcome]]]]:
    """All runs of the files whose tests were asked for, begun in their order."""
    asked = [item.callspec.params["file"] for item in request.session.items if item.path == request.path]
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), mp_context=CONTEXT, initializer=end_with_parent) as pool:
        yield {file: [pool.submit(run_task, Task(str(ROOT / file), seed)) for seed in seeds_of(file)] for file in asked}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("file", FILES)
def test_the_scenario_holds_under_twenty_seeds(file: str, running: dict[str, list[Future[Outcome]]]) -> None:
    """Nothing broken, nothing inconclusive: every fault bit, what must be seen was, and the ledger is exact."""
    for future in running[file]:
        outcome = future.result()
        assert outcome.result is not None, f"palm simulate {file} --seed {outcome.task.seed}: {outcome.error}"
        bad = [(one.check, one.why) for one in outcome.result.checks if one.verdict.exit_code]
        assert not bad, f"palm simulate {file} --seed {outcome.task.seed}"
        assert outcome.result.ledger.adds_up and outcome.result.ledger.in_flight == 0
