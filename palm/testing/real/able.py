"""What a scenario needs of real processes, and what of it cannot be had: that is said before anything is started, each
with the way out, and the run is inconclusive. Nothing is left out in silence."""

from __future__ import annotations

from dataclasses import dataclass

from palm.sim.history import EntryKind
from palm.sim.scenario import actions
from palm.sim.scenario.names import TheRegistry, members_meant
from palm.sim.scenario.scenario import Scenario
from palm.sim.scenario.script import Step, When

MADE = (
    actions.OnLink
    | actions.Heal
    | actions.Reset
    | actions.OnProcesses
    | actions.Scale
    | actions.Point
    | actions.Cancel
    | actions.RegistryDown
    | actions.LoseQuorum
    | actions.ChangeLeader
    | actions.Compact
    | actions.LagWatch
    | actions.DropWatch
    | actions.Unsure
)
"""Every action that this version has a way to make; one that is added to the language is refused until it has."""

ON_PEERS = actions.Reset
"""Done to connections: a proxy stands before each peer that is dialed."""
ON_REGISTRY = actions.Reset | actions.LagWatch | actions.DropWatch | actions.Unsure
"""The same before each member of etcd."""
UNSEEN = {
    EntryKind.CUT_SHORT.value: "a real disk tells nobody",
    EntryKind.SUSPENDED.value: "no process is",
    EntryKind.RESUMED.value: "no process is",
}
"""Events that only the simulator sees."""
SEVERAL = 3
"""Members of a registry whose leader can change, or that can lose its quorum."""


@dataclass(frozen=True, slots=True)
class Needs:
    """How processes must be made for what a script does to them; what no script needs costs nothing."""

    proxies_to_peers: bool
    proxies_to_registry: bool
    clocks: bool
    pace: bool
    members: int


def needs(scenario: Scenario) -> Needs:
    done = [step.action for step in scenario.script]
    several = any(_is_of_members(step) for step in scenario.script)
    members = scenario.world.registry.members
    return Needs(
        proxies_to_peers=any(isinstance(action, ON_PEERS) for action in done),
        proxies_to_registry=any(isinstance(action, ON_REGISTRY) for action in done),
        clocks=any(isinstance(action, actions.Drift | actions.JumpClock) for action in done),
        pace=any(isinstance(action, actions.Busy) for action in done),
        members=max(SEVERAL, members) if several else members,
    )


def impossible(scenario: Scenario) -> list[str]:
    """What real processes cannot do of the script, why, and the way out: a line each."""
    return [
        f"step {step.id}: {step.do}: {why}"
        for step in scenario.script
        if (why := _why_not(step)) is not None
    ]


def notes(scenario: Scenario) -> list[str]:
    """What is not as the file has it, though no fault of its script."""
    registry, members = scenario.world.registry, needs(scenario).members
    said = []
    if members > registry.members:
        said.append(f"world.registry.members: {members}, not {registry.members}: the script needs a leader to change")
    if registry.watch.progress_ns is not None:
        said.append("world.registry.watch.progress: etcd has its own time for that")
    if registry.watch.overtakes:
        said.append("world.registry.watch.overtakes: it is as that etcd is")
    if registry.auth is not None:
        said.append("world.registry.auth: the etcd of a run wants no password")
    return said


def _why_not(step: Step) -> str | None:
    action = step.action
    if isinstance(step.trigger, When) and step.trigger.event in UNSEEN:
        return f"it waits for {step.trigger.event}, which {UNSEEN[step.trigger.event]}; run the file with --world sim"
    if isinstance(step.trigger, When) and step.trigger.event == "committing":
        return "a commit is over before anybody hears of it; wait for another event, or run the file with --world sim"
    if isinstance(action, actions.OnLink | actions.Heal | actions.Reset) and action.link is not None:
        ends = [members_meant(end) for end in (action.link.src, action.link.dst)]
        if all(ends) or any(end is not None and end.is_one for end in ends):
            return (
                "shim and proxies stand before the registry as a whole, and not between its members; say `registry`, "
                "or run the file with --world sim"
            )
    if isinstance(action, actions.Refuse):
        return "the etcd of a run wants no password; run the file with --world sim, or take the step out"
    if not isinstance(action, MADE):
        return "nothing here makes it yet; run the file with --world sim, or take the step out"
    if isinstance(action, actions.Crash) and action.memory != "lost":
        return (
            "a process that is killed keeps no memory; `freeze` stops one that does, or run the file with --world sim"
        )
    return None


def _is_of_members(step: Step) -> bool:
    action = step.action
    who = getattr(action, "who", None)
    if isinstance(who, TheRegistry) and who.is_one:
        return True
    return isinstance(action, actions.LoseQuorum | actions.ChangeLeader)
