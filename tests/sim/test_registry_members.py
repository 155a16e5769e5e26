"""The simulated registry's members: what clients see of one that is dead, frozen or cut off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from palm.errors import Indefinite, RegistryUnavailable
from palm.ports.registry import Put, Revision
from palm.sim import registry as sim_registry
from palm.sim.host import Host
from palm.sim.kernel import NANOSECONDS
from palm.sim.members import STREAMS_END_NS, UNAWARE_NS
from palm.sim.network import Ends, Lose
from palm.sim.world import World
from tests.support.twin import twin

S = NANOSECONDS


class Scene:
    """Three members and some clients."""

    def __init__(self, seed: int = 7) -> None:
        self.world = World(seed, registry_members=3)
        self.kernel, self.network, self.server = self.world.kernel, self.world.network, self.world.registry
        self.members = self.server.members

    def client(self, at: int) -> Host:
        """A process that talks to that member first."""
        for number in range(1000):
            host = self.world.host(f"client-{at}-{number}")
            if not self.do(self._seen(host, at)):
                return host
        raise AssertionError("nobody begins there")

    async def _seen(self, host: Host, at: int) -> bool:
        """Whether it is not there."""
        await host.registry.get("/k")
        return all(session.member != at or session.up.path.src != host.place for session in self.server._sessions)

    def do(self, coroutine: Any) -> Any:
        return self.kernel.complete(coroutine, self.kernel.now + 1000 * S)

    def run(self, seconds: float) -> None:
        self.kernel.run(self.kernel.now + round(seconds * S))

    def follow(self, host: Host) -> list[tuple[int, float]]:
        """What a watch of "/k" hands on, and when."""
        seen: list[tuple[int, float]] = []

        async def read() -> None:
            async for changes in host.registry.watch("/k", Revision(0)):
                seen.extend((change.record.mod_revision, self.kernel.now / S) for change in changes)

        host.spawn(read(), "follow")
        self.run(0.1)
        return seen

    @property
    def others(self) -> list[int]:
        return [member for member in range(3) if member != self.members.leader]

    @property
    def leader(self) -> int:
        assert self.members.leader is not None
        return self.members.leader


def test_clients_spread_over_the_members() -> None:
    """Forty clients do not all begin with the same one."""
    scene = Scene()
    hosts = [scene.world.host(f"client-{number}") for number in range(40)]
    for host in hosts:
        scene.do(host.registry.get("/k"))
    at = [session.member for session in scene.server._sessions]
    assert min(at.count(member) for member in range(3)) >= 5


def test_a_dead_follower_costs_its_clients_a_connection() -> None:
    """Refused at once, answered by the next: no time is lost, and the others notice nothing."""
    scene = Scene()
    follower = scene.others[0]
    here, there = scene.client(follower), scene.client(scene.leader)
    scene.server.crash(follower)
    for host in (here, there):
        began = scene.kernel.now
        scene.do(host.registry.put("/k", b""))
        assert (scene.kernel.now - began) / S < 0.5
    assert scene.server.bitten[scene.members.places[follower]] >= 1


def test_a_dead_leader_leaves_requests_without_an_answer_for_an_election() -> None:
    """Followers believe in it until they are tired of waiting; a read that waits there is answered then, and a write
    may be lost on its way to the dead one."""
    scene = Scene()
    host = scene.client(scene.others[0])
    scene.server.crash(scene.leader)
    began = scene.kernel.now
    scene.do(host.registry.get("/k"))
    assert 1.0 <= (scene.kernel.now - began) / S < 2.1
    scene.server.crash(scene.leader)  # of the two that are left one cannot lead
    with pytest.raises((Indefinite, RegistryUnavailable)):
        scene.do(host.registry.transact([], [Put(key="/k", value=b"")]))
    assert scene.server.etcd.revision == 1


def test_a_member_that_is_cut_off_says_so_after_a_while() -> None:
    """First it does not answer, then it has no leader; the others elect one, and its clients go there."""
    scene = Scene()
    leader = scene.leader
    host = scene.client(leader)
    rule = scene.network.cut(scene.members.places[leader], "registry")
    assert scene.members.leader is None and scene.members.is_unaware(leader)
    scene.run(2.1)
    assert scene.leader != leader and not scene.members.is_unaware(leader) and not scene.members.serves(leader)
    began = scene.kernel.now
    scene.do(host.registry.put("/k", b""))
    assert (scene.kernel.now - began) / S < 0.5 and rule.bitten >= 1
    scene.network.heal()
    assert scene.members.serves(leader)


def _cut_off(scene: Scene, member: int) -> None:
    scene.network.cut(scene.members.places[member], "registry")


def _frozen(scene: Scene, member: int) -> None:
    scene.members.freeze(member, "frozen")


@pytest.mark.parametrize(
    ("trouble", "line", "instead", "within_s"),
    [
        (
            _cut_off,
            "                    self._again(watch, line, 1)\n",
            "                    pass\n",
            (UNAWARE_NS + STREAMS_END_NS) / S + 0.5,
        ),
        (
            _frozen,
            "            self._leave(line)\n            line.throw_away()\n            return\n",
            "            line.heard_at = now\n",
            4.5,
        ),
    ],
    ids=["cut off", "frozen"],
)
def test_a_watch_leaves_a_member_that_knows_nothing_new(
    trouble: Callable[[Scene, int], None], line: str, instead: str, within_s: float
) -> None:
    """A follower that is cut off ends the watch, from a frozen one nothing comes: it goes on elsewhere, and misses
    nothing. Its owner asks for nothing else meanwhile. Without the line that does it, it stays."""

    def seen_in_time() -> bool:
        scene = Scene()
        follower = scene.others[0]
        watcher, writer = scene.client(follower), scene.client(scene.leader)
        seen = scene.follow(watcher)
        trouble(scene, follower)
        began = scene.kernel.now / S
        revision = scene.do(writer.registry.put("/k", b""))
        scene.run(within_s)
        if [one for one, _ in seen] != [revision]:
            return False
        assert seen[0][1] > began + 1, "it was not at that member: this proves nothing"
        return True

    assert seen_in_time()
    with twin(sim_registry, line, instead):
        assert not seen_in_time()


def test_a_renewal_waits_for_a_dead_member_half_of_its_time_at_most() -> None:
    """With the least of leases, too: two seconds, of which a renewal has half a second."""
    scene = Scene()
    member = scene.others[0]
    host = scene.client(member)
    lease = scene.do(host.registry.grant(2))
    scene.members.freeze(member, "frozen")
    began = scene.kernel.now
    assert scene.do(host.registry.keep_alive(lease.id)) == 2
    assert 0.2 < (scene.kernel.now - began) / S < 0.5


def test_links_to_one_member_are_its_own() -> None:
    """A rule for one touches no other, one for the registry all, and `*` nothing between them."""
    scene = Scene()
    host = scene.client(1)
    places = scene.members.places
    scene.network.cut(host.place, places[1])
    assert [scene.network.passes(host.place, place) for place in places] == [True, False, True]
    scene.network.heal()
    scene.network.cut("*", "registry")
    assert not any(scene.network.passes(host.place, place) for place in places)
    assert scene.network.passes(places[0], places[1]) and scene.members.leader is not None
    scene.network.heal()
    scene.network.lay(Ends("*", places[2], True), Lose(1.0))
    assert scene.network.passes(places[0], places[2])


def test_a_lost_majority_ends_no_lease() -> None:
    """Two of three are frozen for longer than a lease: it is there when they come back, with all its time."""
    scene = Scene()
    host = scene.client(0)
    lease = scene.do(host.registry.grant(4))
    scene.do(host.registry.put("/k", b"", lease.id))
    scene.server.lose_quorum()
    scene.run(20)
    scene.server.regain_quorum()
    scene.run(5)
    assert len(scene.do(host.registry.get("/k")).records) == 1
    scene.run(4)
    assert not scene.do(host.registry.get("/k")).records


def test_history_is_kept_as_long_as_the_world_says() -> None:
    """Of twenty revisions the last five can be read, whatever else goes on."""
    scene = Scene()
    host = scene.client(0)
    scene.server.history = 5
    for number in range(20):
        scene.do(host.registry.put("/k", b"%d" % number))
    etcd = scene.server.etcd
    assert etcd.revision - etcd.compact_revision == 5


def test_the_same_seed_elects_the_same() -> None:
    """Elections are drawn by the seed, and by nothing else."""

    def elected(seed: int) -> list[tuple[int, int]]:
        scene = Scene(seed)
        history = []
        for _ in range(5):
            scene.server.change_leader()
            scene.run(4)
            history.append((scene.leader, scene.kernel.events))
        return history

    assert elected(3) == elected(3)
    assert len({tuple(elected(seed)) for seed in range(5)}) > 1
