"""The directory and the registration where they could break silently: hostile records, and twins without what protects
them. What they do in trouble is in `test_rules_of_the_session`."""

from __future__ import annotations

from typing import Any

import pytest

from palm.core.event import Event, InstanceDown, InstanceUp, Listed
from palm.core.message import Instance, Peer
from palm.runtime import directory as directory_module
from palm.runtime import registration as registration_module
from palm.runtime.directory import Directory
from palm.runtime.registration import Registration
from palm.sim.etcd import values as v
from palm.sim.etcd.member import Etcd
from palm.sim.kernel import NANOSECONDS
from palm.sim.world import World
from palm.wire.record import encode_instance, instance_key, instances_prefix
from tests.support.twin import twin

S = NANOSECONDS


class Forgetful(Etcd):
    """An etcd with a fault that real ones had: it does not tell its watchers of the keys in `hidden`."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden: set[bytes] = set()

    def watch_take(self, stream: int) -> list[v.WatchAnswer]:
        answers = []
        for answer in super().watch_take(stream):
            if not any(event.kv.key in self.hidden for event in answer.events):
                answers.append(answer)
        return answers


class Scene:
    def __init__(self) -> None:
        self.world = World(7)
        self.kernel, self.registry = self.world.kernel, self.world.registry
        self.etcd = self.registry.etcd = Forgetful()
        self.writer, self.near = self.world.host("writer"), self.world.host("near")
        self.events: list[Event] = []
        self.directory = Directory(self.near, "palm", self.events.append)

    def do(self, coroutine: Any) -> Any:
        return self.kernel.complete(coroutine, self.kernel.now + 60 * S)

    def run(self, seconds: float) -> None:
        self.kernel.run(self.kernel.now + round(seconds * S))

    def put(self, instance: Instance, value: bytes | None = None) -> None:
        key = instance_key("palm", instance.server, instance.peer)
        self.do(self.writer.registry.put(key, encode_instance(instance) if value is None else value))

    def records(self, server: str = "one") -> int:
        return len(self.do(self.writer.registry.get(instances_prefix("palm", server))).records)

    def ups(self) -> list[str]:
        return [event.instance.peer for event in self.events if isinstance(event, InstanceUp)]

    def downs(self) -> list[str]:
        return [event.peer for event in self.events if isinstance(event, InstanceDown)]


def instance_of(server: str, number: int, **fields: Any) -> Instance:
    peer = Peer(f"{server}-{number:012d}")
    return Instance(server=server, peer=peer, address=f"tcp://127.0.0.1:{1000 + number}", functions=("f",), **fields)


ONE, TWO = instance_of("one", 1), instance_of("one", 2)


def test_servers_with_one_prefix_are_not_mixed_up() -> None:
    """`one` is not `one2`."""
    scene = Scene()
    scene.put(instance_of("one2", 1))
    scene.put(ONE)
    scene.directory.follow("one")
    scene.run(1)
    scene.put(instance_of("one2", 2))
    scene.run(1)
    assert scene.ups() == [ONE.peer] and scene.directory.bad_records == 0


def test_following_twice_is_following_once() -> None:
    """Each instance is told once."""
    scene = Scene()
    scene.put(ONE)
    scene.directory.follow("one")
    scene.directory.follow("one")
    scene.run(1)
    assert scene.events == [InstanceUp(ONE), Listed("one")]


def test_a_registry_that_is_away_at_first_is_listed_on_its_return() -> None:
    """Listed is not said before there was a list."""
    scene = Scene()
    scene.put(ONE)
    scene.registry.down()
    scene.directory.follow("one")
    scene.run(20)
    assert scene.events == []
    scene.registry.up()
    scene.run(10)
    assert scene.events == [InstanceUp(ONE), Listed("one")]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    "value",
    [
        b"garbage",
        b"",
        b"[" * 3_000,
        encode_instance(ONE).replace(b'"pid":0', b'"pid":1e999'),
        encode_instance(ONE) + b" " * 5_000,
        encode_instance(TWO),
    ],
)
def test_a_record_that_is_not_to_be_believed_is_counted_and_stops_nothing(value: bytes, when: str) -> None:
    """Listed or watched: the next record is read all the same."""
    scene = Scene()
    if when == "before":
        scene.put(ONE, value)
    scene.directory.follow("one")
    scene.run(1)
    if when == "after":
        scene.put(ONE, value)
    scene.put(TWO)
    scene.run(1)
    assert scene.ups() == [TWO.peer] and scene.directory.bad_records == 1


def test_a_record_that_turns_to_garbage_takes_its_instance_away() -> None:
    """A watch says of it what a list would; and it is no gap in the watch."""
    scene = Scene()
    scene.put(ONE)
    scene.directory.follow("one")
    scene.run(1)
    scene.put(ONE, b"garbage")
    scene.run(1)
    assert scene.downs() == [ONE.peer] and scene.directory.bad_records == 1
    scene.run(70)
    assert scene.directory.watch_gaps == 0
    scene.put(ONE)
    scene.run(1)
    assert scene.ups() == [ONE.peer] * 2


def test_a_record_written_anew_without_a_change_is_no_event() -> None:
    """An instance that re-registers with the same words was there all the time."""
    scene = Scene()
    scene.put(ONE)
    scene.directory.follow("one")
    scene.run(1)
    scene.put(ONE)
    scene.run(1)
    assert scene.ups() == [ONE.peer]


def hide_a_put() -> Scene:
    """A record that was put and never told of, looked for during two rounds of comparing."""
    scene = Scene()
    scene.directory.follow("one")
    scene.run(1)
    scene.etcd.hidden.add(instance_key("palm", "one", ONE.peer).encode())
    scene.put(ONE)
    scene.run(70)
    return scene


def test_a_hidden_put_is_found_counted_once_and_repaired() -> None:
    """Rule 12, for what came; what went is in `test_rules_of_the_session`."""
    scene = hide_a_put()
    assert scene.ups() == [ONE.peer] and scene.directory.watch_gaps == 1


def test_without_taking_the_list_a_hidden_put_stays_hidden() -> None:
    """The test before needs the line that repairs."""
    lines = "taken from a list\")\n                self._take_listing(server, listing)\n"
    with twin(directory_module, lines, "taken from a list\")\n"):
        assert hide_a_put().ups() == []


def test_events_that_are_only_late_are_no_gap() -> None:
    """A watch that lags by a second is slow, not faulty: nothing is counted, nothing is told twice."""
    scene = Scene()
    scene.directory = Directory(scene.near, "palm", scene.events.append, compare=1 * S)
    scene.directory.follow("one")
    scene.run(1)
    scene.registry.lag_watch(1_000_000_000)
    for number in range(20):
        scene.put(instance_of("one", number))
        scene.run(0.3)
    scene.run(5)
    assert len(scene.ups()) == len(set(scene.ups())) == 20 and scene.directory.watch_gaps == 0


def test_after_close_nothing_is_told() -> None:
    """Neither changes nor differences."""
    scene = Scene()
    scene.directory.follow("one")
    scene.run(1)
    scene.do(scene.directory.aclose())
    scene.events.clear()
    scene.put(ONE)
    scene.run(70)
    assert scene.events == []


# -- the record of one's own ------------------------------------------------------------------------------------------


def lose_the_lease() -> tuple[Scene, Registration]:
    """An operator revokes the lease of somebody who is alive and well."""
    scene = Scene()
    registration = Registration(scene.near, instance_key("palm", "one", ONE.peer), encode_instance(ONE))
    scene.do(registration.start())
    scene.run(3)
    assert registration.lease is not None
    scene.registry.expire(registration.lease)
    scene.run(0.1)
    assert scene.records() == 0
    scene.run(30)
    return scene, registration


def test_a_lease_that_was_taken_away_is_one_new_registration() -> None:
    """Noticed with the next renewal; then kept up as before."""
    scene, registration = lose_the_lease()
    assert scene.records() == 1 and registration.registrations == 2


def test_without_noticing_the_loss_the_record_never_comes_back() -> None:
    """The test before needs the line by which the lease is given up."""
    line = "                self._lease = None\n                self.on_renewed()\n"
    with twin(registration_module, line, "                self.on_renewed()\n"):
        scene, registration = lose_the_lease()
    assert scene.records() == 0 and registration.registrations == 1


def test_a_short_absence_of_the_registry_costs_nothing() -> None:
    """Away for less than the lease: the same lease, the same revision."""
    scene = Scene()
    registration = Registration(scene.near, instance_key("palm", "one", ONE.peer), encode_instance(ONE))
    scene.do(registration.start())
    lease = registration.lease
    scene.registry.down()
    scene.run(2.5)
    scene.registry.up()
    scene.run(30)
    assert registration.lease == lease and registration.registrations == 1 and scene.records() == 1


def test_many_that_lost_their_leases_together_come_back_spread() -> None:
    """A thundering return is spread over about a second by the jitter of each."""
    scene = Scene()
    registrations = []
    for number in range(40):
        instance = instance_of("one", number)
        host = scene.world.host(f"host-{number}")
        registration = Registration(host, instance_key("palm", "one", instance.peer), encode_instance(instance))
        scene.do(registration.start())
        registrations.append(registration)
    scene.run(3)
    scene.world.network.cut("*", "registry")
    scene.run(20)
    scene.world.network.heal()
    back_at: list[float] = []
    began = scene.kernel.now
    while len(back_at) < 40 and scene.kernel.now < began + 20 * S:
        scene.run(0.01)
        back = sum(registration.registrations == 2 for registration in registrations)
        back_at += [(scene.kernel.now - began) / S] * (back - len(back_at))
    assert len(back_at) == 40 and max(back_at) < 10 and scene.records() == 40
    busiest = max(sum(1 for at in back_at if start <= at < start + 0.1) for start in back_at)
    assert busiest <= 20, "half of them within a tenth of a second would be a herd"
