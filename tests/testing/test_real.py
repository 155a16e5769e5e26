"""What runs on real processes is decided before they start: what is left out, and how a scenario is made smaller."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from palm.errors import ScenarioError
from palm.sim.checkers import Verdict
from palm.sim.scenario.scenario import Scenario, load, parse
from palm.sim.scenario.script import At, Step, When
from palm.testing.real.able import Needs, impossible, needs, notes
from palm.testing.real.run import run_real
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An action of a later version."""

    lasts: bool = False


def parsed(members: int = 1) -> Scenario:
    return parse(SCRIPT.format(members=members), str(ROOT / "small.yaml"))


def test_a_script_needs_no_more_than_what_is_done_in_it() -> None:
    """Clocks of their own for a jump; three members where a quorum is to be lost; no proxies for a cut."""
    assert needs(parsed()) == Needs(
        proxies_to_peers=False, proxies_to_registry=False, clocks=True, pace=False, members=3
    )
    assert notes(parsed()) == ["world.registry.members: 3, not 1: the script needs a leader to change"]
    assert notes(parsed(members=5)) == [] and impossible(parsed()) == []


def test_what_real_processes_cannot_do_ends_a_run_before_it_begins() -> None:
    """With the step, the reason and the way out; the verdict is inconclusive, as nothing was shown."""
    scenario = parsed()
    kept = Step(id="kept", trigger=At(at_ns=1), action=Kept(), do="freeze-drying", line=1)  # type: ignore[arg-type]  # of a later version
    result = run_real(replace(scenario, script=(*scenario.script, kept)), "small.yaml", 7)
    assert result.verdict is Verdict.INCONCLUSIVE and result.checks == () and result.history.entries == ()
    assert result.impossible == (
        "step kept: freeze-drying: nothing here makes it yet; run the file with --world sim, or take the step out",
    )


def test_a_step_that_waits_for_what_real_processes_never_show_is_refused() -> None:
    """Else it would never be done, and the run would end at its limit."""
    scenario = parsed()
    waits = replace(scenario.script[0], id="waits", trigger=When(event="cut-short", server="clean"))
    [said] = impossible(replace(scenario, script=(waits,)))
    assert said.startswith("step waits: jump-clock: it waits for cut-short, which a real disk tells nobody; run")


@pytest.mark.parametrize(
    ("file", "steps", "said"),
    [
        ("registered/suspended", ["lid"], "a process that is killed keeps no memory; `freeze` stops one that does"),
        ("store/disks", ["first", "second", "third"], "a commit is over before anybody hears of it"),
        ("store/disk-full", [], ""),
        ("restart/schemas", [], ""),
        ("butterfly/workers", [], ""),
    ],
)
def test_each_scenario_of_the_simulator_alone_says_why(file: str, steps: list[str], said: str) -> None:
    """And those that name both worlds can be had in both."""
    scenario = load(ROOT / "scenarios" / f"{file}.yaml")
    assert [line.split(":")[0] for line in impossible(scenario)] == [f"step {step}" for step in steps]
    assert all(said in line and "--world sim" in line for line in impossible(scenario))
    assert ("real" in scenario.runs.worlds) == (not steps)


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
