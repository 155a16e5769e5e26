"""What runs on real processes is decided before they start: what is left out, and how a scenario is made smaller."""

from __future__ import annotations

from pathlib import Path

import pytest

from palm.errors import ScenarioError
from palm.sim.scenario.scenario import load, parse
from palm.sim.scenario.script import At
from palm.testing.real.able import able
from palm.testing.real.scale import scaled

ROOT = Path(__file__).parents[2]
SCRIPT = """
palm: scenario/1
name: small
about: Faults of all sorts.
clock: {{limit: 30s}}
world:
  registry: {{members: {members}}}
  hosts: {{edge: , one: }}
  servers:
    clean: {{run: "examples/text/clean.py:Clean", hosts: [one], instances: 2}}
load:
  - {{id: main, client: edge, route: [clean.line], messages: {{count: 200, payload: words}}}}
script:
  - {{id: jump, at: 1s, do: jump-clock, who: clean, by: 1h}}
  - {{id: late, after: {{step: jump, plus: 1s}}, do: crash, who: "clean[0]"}}
  - {{id: away, at: 2s, do: registry.lose-quorum, for: 2s}}
  - {{id: apart, at: 4s, do: cut, link: "edge -> one", for: 2s}}
"""


def test_what_real_processes_cannot_do_is_left_out_by_name() -> None:
    """Also what waits for such a step; one member has no quorum to lose, three have."""
    steps, said = able(parse(SCRIPT.format(members=1), str(ROOT / "small.yaml")))
    assert [step.id for step in steps] == ["apart"]
    assert said == [
        "step jump: jump-clock: all processes share the clock of this machine",
        "step late: it needs jump",
        "step away: registry.lose-quorum needs a registry of three members; this one has one",
    ]
    steps, said = able(parse(SCRIPT.format(members=3), str(ROOT / "small.yaml")))
    assert [step.id for step in steps] == ["away", "apart"] and len(said) == 2


def test_a_smaller_scenario_has_fewer_messages_and_a_shorter_script() -> None:
    """Counts, moments and durations shrink alike; rates and leases stay."""
    whole = load(ROOT / "scenarios" / "partition.yaml")
    small = scaled(whole, 0.1)
    assert small.load[0].messages.count == 500 and small.load[0].rate == whole.load[0].rate
    assert small.world == whole.world and small.clock == whole.clock
    first = small.script[0]
    assert first.trigger == At(at_ns=500_000_000)
    assert getattr(first.action, "for_ns", None) == 1_200_000_000


def test_a_scenario_that_knows_all_its_results_is_not_made_smaller() -> None:
    """Half of the messages have other results."""
    with pytest.raises(ScenarioError, match="without --scale"):
        scaled(load(ROOT / "scenarios" / "reduce" / "ran-twice.yaml"), 0.5)
