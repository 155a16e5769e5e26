"""The simulated cluster as the stage of a script."""

from __future__ import annotations

from functools import partial
from typing import Callable, Mapping, Sequence

from palm.sim.cluster import Cluster, Instance
from palm.sim.faults import (
    crash_registry,
    do_to_processes,
    do_to_registry,
    fill_registry,
    freeze_registry,
    reset_links,
    restart_registry,
)
from palm.sim.history import Entry
from palm.sim.kernel import Kernel
from palm.sim.network import Action as LinkAction
from palm.sim.network import Ends, Rule
from palm.sim.points import Points
from palm.sim.recorder import Recorder
from palm.sim.scenario import actions
from palm.sim.scenario.names import TheRegistry
from palm.sim.stage import Done


class SimStage:
    """`palm.sim.stage.Stage`. `on_cancel` cancels a job, and says how many of its messages had not ended."""

    def __init__(self, cluster: Cluster, on_cancel: Callable[[str], int]) -> None:
        self._cluster = cluster
        self._on_cancel = on_cancel
        self._points = Points(cluster)

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
        return self._cluster.world.network.lay(ends, action, name)

    def lift(self, rule: Rule) -> None:
        self._cluster.world.network.lift(rule)

    def cancel(self, job: str) -> Callable[[], int]:
        count = self._on_cancel(job)
        return lambda: count

    def act(self, step: str, action: actions.Action, who: Sequence[Instance]) -> Done:
        cluster = self._cluster
        match action:
            case actions.Crash(who=TheRegistry(leader=True)):
                return do_to_registry(actions.ChangeLeader(), cluster)
            case actions.Crash(who=TheRegistry()):
                return crash_registry(cluster)
            case actions.Restart(who=TheRegistry()):
                return restart_registry(cluster)
            case actions.Freeze(who=TheRegistry()):
                return freeze_registry(cluster, step, action.for_ns)
            case actions.DiskFull(who=TheRegistry()):
                return fill_registry(action, cluster)
            case actions.Reset():
                return reset_links(action, cluster)
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
