"""A small world with a bit of everything, for the test that compares runs in several processes: prints what came of
it."""

from __future__ import annotations

import asyncio
import random
import sys
import time
import uuid
from functools import partial

from palm.errors import RegistryError
from palm.ports.registry import Revision
from palm.ports.transport import Arrival, Arrived, Peer
from palm.sim import sandbox
from palm.sim.draws import LogNormal
from palm.sim.host import Host
from palm.sim.kernel import NANOSECONDS
from palm.sim.network import Ends, Link, Lose, Twice
from palm.sim.world import World

S = NANOSECONDS


def handle(item: bytes) -> bytes:
    time.sleep(random.uniform(0.001, 0.002))
    return f"{uuid.uuid4()} {time.time_ns()} {random.random()}".encode() + item[:20]


async def handle_async(item: bytes) -> bytes:
    await asyncio.gather(*(asyncio.sleep(random.random() / 100) for _ in range(3)))
    return uuid.uuid1().bytes + item[:20]


def serve(host: Host) -> None:
    executor = host.executor("e")

    def answer(peer: Peer, outcomes: list[bytes]) -> None:
        for outcome in outcomes:
            host.transport.send(peer, (outcome,))

    def answer_one(peer: Peer, index: int, outcome: bytes) -> None:
        host.transport.send(peer, (outcome,))

    def sink(arrivals: list[Arrival]) -> None:
        for arrival in arrivals:
            if isinstance(arrival, Arrived):
                items = [frame[0] for frame in arrival.frames]
                executor.execute("f", handle, items, partial(answer, arrival.peer))
                executor.execute_async(handle_async, items, partial(answer_one, arrival.peer))

    host.transport.start(sink)


async def live(host: Host, address: str, servers: list[Host]) -> None:
    lease = await host.registry.grant(5)
    await host.registry.put(f"/n/{host.name}", address.encode(), lease.id)
    for server in servers:
        host.transport.connect(server.transport.peer, server.transport.bind())
    for number in range(200):
        await host.sleep(host.draw("gap", number).randrange(50_000_000))
        for server in servers:
            host.transport.send(server.transport.peer, (b"%d from " % number + host.name.encode(),))
        if number % 20 == 0:
            try:
                await host.registry.keep_alive(lease.id)
            except RegistryError as error:
                host.kernel.trace.record(host.name, "registry", str(error))


async def look(host: Host, seen: list[str]) -> None:
    async for changes in host.registry.watch("/n/", Revision(0)):
        seen += [f"{change.kind} {change.record.key} {host.now()}" for change in changes]


def run(seed: int) -> str:
    world = World(seed)
    seen: list[str] = []
    servers = [world.host(f"server-{number}", service=LogNormal(1_000_000, 20_000_000)) for number in range(3)]
    clients = [world.host(f"client-{number}") for number in range(4)]
    world.network.link(Ends("*", "*"), Link(LogNormal(400_000, 3_000_000), loss=0.01, twice=0.01, shuffle=0.01))
    for server in servers:
        serve(server)
    for client in clients:
        client.transport.start(lambda arrivals: seen.append(str(len(arrivals))))
        client.spawn(live(client, client.transport.bind(), servers), "live")
    clients[0].spawn(look(clients[0], seen), "look")
    kernel, network = world.kernel, world.network
    kernel.call_at(1 * S, lambda: network.lay(Ends("client-1", "*", both=True), Lose(0.2), "lose"))
    kernel.call_at(1 * S, lambda: network.lay(Ends("*", "server-2"), Twice(0.2), "twice"))
    kernel.call_at(2 * S, lambda: network.cut("client-2", "server-1", name="cut"))
    kernel.call_at(2 * S, servers[0].freeze)
    kernel.call_at(3 * S, servers[0].thaw)
    kernel.call_at(3 * S, clients[3].crash)
    kernel.call_at(4 * S, network.heal)
    kernel.call_at(5 * S, world.registry.down)
    kernel.call_at(6 * S, world.registry.up)
    with sandbox.installed([sys.modules[__name__]]):
        kernel.run(20 * S)
    return f"{kernel.trace.hexdigest()} {kernel.trace.records} {kernel.events} {seen[-5:]}"


if __name__ == "__main__":
    print(run(int(sys.argv[1])))
