"""The registry rules that are the runtime's own (RELIABILITY.md: 3, 9 and 12), on the simulated registry in trouble."""

from __future__ import annotations

from typing import Any

from palm.core.event import Event, InstanceDown, InstanceUp, Listed
from palm.core.message import Instance, Peer
from palm.runtime.directory import Directory
from palm.runtime.registration import RETURN_JITTER, Registration
from palm.sim.kernel import NANOSECONDS
from palm.sim.world import World
from palm.wire.record import encode_instance, instance_key

S = NANOSECONDS


class Scene:
    """A registry, somebody who writes records by hand, and a process under test."""

    def __init__(self, seed: int = 7) -> None:
        self.world = World(seed)
        self.kernel, self.registry = self.world.kernel, self.world.registry
        self.writer, self.near = self.world.host("writer"), self.world.host("near")
        self.events: list[Event] = []
        self.said: list[str] = []

    def do(self, coroutine: Any) -> Any:
        return self.kernel.complete(coroutine, self.kernel.now + 60 * S)

    def run(self, seconds: float) -> None:
        self.kernel.run(self.kernel.now + round(seconds * S))

    def follow(self, **how: Any) -> Directory:
        directory = Directory(self.near, "palm", self.events.append, log=self.said.append, **how)
        directory.follow("one")
        self.run(0.5)
        return directory

    def put(self, number: int, **fields: Any) -> None:
        instance = instance_of(number, **fields)
        self.do(self.writer.registry.put(instance_key("palm", "one", instance.peer), encode_instance(instance)))

    def delete(self, number: int) -> None:
        self.do(self.writer.registry.delete(instance_key("palm", "one", instance_of(number).peer)))

    def alive(self) -> list[str]:
        """Who lives, by the events that came."""
        there: dict[str, None] = {}
        for event in self.events:
            if isinstance(event, InstanceUp):
                there[event.instance.peer] = None
            elif isinstance(event, InstanceDown):
                there.pop(event.peer, None)
        return sorted(there)


def instance_of(number: int, **fields: Any) -> Instance:
    peer = Peer(f"instance-{number:08d}")
    return Instance(server="one", peer=peer, address=f"tcp://127.0.0.1:{1000 + number}", functions=("f",), **fields)


def peers(*numbers: int) -> list[str]:
    return [instance_of(number).peer for number in numbers]


def test_rule_03_a_list_comes_first_and_changes_after_it() -> None:
    """Who was there before, that this is all, and then each change once."""
    scene = Scene()
    scene.put(1)
    scene.follow()
    scene.put(2)
    scene.run(0.5)
    scene.put(2, draining=True)
    scene.delete(1)
    scene.run(0.5)
    shown = [event.instance.peer if isinstance(event, InstanceUp) else type(event).__name__ for event in scene.events]
    assert shown == [*peers(1), "Listed", *peers(2), *peers(2), "InstanceDown"]
    assert scene.alive() == peers(2) and scene.events[1] == Listed("one")


def test_rule_03_after_a_compaction_the_difference_is_handed_over_deletes_included() -> None:
    """Cut off while one leaves, one comes and the history goes: both changes arrive, and none twice."""
    scene = Scene()
    scene.put(1)
    scene.put(2)
    scene.follow()
    cut = scene.world.network.cut("near", "registry")
    scene.run(3)
    scene.delete(1)
    scene.put(3)
    scene.registry.compact()
    scene.run(5)
    assert scene.alive() == peers(1, 2)
    scene.world.network.lift(cut)
    scene.run(8)
    assert scene.alive() == peers(2, 3)
    assert sum(isinstance(event, InstanceDown) for event in scene.events) == 1
    assert sum(isinstance(event, InstanceUp) for event in scene.events) == 3


def test_rule_12_an_event_that_never_came_is_found_counted_and_repaired() -> None:
    """A faulty registry hides a delete from the watch; a list set against the table finds it."""
    scene = Scene()
    scene.put(1)
    directory = scene.follow(compare=30 * S)
    etcd = scene.registry.etcd
    take = etcd.watch_take

    def hiding(stream: int) -> list[Any]:
        return [answer for answer in take(stream) if not answer.events]

    etcd.watch_take = hiding  # type: ignore[method-assign]  # the fault of this test
    scene.delete(1)
    etcd.watch_take = take  # type: ignore[method-assign]
    scene.run(20)
    assert scene.alive() == peers(1) and directory.watch_gaps == 0
    scene.run(20)
    assert scene.alive() == [] and directory.watch_gaps == 1
    assert any("never came" in line for line in scene.said)


def test_a_record_that_is_garbage_is_counted_and_passed_over() -> None:
    """The table goes on with what is sound."""
    scene = Scene()
    scene.do(scene.writer.registry.put("/palm/palm/instances/one/x", b"garbage"))
    scene.put(1)
    directory = scene.follow()
    assert scene.alive() == peers(1) and directory.bad_records == 1


def register(scene: Scene) -> Registration:
    registration = Registration(scene.near, "/palm/palm/instances/one/x", b"record", log=scene.said.append)
    scene.do(registration.start())
    return registration


def records(scene: Scene) -> int:
    return len(scene.do(scene.writer.registry.get("/palm/palm/instances/one/")).records)


def test_rule_09_a_record_stays_while_its_owner_lives() -> None:
    """A minute of renewals keeps one registration."""
    scene = Scene()
    registration = register(scene)
    scene.run(60)
    assert records(scene) == 1 and registration.registrations == 1


def test_rule_09_validity_is_counted_from_the_sending_of_the_last_answered_renewal() -> None:
    """Cut off, the local clock alone says when the lease may have ended, and it is before the registry ends it."""
    scene = Scene()
    registration = register(scene)
    scene.run(10)
    scene.world.network.cut("near", "registry")
    valid_until = registration.valid_until
    while records(scene):
        scene.run(0.05)
    assert scene.near.now() - 2 * S < valid_until <= scene.near.now()


def test_rule_09_a_lost_lease_is_one_new_registration_with_jitter() -> None:
    """However long the registry was away: one record, one more registration, spread over the jitter."""
    returned = []
    for seed in range(8):
        scene = Scene(seed)
        registration = register(scene)
        cut = scene.world.network.cut("near", "registry")
        scene.run(60)
        assert records(scene) == 0
        scene.world.network.lift(cut)
        began = scene.near.now()
        while not records(scene):
            scene.run(0.01)
        returned.append((scene.near.now() - began) / S)
        scene.run(5)
        assert records(scene) == 1 and registration.registrations == 2
    assert max(returned) - min(returned) > 0.2 * RETURN_JITTER / S
    assert max(returned) < 5 + 2 * RETURN_JITTER / S


def test_rule_09_a_crash_revokes_nothing() -> None:
    """The record of the dead stays until its lease ends: nothing polite happens on the way down."""
    scene = Scene()
    register(scene)
    scene.near.crash()
    scene.run(1)
    assert records(scene) == 1
    scene.run(6)
    assert records(scene) == 0


def test_a_clean_end_takes_the_record_away_at_once() -> None:
    """Who leaves by itself does not linger."""
    scene = Scene()
    registration = register(scene)
    scene.do(registration.aclose())
    assert records(scene) == 0


def test_an_update_while_the_registry_is_away_goes_out_with_its_return() -> None:
    """The newest value wins, whenever it can be written."""
    scene = Scene()
    registration = register(scene)
    scene.registry.down()
    scene.do(registration.update(b"draining"))
    scene.run(20)
    scene.registry.up()
    scene.run(20)
    (record,) = scene.do(scene.writer.registry.get("/palm/palm/instances/one/")).records
    assert record.value == b"draining"
