"""A scenario made smaller, so that it runs on real processes in seconds: fewer messages, a shorter script.

Rates, leases, service times and what is expected stay as they are, so a fault that must outlast a lease bounds how
small a scenario can be made: its sightings say so.
"""

from __future__ import annotations

from dataclasses import replace

from palm.errors import ScenarioError
from palm.sim.chaos import with_chaos
from palm.sim.scenario.actions import Action
from palm.sim.scenario.expectations import Results
from palm.sim.scenario.scenario import Scenario, load
from palm.sim.scenario.script import After, At, Step, Trigger, When


def prepared(file: str, scale: float, seed: int) -> Scenario:
    """What the file holds, `plain` and `scaled`: the same in every process of a run."""
    return scaled(plain(load(file), seed), scale)


def plain(scenario: Scenario, seed: int) -> Scenario:
    """With the faults that its chaos block draws for that seed as plain steps."""
    return replace(with_chaos(scenario, seed)[0], chaos=None)


def scaled(scenario: Scenario, factor: float) -> Scenario:
    """`factor` times the messages, and `factor` times the script's moments, counts and durations. Raises ScenarioError
    where the expected results are those of all messages."""
    if factor == 1:
        return scenario
    expect = scenario.expect
    if any(isinstance(check, Results) for check in [*expect.always, *expect.eventually, *expect.finally_]):
        raise ScenarioError(f"{scenario.name}: its expected results are those of all messages: run it without --scale")
    return replace(
        scenario,
        load=tuple(
            replace(job, messages=replace(job.messages, count=max(1, round(job.messages.count * factor))))
            for job in scenario.load
        ),
        script=tuple(_step(step, factor) for step in scenario.script),
    )


def _step(step: Step, factor: float) -> Step:
    return replace(step, trigger=_trigger(step.trigger, factor), action=_action(step.action, factor))


def _trigger(trigger: Trigger, factor: float) -> Trigger:
    match trigger:
        case At(at_ns=at_ns):
            return replace(trigger, at_ns=round(at_ns * factor))
        case After(plus_ns=plus_ns):
            return replace(trigger, plus_ns=round(plus_ns * factor))
        case When(nth=nth):
            return replace(trigger, nth=max(1, round(nth * factor)))


def _action(action: Action, factor: float) -> Action:
    duration = getattr(action, "for_ns", None)
    return action if duration is None else replace(action, for_ns=round(duration * factor))
