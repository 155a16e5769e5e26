"""Every scenario file of the repository holds under the first twenty seeds."""

from __future__ import annotations

from pathlib import Path

import pytest

from palm.sim.sweep import Task, run_task

ROOT = Path(__file__).parents[2] / "scenarios"
FILES = sorted(str(path.relative_to(ROOT)) for path in ROOT.rglob("*.yaml") if "found" not in path.parts)
SEEDS = range(20)

pytestmark = pytest.mark.timeout(600)  # whole runs, on a machine that others may use


@pytest.mark.parametrize("file", FILES)
def test_the_scenario_holds_under_twenty_seeds(file: str) -> None:
    """Nothing broken, nothing inconclusive: every fault bit, and everything that must be seen was."""
    for seed in SEEDS:
        outcome = run_task(Task(str(ROOT / file), seed))
        assert outcome.result is not None, f"palm simulate {file} --seed {seed}: {outcome.error}"
        bad = [(one.check, one.why) for one in outcome.result.checks if one.verdict.exit_code]
        assert not bad, f"palm simulate {file} --seed {seed}"
