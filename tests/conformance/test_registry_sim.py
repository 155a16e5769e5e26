"""The registry's conformance suite on the simulated etcd, over the simulated network."""

from __future__ import annotations

import pytest

from palm.ports.registry import Revision
from palm.sim.draws import LogNormal
from palm.sim.kernel import NANOSECONDS
from palm.sim.network import Ends, Link
from palm.sim.world import World
from palm.testing.conformance.registry import CHECKS, Check


class SimWorld:
    """`palm.testing.conformance.registry.World` in simulated time."""

    def __init__(self, seed: int) -> None:
        self.world = World(seed)
        self.host = self.world.host("client")
        self.world.network.link(Ends("*", "*", True), Link(LogNormal(400_000, 3_000_000)))
        self.registry = self.host.registry
        self.prefix = "/conformance/"

    async def compact(self, revision: Revision) -> None:
        self.world.registry.compact(revision)

    async def sleep(self, seconds: float) -> None:
        await self.host.sleep(round(seconds * NANOSECONDS))


@pytest.mark.conformance
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_simulated_registry_keeps_the_contract(check: Check) -> None:
    """Each check of `palm.testing.conformance.registry` holds on the simulated etcd."""
    world = SimWorld(7)

    async def run() -> None:
        await check(world)

    world.world.kernel.complete(run(), limit_ns=600 * NANOSECONDS)
