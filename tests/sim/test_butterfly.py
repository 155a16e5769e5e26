"""The scenarios of butterfly servers: each breaks when what protects it is taken out."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from palm.core import dispatch
from palm.errors import HarnessError
from palm.runtime import election
from palm.sim.checkers import Verdict
from palm.sim.scenario.scenario import load
from palm.sim.simulation import Result, run
from tests.support.twin import twin

FOLDER = Path(__file__).parents[2] / "scenarios" / "butterfly"


def run_pinned(name: str) -> list[Result]:
    scenario = load(FOLDER / f"{name}.yaml")
    return [run(scenario, seed) for seed in scenario.runs.seeds.pinned]


def test_a_poison_message_is_the_only_one_that_is_lost() -> None:
    """One dead letter after three deaths; all others are delivered."""
    for result in run_pinned("poison"):
        assert (result.ledger.delivered, result.ledger.dead_lettered) == (749, 1)
        lost = [entry.sequence for entry in result.history.entries if entry.kind.value == "dead-lettered"]
        ran = [entry for entry in result.history.entries if entry.kind.value == "handling" and entry.sequence in lost]
        assert len(ran) == 3


TWINS = [
    # Who has a message that is given to another one: without it, the other one's answer is nobody's.
    (
        "worker-crash",
        dispatch,
        "            return\n        rows = self._rows[piece.header]\n        rows.update((s",
        "            return\n        rows = self._rows[piece.header]\n        dict().update((s",
        "exactly-once",
    ),
    # Whose answers count.
    (
        "worker-frozen",
        dispatch,
        "            if piece is None or piece.worker != worker:\n                continue\n            assert",
        "            assert",
        "",
    ),
    # The watch of the leader's key.
    (
        "leader-crash",
        election,
        "                await self._until_gone(revision)\n",
        "                await self._host.sleep(10**12)\n",
        "exactly-once",
    ),
    # The leader's own clock.
    (
        "leader-frozen",
        election,
        "            self._post(Elected(self._term, self._registration.valid_until - MARGIN))\n",
        "            self._post(Elected(self._term, 1 << 62))\n",
        "one-holder",
    ),
    # The count of deaths.
    (
        "poison",
        dispatch,
        "                if len(deaths) >= MAX_DEATHS:\n",
        "                if False:\n",
        "drained",
    ),
]


@pytest.mark.parametrize(("name", "module", "line", "instead", "check"), TWINS, ids=[one[0] for one in TWINS])
def test_without_what_protects_it_the_scenario_breaks(
    name: str, module: ModuleType, line: str, instead: str, check: str
) -> None:
    """The line is needed: without it the named check is broken; where none is named, the run falls over."""
    scenario = load(FOLDER / f"{name}.yaml")
    with twin(module, line, instead):
        if not check:
            with pytest.raises(HarnessError):
                run(scenario, scenario.runs.seeds.pinned[0])
            return
        result = run(scenario, scenario.runs.seeds.pinned[0])
    broken = [one.check for one in result.checks if one.verdict is Verdict.BROKEN]
    assert check in broken, result.checks
