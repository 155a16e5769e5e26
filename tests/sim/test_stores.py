"""The scenarios of stores: each breaks when what protects it is taken out."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from palm.core import keeper, replica
from palm.runtime import election
from palm.sim.checkers import Verdict
from palm.sim.scenario.scenario import load
from palm.sim.simulation import Result, run
from tests.support.twin import twin

FOLDER = Path(__file__).parents[2] / "scenarios" / "store"


def run_pinned(name: str) -> list[Result]:
    scenario = load(FOLDER / f"{name}.yaml")
    return [run(scenario, seed) for seed in scenario.runs.seeds.pinned]


TWINS = [
    # The leader's own clock: without it, whoever is on its side reads what is over.
    (
        "partition",
        election,
        "            self._post(Elected(self._term, self._registration.valid_until - MARGIN))\n",
        "            self._post(Elected(self._term, 1 << 62))\n",
    ),
    # An answer only when every copy that counts has the write.
    (
        "minority",
        keeper,
        "                    safe = min(safe, -1 if mate is None else self._version_of(mate.state))\n",
        "                    pass\n",
    ),
    # A copy on a disk has a write once the disk has it.
    (
        "disks",
        replica,
        "        if not self.durable:\n            self.kept = self.store.position\n            return\n",
        "        self.kept = self.store.position\n        if not self.durable:\n            return\n",
    ),
    # What a disk has refused is on no disk.
    ("disk-full", replica, "        if not error:\n            del", "        if True:\n            del"),
]


@pytest.mark.parametrize(
    ("name", "module", "line", "instead"), TWINS, ids=["no clock", "no copies", "no fsync", "no look at the error"]
)
def test_the_scenario_breaks_without(name: str, module: ModuleType, line: str, instead: str) -> None:
    """What clients saw fits into no order any more, on one of the pinned seeds."""
    with twin(module, line, instead):
        broken = [
            check.check for result in run_pinned(name) for check in result.checks if check.verdict is Verdict.BROKEN
        ]
    assert "linearizable" in broken
