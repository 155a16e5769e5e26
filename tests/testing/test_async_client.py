"""`AsyncClient` in the simulated world: the same client code as on asyncio's own loop, in simulated time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from palm import AsyncClient, RegisteredServer
from palm.sim.portal import SimWorld
from palm.testing import simulate


class Worker(RegisteredServer):
    async def soon(self, message: bytes) -> bytes:
        await asyncio.sleep(1)
        return message.upper()


async def letters() -> AsyncIterator[bytes]:
    for letter in (b"a", b"b", b"c"):
        await asyncio.sleep(0.1)
        yield letter


def run(seed: int) -> tuple[Any, str, float]:
    """What the client got, the trace hash, and the simulated seconds it took."""
    found: list[Any] = []
    with simulate(Worker, name="worker", instances=2, seed=seed) as sim:
        user = sim.cluster.world.host("user", place="client")

        async def main(_: object) -> tuple[list[bytes], Counter[bytes]]:
            async with AsyncClient(world=SimWorld(sim.cluster, "async-client", "client")) as client:
                called = await asyncio.gather(*(client.call("worker.soon", b"x%d" % n) for n in range(20)))
                return called, Counter([result async for result in client.map(letters(), "worker.soon")])

        user.loop().run(main, None, lambda task: found.append(task.result()))
        sim.run(30)
        return found[0], sim.trace_hash, sim.now


def test_an_async_client_runs_on_the_simulated_loop() -> None:
    """Calls beside each other and a job from an async source, in simulated seconds and the same each time."""
    (called, mapped), trace, _ = run(3)
    assert called == [b"X%d" % n for n in range(20)]
    assert mapped == Counter([b"A", b"B", b"C"])
    assert run(3)[1] == trace != run(4)[1]
