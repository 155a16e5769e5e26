"""The scenarios of scatter-gather: each holds, and breaks when what protects it is taken out."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from palm.core import dispatch, scatter
from palm.runtime import election
from palm.sim.checkers import Verdict
from palm.sim.scenario.scenario import load
from palm.sim.simulation import run
from tests.support.twin import twin

FOLDER = Path(__file__).parents[2] / "scenarios" / "scatter"

TWINS: list[tuple[str, ModuleType, str, str]] = [
    # The time for parts.
    (
        "silent-shard",
        scatter,
        "                row.due = due\n                self._due.append((due, row))\n",
        "                pass\n",
    ),
    # What a lost worker had goes to another one.
    (
        "part-worker-crash",
        dispatch,
        "                    self._requeue(piece.part([i]), self._suspects)\n",
        "                    pass\n",
    ),
    # The watch of the leader's key.
    (
        "leader-crash",
        election,
        "                await self._until_gone(revision)\n",
        "                await self._host.sleep(10**12)\n",
    ),
]


@pytest.mark.parametrize("name", [path.stem for path in sorted(FOLDER.glob("*.yaml"))])
def test_the_scenario_holds_on_its_pinned_seeds(name: str) -> None:
    """Every expectation of the file, and the ledger, on each of them."""
    scenario = load(FOLDER / f"{name}.yaml")
    for seed in scenario.runs.seeds.pinned:
        result = run(scenario, seed)
        assert [check for check in result.checks if check.verdict is not Verdict.HOLDS] == []
        assert tuple(result.ledger) == (300, 300, 0, 0, 0, 0)


@pytest.mark.parametrize(("name", "module", "line", "instead"), TWINS, ids=[one[0] for one in TWINS])
def test_without_what_protects_it_the_scenario_breaks(name: str, module: ModuleType, line: str, instead: str) -> None:
    """The line is needed: without it some messages are not delivered."""
    scenario = load(FOLDER / f"{name}.yaml")
    with twin(module, line, instead):
        result = run(scenario, scenario.runs.seeds.pinned[0])
    broken = [one.check for one in result.checks if one.verdict is Verdict.BROKEN]
    assert "exactly-once" in broken, result.checks
