"""The scenarios of reductions: each breaks when what protects it is taken out."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from palm.core import chain, client, reduction
from palm.sim.checkers import Verdict
from palm.sim.scenario.scenario import load
from palm.sim.simulation import run
from tests.support.twin import twin

FOLDER = Path(__file__).parents[2] / "scenarios" / "reduce"


TWINS = [
    # All messages of a table must be open.
    ("ran-twice", chain, "len(open_) < span.count or", "not open_ or", "results"),
    # The client keeps what no table has come for, and asks again.
    (
        "reducer-restarts",
        client,
        "        job.waiting.append(Waiting(left, attempt, flight.expires, link))\n",
        "",
        "results",
    ),
    # What is being folded is waited for.
    (
        "two-rounds",
        reduction,
        "            if any(partial.is_busy for partial in run.partials):\n                break\n",
        "",
        "results",
    ),
]


@pytest.mark.parametrize(("name", "module", "line", "instead", "check"), TWINS, ids=[one[0] for one in TWINS])
def test_without_what_protects_it_the_scenario_breaks(
    name: str, module: ModuleType, line: str, instead: str, check: str
) -> None:
    """The line is needed: without it the named check is broken."""
    scenario = load(FOLDER / f"{name}.yaml")
    with twin(module, line, instead):
        result = run(scenario, scenario.runs.seeds.pinned[0])
    broken = [one.check for one in result.checks if one.verdict is Verdict.BROKEN]
    assert check in broken, result.checks
