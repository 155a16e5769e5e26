"""The simulated cluster as the stage of a script."""

from __future__ import annotations

from functools import partial
from typing import Callable, Mapping, Sequence

from palm.sim.cluster import Cluster, Instance
from palm.sim.faults import (
    crash_member,
    crash_registry,
    do_to_processes,
    do_to_registry,
    fill_registry,
    freeze_member,
    freeze_registry,
    reset_links,
    restart_member,
    restart_registry,
)
from palm.sim.history import Entry
from palm.sim.kernel import Kernel
from palm.sim.network import Action as LinkAction
from palm.sim.network import Ends, Rule
from palm.sim.points import Points
from palm.sim.recorder import Recorder
from palm.sim.scenario import actions
from palm.sim.scenario.names import SameAs, Target, TheRegistry, members_meant
from palm.sim.stage import Done


class SimStage:
    """`palm.sim.stage.Stage`. `on_cancel` cancels a job, and says how many of its messages had not ended."""

    def __init__(self, cluster: Cluster, on_cancel: Callable[[str], int]) -> None:
        self._cluster = cluster
        self._on_cancel = on_cancel
        self._points = Points(cluster)
        self._members: dict[str, int | None] = {}
        """By step that was done to the registry: to which member; None: to all."""

    @property
    def clock(self) -> Kernel:
        return self._cluster.world.kernel

    @property
    def recorder(self) -> Recorder:
        return self._cluster.recorder

    @property
    def instances(self) -> Mapping[str, Sequence[Instance]]:
        return self._cluster.instances

    def leader(self, server: str) -> Sequence[Instance]:
        return self._cluster.leader(server)

    def start(self, instance: Instance) -> None:
        self._cluster.start(instance)

    def crash(self, instance: Instance) -> None:
        self._cluster.crash(instance)

    def drain(self, instance: Instance) -> None:
        self._cluster.drain(instance)

    def freeze(self, instance: Instance) -> Callable[[], None]:
        host = instance.host
        assert host is not None, "only one that is up can be frozen"
        host.freeze()
        return host.thaw

    def lay(self, ends: Ends, action: LinkAction, name: str) -> Rule:
        return self._cluster.world.network.lay(self._ends(ends), action, name)

    def lift(self, rule: Rule) -> None:
        self._cluster.world.network.lift(rule)

    def cancel(self, job: str) -> Callable[[], int]:
        count = self._on_cancel(job)
        return lambda: count

    def act(self, step: str, action: actions.Action, who: Sequence[Instance]) -> Done:
        cluster = self._cluster
        match action:
            case actions.Crash() if self._is_registry(action.who):
                member = self._member(step, action.who)
                return crash_registry(cluster) if member is None else crash_member(cluster, member)
            case actions.Restart() if self._is_registry(action.who):
                member = self._member(step, action.who)
                return restart_registry(cluster) if member is None else restart_member(cluster, member)
            case actions.Freeze(for_ns=for_ns) if self._is_registry(action.who):
                member = self._member(step, action.who)
                if member is None:
                    return freeze_registry(cluster, step, for_ns)
                return freeze_member(cluster, member, step, for_ns)
            case actions.DiskFull(who=TheRegistry()):
                return fill_registry(action, cluster)
            case actions.Reset():
                return reset_links(self._ends(action.link), cluster)
            case actions.Point():
                self._points.arm(step, action)
                touched = self._points.touched
                undo = partial(self._points.disarm, step)
                return Done(touched=lambda: touched[step], undo=undo, for_ns=action.for_ns)
            case actions.Scale():
                count = cluster.scale(action.server, action.to)
                return Done(touched=lambda: count)
            case _ if isinstance(action, actions.OnRegistry):
                return do_to_registry(action, cluster)
            case _ if isinstance(action, actions.OnProcesses):
                return do_to_processes(action, list(who), cluster)
        raise AssertionError(f"{action} is an action of the table without a line here")

    def heard(self, entry: Entry) -> None:
        self._points.reached(entry)

    def _is_registry(self, who: Target) -> bool:
        return who.step in self._members if isinstance(who, SameAs) else isinstance(who, TheRegistry)

    def _member(self, step: str, who: Target) -> int | None:
        """Which member of the registry is meant; None for all of them."""
        member: int | None = None
        match who:
            case SameAs():
                member = self._members.get(who.step)
            case TheRegistry(leader=True):
                member = self._cluster.registry.members.who_leads()
            case TheRegistry():
                member = who.member
        self._members[step] = member
        return member

    def _ends(self, ends: Ends) -> Ends:
        """With the member that leads now in the place of `registry.leader`."""
        return Ends(self._end(ends.src), self._end(ends.dst), ends.both)

    def _end(self, end: str) -> str:
        who = members_meant(end)
        if who is None or not who.is_one:
            return end
        members = self._cluster.registry.members
        return members.places[members.who_leads() if who.member is None else who.member]
