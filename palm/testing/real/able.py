"""What real processes can do of a scenario, and what they cannot: the latter is left out, and said."""

from __future__ import annotations

from palm.sim.scenario import actions
from palm.sim.scenario.names import SameAs, members_meant
from palm.sim.scenario.scenario import Scenario
from palm.sim.scenario.script import After, Step

ALWAYS = (
    actions.OnLink
    | actions.Heal
    | actions.Crash
    | actions.Drain
    | actions.Restart
    | actions.Freeze
    | actions.Cancel
    | actions.RegistryDown
    | actions.Compact
    | actions.Expire
)
WITH_MEMBERS = actions.LoseQuorum | actions.ChangeLeader
REASONS = {
    "reset": "the shim carries whole messages, and no proxy stands between the processes",
    "busy": "how long user code takes is the server's `service`",
    "drift": "all processes share the clock of this machine",
    "jump-clock": "all processes share the clock of this machine",
    "disk-full": "the quota of etcd is not filled",
    "upgrade": "each process runs the class of the file",
    "scale": "the processes are those of the file",
    "point": "a mark is heard of after user code went on",
    "registry.lag-watch": "the shim delays watches by cuts only",
    "registry.drop-watch": "the shim delays watches by cuts only",
    "registry.unsure": "the shim loses answers by one-way cuts only",
    "registry.refuse": "the etcd of a run wants no password",
}


def able(scenario: Scenario) -> tuple[tuple[Step, ...], list[str]]:
    """The steps that real processes can do, and in words what is left out."""
    skipped: dict[str, str] = {}
    for step in scenario.script:
        why = _why_not(step, scenario)
        if why is None and (needed := _needs(step) & skipped.keys()):
            why = f"it needs {', '.join(sorted(needed))}"
        if why is not None:
            skipped[step.id] = why
    steps = tuple(step for step in scenario.script if step.id not in skipped)
    said = [f"step {name}: {why}" for name, why in skipped.items()]
    return steps, said + _world(scenario)


def _why_not(step: Step, scenario: Scenario) -> str | None:
    action, several = step.action, scenario.world.registry.members > 1
    if isinstance(action, actions.OnLink | actions.Heal | actions.Reset) and action.link is not None:
        ends = [members_meant(end) for end in (action.link.src, action.link.dst)]
        if all(ends) or any(end is not None and end.is_one for end in ends):
            return "the shim stands before the registry as a whole, and not between its members"
    if isinstance(action, actions.Crash) and action.memory == "kept":
        return "crash: a process that is killed keeps no memory; `freeze` stops one that does"
    if isinstance(action, WITH_MEMBERS):
        return None if several else f"{step.do} needs a registry of three members; this one has one"
    if isinstance(action, ALWAYS):
        return None
    return f"{step.do}: {REASONS.get(step.do, 'real processes have no such thing')}"


def _needs(step: Step) -> set[str]:
    """Steps without which it cannot come, or has no subject."""
    needed = set()
    if isinstance(step.trigger, After):
        needed.add(step.trigger.step)
    elif during := getattr(step.trigger, "during", None):
        needed.add(during)
    who = getattr(step.action, "who", None)
    if isinstance(who, SameAs):
        needed.add(who.step)
    return needed


def _world(scenario: Scenario) -> list[str]:
    registry = scenario.world.registry
    said = []
    if registry.watch.progress_ns is not None:
        said.append("world.registry.watch.progress: etcd has its own time for that")
    if registry.watch.overtakes:
        said.append("world.registry.watch.overtakes: it is as that etcd is")
    if registry.auth is not None:
        said.append("world.registry.auth: the etcd of a run wants no password")
    if registry.history is not None:
        said.append("world.registry.history: a real etcd keeps all revisions of so short a run")
    said += [
        f"world.servers.{name}.memory: it is volatile there"
        for name, server in scenario.world.servers.items()
        if server.memory == "durable"
    ]
    said += [f"stores.{use.id}: nobody uses the store there" for use in scenario.stores]
    return said
