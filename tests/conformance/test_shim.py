"""The shim on real sockets: what a rule says happens to whole frames, and a link's other frames keep their order."""

from __future__ import annotations

import asyncio

import pytest

from palm.errors import Indefinite, RegistryUnavailable
from palm.net.registry import EtcdRegistry
from palm.ports.registry import Put
from palm.sim.draws import Fixed
from palm.sim.network import Cut, Ends, Hold, Link, Network, Twice
from palm.testing.real.clock import RealClock
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
