"""Scatter-gather under faults: its scenarios, each with a twin that breaks, and results that are always whole."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from palm.core import dispatch, scatter
from palm.runtime import election
from palm.sim.checkers import Verdict
from palm.sim.scenario.scenario import load
from palm.sim.simulation import run
from palm.testing.simulate import Simulation, simulate
from tests.support import patterns
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


@pytest.mark.parametrize(("name", "module", "line", "instead"), TWINS, ids=[one[0] for one in TWINS])
def test_without_what_protects_it_the_scenario_breaks(name: str, module: ModuleType, line: str, instead: str) -> None:
    """The line is needed: without it some messages are not delivered."""
    scenario = load(FOLDER / f"{name}.yaml")
    with twin(module, line, instead):
        result = run(scenario, scenario.runs.seeds.pinned[0])
    broken = [one.check for one in result.checks if one.verdict is Verdict.BROKEN]
    assert "exactly-once" in broken, result.checks


troubles = st.lists(
    st.tuples(
        st.integers(0, 400),
        st.sampled_from(["crash", "freeze", "cut"]),
        st.integers(0, 3).map(lambda index: f"parts[{index}]"),
        st.sampled_from([0.3, 2.0, 7.0]),
    ),
    # A message that was with three workers when they died is dead-lettered, and rightly so.
    max_size=2,
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(trouble=troubles, seed=st.integers(0, 1000))
def test_whatever_goes_wrong_each_message_is_gathered_whole(
    trouble: list[tuple[int, str, str, float]], seed: int
) -> None:
    """All of its parts, each in its place, once; and nothing is left open."""
    messages = [b" ".join(b"%d" % (number * part) for part in range(number % 7 + 1)) for number in range(40)]
    with simulate(patterns.Parts, name="parts", instances=4, seed=seed, service_s=0.004) as sim:
        client = sim.client(timeout=300)
        for at_ms, what, who, for_s in trouble:
            sim.at(2 + at_ms / 1000, lambda what=what, who=who, for_s=for_s: strike(sim, what, who, for_s))  # type: ignore[misc]  # bound now
        sim.run(1.9)
        job = client.job(messages, "parts.tag", ordered=True)
        assert list(client.submit(job)) == [b"t ".join(message.split()) + b"t" for message in messages]
        assert tuple(job.ledger) == (40, 40, 0, 0, 0, 0)
        sim.run(12)
        assert sim.left_open() == []


def strike(sim: Simulation, what: str, who: str, for_s: float) -> None:
    if what == "crash":
        sim.crash(who)
        sim.at(sim.now + for_s, lambda: sim.restart(who))
    elif what == "freeze":
        sim.freeze(who, for_s)
    else:
        sim.cut(f"{who} <-> *", for_s)
