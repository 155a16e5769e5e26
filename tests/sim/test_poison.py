"""Poison messages at any stage: the scenarios hold, break without what protects them, and innocents get through."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

import pytest

from palm import RegisteredServer
from palm.core import client as client_module
from palm.core import dispatch
from palm.core import server as server_module
from palm.errors import DeadLettered
from palm.sim.checkers import Verdict
from palm.sim.scenario.scenario import load
from palm.sim.simulation import Result, run
from palm.testing import Simulation, simulate
from tests.support.twin import twin

FOLDER = Path(__file__).parents[2] / "scenarios" / "poison"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))


def run_of(name: str, seed: int | None = None) -> Result:
    scenario = load(FOLDER / f"{name}.yaml")
    return run(scenario, scenario.runs.seeds.pinned[0] if seed is None else seed)


@pytest.mark.parametrize("name", NAMES)
def test_the_scenario_holds_and_only_the_killer_is_lost(name: str) -> None:
    """On its pinned seeds: one dead letter after exactly three executions that ended an instance each."""
    scenario = load(FOLDER / f"{name}.yaml")
    server = scenario.load[0].route[-1].server
    for seed in scenario.runs.seeds.pinned:
        result = run_of(name, seed)
        assert [check for check in result.checks if check.verdict is not Verdict.HOLDS] == []
        assert (result.ledger.delivered, result.ledger.dead_lettered) == (scenario.load[0].messages.count - 1, 1)
        entries = result.history.entries
        [lost] = [entry.sequence for entry in entries if entry.kind.value == "dead-lettered"]
        assert len([e for e in entries if e.kind.value == "handling" and (e.sequence, e.server) == (lost, server)]) == 3


TWINS = [
    # The count of deaths at the first stage.
    (
        "first-stage",
        client_module,
        "                if len(dead) >= MAX_DEATHS:\n",
        "                if False:\n",
    ),
    # The word of the stage before.
    (
        "later-stage",
        server_module,
        "                exposed = self._exposed(event)\n",
        "                exposed: list[Effect] = []\n",
    ),
    # The leader's count of deaths.
    (
        "later-butterfly",
        dispatch,
        "                if len(deaths) >= MAX_DEATHS:\n",
        "                if False:\n",
    ),
]


@pytest.mark.parametrize(("name", "module", "line", "instead"), TWINS, ids=[one[0] for one in TWINS])
def test_without_what_protects_it_the_scenario_breaks(name: str, module: ModuleType, line: str, instead: str) -> None:
    """One instance after another dies, until none is left to take what remains."""
    with twin(module, line, instead):
        result = run_of(name)
    assert "drained" in [one.check for one in result.checks if one.verdict is Verdict.BROKEN], result.checks


class Head(RegisteredServer):
    def line(self, message):
        return message


class Frail(RegisteredServer):
    def measure(self, message):
        if message.startswith(b"kill"):
            os._exit(70)
        return message


def supervised(sim: Simulation, name: str, instances: int) -> None:
    """Start the dead again a second later, as a supervisor would."""

    def look() -> None:
        for index in range(instances):
            if not sim.instance(f"{name}[{index}]").is_up:
                sim.restart(f"{name}[{index}]")
        sim.at(sim.now + 1.0, look)

    sim.at(1.0, look)


@pytest.mark.parametrize("seed", range(3))
def test_three_killers_among_a_thousand_under_way_are_all_that_is_lost(seed: int) -> None:
    """At the second stage, in a full window, however many innocents are there when an instance dies."""
    with simulate(Head, name="head", instances=2, seed=seed) as sim:
        sim.serve(Frail, name="frail", instances=3, service_s=0.002)
        supervised(sim, "frail", 3)
        payloads = [b"kill %d" % n if n in (300, 310, 1700) else b"%d" % n for n in range(3000)]
        job = sim.client().job(payloads, ["head.line", "frail.measure"], errors="yield")
        ends = list(sim.client().submit(job))
    dead = [end for end in ends if isinstance(end, DeadLettered)]
    assert sorted(end.sequence or 0 for end in dead) == [300, 310, 1700]
    assert job.ledger.delivered == 2997
    assert all("3 instances of frail died while they had this message" in str(end) for end in dead)
    letters = {letter.sequence: letter for letter in job.dead_letters}
    assert letters[310].payload == b"kill 310" and letters[310].route == ["head.line", "frail.measure"]
    assert "3 instances of frail died" in letters[310].evidence
