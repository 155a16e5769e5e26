"""Calls from handlers in the simulator: the scenario, its twins, the ledger's marks, and that a run replays."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from palm.sim import host as host_module
from palm.sim.checkers import Verdict
from palm.sim.history import EntryKind
from palm.sim.scenario.scenario import load
from palm.sim.simulation import Result, run
from palm.testing.simulate import simulate
from tests.support import functions
from tests.support.twin import twin

CALLS = Path(__file__).parents[2] / "scenarios" / "calls"


def run_of(seed: int = 3) -> Result:
    return run(load(CALLS / "nested.yaml"), seed)


def test_nested_calls_need_one_life_for_a_process_and_its_client() -> None:
    """A client that goes on after its process died is no part of it: those it asked would remember it for ever."""
    line = "        for part in self._attached:\n            part.crash()\n"
    assert broken(host_module, line, "") is not Verdict.HOLDS


def broken(module: ModuleType, line: str, instead: str) -> Verdict:
    with twin(module, line, instead):
        return run_of().verdict


def test_marks_are_events_of_the_ledger() -> None:
    """With the place's name, the instance and the message."""
    with simulate(functions.Front, name="front", seed=1) as sim:
        sim.serve(functions.Back, name="back")
        assert list(sim.client().map([b"x", b"y"], "front.marked", ordered=True)) == [b"x", b"y"]
        marks = [entry for entry in sim.cluster.recorder.entries if entry.kind is EntryKind.MARK]
    assert [(mark.detail, mark.instance, mark.sequence) for mark in marks] == [
        ("half-way", "front[0]", 0),
        ("half-way", "front[0]", 1),
    ]


def test_a_frozen_process_freezes_with_its_client() -> None:
    """A call under way waits for the thaw, as all the rest of the process does."""
    with simulate(functions.Front, name="front", seed=2) as sim:
        sim.serve(functions.Back, name="back", service_s=0.5)
        client = sim.client()
        sim.at(3.1, lambda: sim.freeze("front[0]", seconds=20))
        sim.run(3.0)
        assert client.call("front.ask", b"x") == b"front(back(x))"
        assert sim.now > 23


def test_nested_calls_replay() -> None:
    """One seed, one course of events; another seed, another."""

    def hash_of(seed: int) -> str:
        with simulate(functions.Front, name="front", instances=2, seed=seed, service_s=0.002) as sim:
            sim.serve(functions.Back, name="back", instances=2, service_s=0.001)
            sim.at(0.8, lambda: sim.crash("front[1]"))
            client = sim.client()
            assert sorted(client.map([b"a"] * 200, "front.ask")) == [b"front(back(a))"] * 200
            assert sorted(client.map([b"a"] * 200, "front.aask")) == [b"front(back(a))"] * 200
            return sim.trace_hash

    assert hash_of(1) == hash_of(1) != hash_of(2)


def test_an_object_that_nobody_serves_says_so() -> None:
    """Rather than to wait for a cluster that it is not part of."""
    with pytest.raises(LookupError, match="this Front is not served"):
        functions.Front().ask(b"x")
