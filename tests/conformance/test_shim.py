"""The shim on real sockets: what a rule says happens to whole frames, and a link's other frames keep their order."""

from __future__ import annotations

import asyncio

import pytest

from palm.errors import Indefinite, RegistryUnavailable
from palm.net.registry import EtcdRegistry
from palm.ports.registry import Change, Put
from palm.sim.draws import Fixed
from palm.sim.network import Cut, Ends, Hold, Link, Network, Twice
from palm.testing.real.clock import RealClock
from palm.testing.real.proxies import Proxies
from palm.testing.real.shim import ShimRegistry, ShimTransport
from tests.support.aio import in_loop
from tests.support.etcd import etcd
from tests.support.zmq_world import ZmqWorld

pytestmark = pytest.mark.conformance
WITHIN_S = 10.0


def small_network() -> Network:
    network = Network(RealClock(7))
    for host in ("one", "two", "registry"):
        network.add_host(host)
    network.link(Ends("*", "*"), Link(Fixed(1_000_000)))
    return network


@in_loop
async def test_frames_are_lost_held_and_doubled_between_real_sockets() -> None:
    """A cut loses them, a hold gives them later in their order, a double comes twice; all else comes once."""
    async with ZmqWorld() as world:
        network = small_network()
        near, far = await world.member("near"), await world.member("far")
        address = far.transport.bind()
        shim = ShimTransport(near.transport, network, "near", "one", {far.peer: "two"})
        shim.connect(far.peer, address)
        shim.send(far.peer, (b"before",))
        cut = network.lay(Ends("one", "two"), Cut(), "cut")
        shim.send(far.peer, (b"lost",))
        network.lift(cut)
        hold = network.lay(Ends("one", "two"), Hold(), "hold")
        shim.send(far.peer, (b"held",))
        shim.send(far.peer, (b"behind it",))
        network.lift(hold)
        double = network.lay(Ends("one", "two"), Twice(1.0), "double")
        shim.send(far.peer, (b"double",))
        network.lift(double)
        wanted = [(b"before",), (b"held",), (b"behind it",), (b"double",), (b"double",)]
        assert await world.run_until(lambda: len(far.inbox.received(near.peer)) == len(wanted), WITHIN_S)
        assert far.inbox.received(near.peer) == wanted
        assert [rule.bitten for rule in (cut, hold, double)] == [1, 2, 1]


@in_loop
async def test_a_write_whose_answer_is_cut_off_is_applied_and_unsure() -> None:
    """One way: a transaction is Indefinite and there. The other way: the request is never sent."""
    with etcd() as cluster:
        registry = EtcdRegistry(cluster.settings())
        network = small_network()
        shim = ShimRegistry(registry, network, "near", "one", timeout_s=0.2)
        try:
            cut = network.lay(Ends("registry", "one"), Cut(), "answers")
            with pytest.raises(Indefinite):
                await shim.transact([], [Put(key="/a/1", value=b"x")])
            network.lift(cut)
            cut = network.lay(Ends("one", "registry"), Cut(), "requests")
            with pytest.raises(RegistryUnavailable):
                await shim.put("/a/2", b"x")
            network.lift(cut)
            assert [record.key for record in (await shim.get("/a/")).records] == ["/a/1"]
            assert shim.failures == 0, "the registry was not at fault"
        finally:
            await shim.aclose()


@in_loop
async def test_a_watch_waits_while_the_registry_is_cut_off() -> None:
    """Changes are late and none is lost, as TCP would have it."""
    with etcd() as cluster:
        registry = EtcdRegistry(cluster.settings())
        network = small_network()
        shim = ShimRegistry(registry, network, "near", "one")
        try:
            watch = shim.watch("/a/", (await registry.get("/a/")).revision)
            seen: list[str] = []

            async def follow() -> None:
                async for changes in watch:
                    seen.extend(change.record.key for change in changes)

            task = asyncio.create_task(follow())
            cut = network.lay(Ends("registry", "one"), Cut(), "cut")
            await registry.put("/a/1", b"x")
            async with asyncio.timeout(WITHIN_S):
                while not cut.bitten:
                    await asyncio.sleep(0.01)
                assert seen == []
                network.lift(cut)
                while not seen:
                    await asyncio.sleep(0.01)
            assert seen == ["/a/1"]
            task.cancel()
        finally:
            await shim.aclose()


@in_loop
async def test_a_reset_breaks_the_connections_of_its_links_and_they_come_up_again() -> None:
    """Those between the named hosts, and no others; what is sent afterwards arrives."""
    async with ZmqWorld() as world:
        network = small_network()
        near, far, beside = [await world.member(name) for name in ("near", "far", "beside")]
        proxies = Proxies("one", network)
        shim = ShimTransport(near.transport, network, "near", "one", {far.peer: "two", beside.peer: "one"}, proxies)
        for other in (far, beside):
            shim.connect(other.peer, other.transport.bind())
            shim.send(other.peer, (b"before",))
        assert await world.run_until(lambda: far.inbox.received(near.peer) == [(b"before",)], WITHIN_S)
        assert proxies.reset(Ends("two", "registry")) == 0
        assert proxies.reset(Ends("one", "two")) == 1
        assert await world.run_until(lambda: shim.link_state(far.peer) == "down", WITHIN_S)
        assert shim.link_state(beside.peer) == "up"
        assert await world.run_until(lambda: shim.link_state(far.peer) == "up", WITHIN_S)
        shim.send(far.peer, (b"after",))
        assert await world.run_until(lambda: (b"after",) in far.inbox.received(near.peer), WITHIN_S)
        await proxies.aclose()


@in_loop
async def test_a_write_whose_answer_is_lost_on_the_wire_is_applied() -> None:
    """A transaction is Indefinite, and there; a put is repeated by the adapter, and once there."""
    with etcd() as cluster:
        network = small_network()
        proxies = Proxies("one", network)
        asked, watched = proxies.to_registry(cluster.settings())
        doubts = [True, True]
        shim = ShimRegistry(
            EtcdRegistry(asked),
            network,
            "near",
            "one",
            watching=EtcdRegistry(watched),
            doubt=lambda: proxies.lose_answers if doubts and doubts.pop() else None,
        )
        try:
            with pytest.raises(Indefinite):
                await shim.transact([], [Put(key="/a/1", value=b"x")])
            await shim.put("/a/2", b"x")
            records = (await shim.get("/a/")).records
            assert [(record.key, record.version) for record in records] == [("/a/1", 1), ("/a/2", 2)]
            assert doubts == []
        finally:
            await shim.aclose()
            await proxies.aclose()


@in_loop
async def test_watches_are_late_and_break_by_themselves() -> None:
    """What is asked is not touched; what was late comes at once in the end, and nothing is missed after a break."""
    with etcd() as cluster:
        network = small_network()
        proxies = Proxies("one", network)
        asked, watched = proxies.to_registry(cluster.settings())
        told: list[Change] = []
        shim = ShimRegistry(
            EtcdRegistry(asked), network, "near", "one", watching=EtcdRegistry(watched), heard=told.extend
        )
        try:
            watch = shim.watch("/a/", (await shim.get("/a/")).revision)
            seen: list[str] = []

            async def follow() -> None:
                async for changes in watch:
                    seen.extend(change.record.key for change in changes)

            async def until_seen(keys: list[str]) -> None:
                async with asyncio.timeout(WITHIN_S):
                    while seen != keys:
                        await asyncio.sleep(0.01)

            task = asyncio.create_task(follow())
            await shim.put("/a/1", b"x")
            await until_seen(["/a/1"])
            proxies.lag_watches(60.0)
            await shim.put("/a/2", b"x")
            async with asyncio.timeout(WITHIN_S):
                while not proxies.late_bytes:
                    await asyncio.sleep(0.01)
            assert seen == ["/a/1"]
            proxies.lag_watches(0.0)
            await until_seen(["/a/1", "/a/2"])
            assert proxies.drop_watches() == 1
            await shim.put("/a/3", b"x")
            await until_seen(["/a/1", "/a/2", "/a/3"])
            assert len(told) == 3
            task.cancel()
        finally:
            await shim.aclose()
            await proxies.aclose()
