"""Every scenario file of the repository holds under its pinned seeds and the first twenty."""

from __future__ import annotations

from pathlib import Path

import pytest

from palm.sim.scenario.scenario import load
from palm.sim.sweep import Task, run_task

ROOT = Path(__file__).parents[2] / "scenarios"
FILES = sorted(str(path.relative_to(ROOT)) for path in ROOT.rglob("*.yaml") if "found" not in path.parts)
SEEDS = range(20)

pytestmark = pytest.mark.timeout(600)  # whole runs, on a machine that others may use


@pytest.mark.parametrize("file", FILES)
def test_the_scenario_holds_under_twenty_seeds(file: str) -> None:
    """Nothing broken, nothing inconclusive: every fault bit, what must be seen was, and the ledger is exact."""
    pinned = load(ROOT / file).runs.seeds.pinned
    for seed in dict.fromkeys([*pinned, *SEEDS]):
        outcome = run_task(Task(str(ROOT / file), seed))
        assert outcome.result is not None, f"palm simulate {file} --seed {seed}: {outcome.error}"
        bad = [(one.check, one.why) for one in outcome.result.checks if one.verdict.exit_code]
        assert not bad, f"palm simulate {file} --seed {seed}"
        assert outcome.result.ledger.adds_up and outcome.result.ledger.in_flight == 0
