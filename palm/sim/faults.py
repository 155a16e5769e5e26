"""What the actions of a script do to processes and to the registry; each tells what it has touched, and how it ends.

Faults on links are rules of `palm.sim.network`; when things are done, and to whom, is `palm.sim.steps`.
"""

from __future__ import annotations

from functools import partial
from typing import Callable

from palm.sim.cluster import Cluster, Instance
from palm.sim.etcd.values import EtcdRefused
from palm.sim.host import Busy, Host
from palm.sim.network import Ends, Hold
from palm.sim.registry_server import ELECTION_NS, PLACE
from palm.sim.scenario import actions
from palm.sim.server_files import load_class
from palm.sim.stage import Done
from palm.sim.storage import Disk


def _count(count: int) -> Callable[[], int]:
    return lambda: count


# -- processes --------------------------------------------------------------------------------------------------------


def do_to_processes(action: actions.OnProcesses, who: list[Instance], cluster: Cluster) -> Done:
    """Everything but what the script does itself: deaths, restarts, and freezes."""
    hosts = [instance.host for instance in who if instance.host is not None and instance.is_up]
    match action:
        case actions.Crash():
            for instance in who:
                cluster.suspend(instance)
            return Done(touched=_count(len(hosts)))
        case actions.Busy():
            return _busy(action, hosts)
        case actions.Drift():
            return _drift(action, hosts)
        case actions.JumpClock():
            for host in hosts:
                host.clock.wall_offset += action.by_ns
            return Done(touched=_count(len(hosts) if action.by_ns else 0))
        case actions.Upgrade():
            make = load_class(action.to.file, action.to.class_name, cluster.world.kernel.seed)
            for instance in who:
                cluster.upgrade(instance, make)
            return Done(touched=_count(len(who)))
        case actions.Expire():
            return Done(touched=_count(sum(_expire(instance, cluster) for instance in who)))
        case actions.DiskFull():
            return _fill_disks(action, [disk for one in who if (disk := cluster.disks.get(one.name)) is not None])
    raise AssertionError(f"{action} is an action of the table without a line here")


def _busy(action: actions.Busy, hosts: list[Host]) -> Done:
    busy = Busy(action.by)
    for host in hosts:
        host.busy = busy

    def undo() -> None:
        for host in hosts:
            if host.busy is busy:
                host.busy = None

    return Done(touched=lambda: busy.bitten, undo=undo, for_ns=action.for_ns)


def _drift(action: actions.Drift, hosts: list[Host]) -> Done:
    for host in hosts:
        host.clock.drift(action.ppm)

    def undo() -> None:
        for host in hosts:
            host.clock.drift(0)

    return Done(touched=_count(len(hosts) if action.ppm else 0), undo=undo, for_ns=action.for_ns)


def _fill_disks(action: actions.DiskFull, disks: list[Disk]) -> Done:
    before = sum(disk.refused for disk in disks)
    for disk in disks:
        disk.full = True

    def undo() -> None:
        for disk in disks:
            disk.full = False

    return Done(touched=lambda: sum(disk.refused for disk in disks) - before, undo=undo, for_ns=action.for_ns)


def _expire(instance: Instance, cluster: Cluster) -> bool:
    registration = None if instance.serving is None else instance.serving.registration
    if registration is None or registration.lease is None:
        return False
    try:
        cluster.registry.expire(registration.lease)
    except EtcdRefused:  # it had ended, and the instance has not heard of that
        return False
    return True


# -- the registry -----------------------------------------------------------------------------------------------------


def do_to_registry(action: actions.OnRegistry, cluster: Cluster) -> Done:
    registry = cluster.registry
    match action:
        case actions.RegistryDown():
            touched = _bites(cluster, "down")
            registry.down()
            return Done(touched=touched, undo=registry.up, for_ns=action.for_ns)
        case actions.LoseQuorum():
            touched = _bites(cluster, "lose-quorum")
            rules = registry.lose_quorum()
            return Done(
                touched=lambda: touched() + sum(rule.bitten for rule in rules),
                undo=registry.regain_quorum,
                for_ns=action.for_ns,
            )
        case actions.ChangeLeader():
            return _change_leader(cluster)
        case actions.Compact():
            forgotten = registry.etcd.revision - max(1, registry.etcd.compact_revision)
            if forgotten:
                registry.compact()
            return Done(touched=_count(forgotten))
        case actions.LagWatch():
            registry.lag_watch(action.by_ns)
            touched = _bites(cluster, "lag-watch")
            return Done(touched=touched, undo=partial(registry.lag_watch, 0), for_ns=action.for_ns)
        case actions.DropWatch():
            touched = _bites(cluster, "drop-watch")
            registry.drop_watches()
            return Done(touched=touched)
        case actions.Unsure():
            registry.unsure(action.writes, action.applied)
            return Done(touched=_bites(cluster, "unsure"))
        case actions.Refuse():
            touched = _bites(cluster, "refuse")
            registry.refuse_users()
            return Done(touched=touched, undo=registry.trust_users, for_ns=action.for_ns)


def _change_leader(cluster: Cluster) -> Done:
    registry = cluster.registry
    if registry.members.count == 1:
        touched = _bites(cluster, "lose-quorum")
        registry.lose_quorum()
        return Done(touched=touched, undo=registry.regain_quorum, for_ns=ELECTION_NS)
    member = registry.members.who_leads()
    crash = crash_member(cluster, member)
    return Done(touched=crash.touched, undo=partial(registry.restart, member), for_ns=ELECTION_NS)


def fill_registry(action: actions.DiskFull, cluster: Cluster) -> Done:
    registry = cluster.registry
    registry.has_space = False

    def undo() -> None:
        registry.has_space = True

    return Done(touched=_bites(cluster, "no space"), undo=undo, for_ns=action.for_ns)


def crash_registry(cluster: Cluster) -> Done:
    """Until `restart_registry`."""
    touched = _bites(cluster, "down")
    cluster.registry.down()
    return Done(touched=touched)


def restart_registry(cluster: Cluster) -> Done:
    was_down = not cluster.registry.is_up
    cluster.registry.up()
    return Done(touched=_count(int(was_down)))


def freeze_registry(cluster: Cluster, name: str, for_ns: int) -> Done:
    """Connections stay, and nothing is answered until it goes on."""
    network = cluster.world.network
    rule = network.lay(Ends("*", PLACE, both=True), Hold(), name)
    return Done(touched=lambda: rule.bitten, undo=partial(network.lift, rule), for_ns=for_ns)


def crash_member(cluster: Cluster, member: int) -> Done:
    """Until `restart_member`. It has touched whoever was connected or tried to be; and all, where it led."""
    registry = cluster.registry
    touched, headless = _bites(cluster, registry.members.places[member]), _bites(cluster, "lose-quorum")
    led = registry.members.leader == member
    registry.crash(member)
    return Done(touched=lambda: touched() + (headless() if led else 0))


def restart_member(cluster: Cluster, member: int) -> Done:
    was_down = not cluster.registry.members.up[member]
    cluster.registry.restart(member)
    return Done(touched=_count(int(was_down)))


def freeze_member(cluster: Cluster, member: int, name: str, for_ns: int) -> Done:
    members = cluster.registry.members
    headless, led = _bites(cluster, "lose-quorum"), members.leader == member
    rule = members.freeze(member, name)
    return Done(
        touched=lambda: rule.bitten + (headless() if led else 0), undo=partial(members.thaw, member), for_ns=for_ns
    )


def reset_links(link: Ends, cluster: Cluster) -> Done:
    broken = cluster.world.fabric.reset(link) + cluster.registry.reset(link)
    return Done(touched=_count(broken))


def _bites(cluster: Cluster, trouble: str) -> Callable[[], int]:
    """How often the registry's trouble has bitten from now until it is asked."""
    before = cluster.registry.bitten.get(trouble, 0)
    return lambda: cluster.registry.bitten.get(trouble, 0) - before
