"""Every scenario of this repository under the determinism guard, with one seed."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator

import pytest

from palm.sim.guard import Guard
from palm.sim.scenario.scenario import load

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.timeout(600)  # whole runs, on a machine that others may use
SCENARIOS = sorted((ROOT / "scenarios").rglob("*.yaml"))


@pytest.fixture(scope="module")
def guard() -> Iterator[Guard]:
    """The two processes that all of these runs share."""
    with Guard() as one:
        yield one


@pytest.mark.parametrize("path", SCENARIOS, ids=[path.stem for path in SCENARIOS])
def test_a_scenario_of_ours_runs_the_same_in_two_processes(path: Path, guard: Guard) -> None:
    """Whatever the hash seed, the addresses, the time zone and the real time are."""
    found = guard.compare(path, load(path).runs.seeds.pinned[0])
    assert found.difference is None and found.events > 1000
    assert found.trace_hashes[0] == found.trace_hashes[1] != ""
