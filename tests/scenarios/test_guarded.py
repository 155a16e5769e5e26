"""Every scenario of this repository under the determinism guard, with one seed."""

from __future__ import annotations

from pathlib import Path
from typing import Generator

import pytest

from palm.sim.guard import Guarded, guard_each
from palm.sim.scenario.scenario import load

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.timeout(600)  # whole runs, on a machine that others may use
SCENARIOS = sorted((ROOT / "scenarios").rglob("*.yaml"))


@pytest.fixture(scope="module")
def guarded(request: pytest.FixtureRequest) -> Generator[Guarded, None, None]:
    """The files whose tests were asked for, each in the two processes that all of them share, in their order."""
    asked = [item.callspec.params["path"] for item in request.session.items if item.path == request.path]
    found = guard_each([(path, load(path).runs.seeds.pinned[0]) for path in asked])
    yield found
    found.close()


@pytest.mark.parametrize("path", SCENARIOS, ids=[path.stem for path in SCENARIOS])
def test_a_scenario_of_ours_runs_the_same_in_two_processes(
    path: Path, guarded: Generator[Guarded, None, None]
) -> None:
    """Whatever the hash seed, the addresses, the time zone and the real time are."""
    found = next(guarded)
    assert found.difference is None and found.events > 1000
    assert found.trace_hashes[0] == found.trace_hashes[1] != ""
