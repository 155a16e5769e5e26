"""The transport's conformance suite on the simulated network."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from palm.ports.transport import Address
from palm.sim.kernel import NANOSECONDS, Future
from palm.sim.transport import TransportSettings
from palm.sim.world import World
from palm.testing.conformance.transport import CHECKS, Check, Inbox, Member

LOOK_NS = 200_000


class SimWorld:
    """`palm.testing.conformance.transport.World` in simulated time."""

    def __init__(self, seed: int) -> None:
        self.settings = TransportSettings(connect_timeout_s=1.0, hold_frames=1000, drain=128, max_frame_bytes=4 << 20)
        self.connect_timeout_s = self.settings.connect_timeout_s
        self.hold_frames = self.settings.hold_frames
        self.drain = self.settings.drain
        self.max_frame_bytes = self.settings.max_frame_bytes
        self.world = World(seed)
        self.made = 0

    async def member(self, name: str, at: Address | None = None) -> Member:
        self.made += 1
        place = f"{name}-{self.made}" if at is None else at.removeprefix("sim://").partition(":")[0]
        host = self.world.host(f"{name}-{self.made}", place=place, settings=self.settings, listen=at)
        inbox = Inbox()
        host.transport.start(inbox)
        return Member(host.transport, inbox)

    def reserve(self) -> Address:
        self.made += 1
        self.world.network.add_host(f"place-{self.made}")
        return self.world.fabric.reserve(f"place-{self.made}")

    async def crash(self, member: Member) -> None:
        for host in self.world.processes.values():
            if host.transport is member.transport:
                host.crash()

    async def run_until(self, reached: Callable[[], bool], timeout_s: float) -> bool:
        deadline = self.now() + round(timeout_s * NANOSECONDS)
        while not reached():
            if self.now() >= deadline:
                return False
            await self.world.kernel.sleep(LOOK_NS)
        return True

    async def sleep(self, duration_s: float) -> None:
        await self.world.kernel.sleep(round(duration_s * NANOSECONDS))

    def now(self) -> int:
        return self.world.kernel.now


@pytest.mark.conformance
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("seed", [7, 41])
def test_simulated_transport_keeps_the_contract(check: Check, seed: int) -> None:
    """Each check of `palm.testing.conformance.transport` holds on the simulated network."""
    world = SimWorld(seed)

    async def run() -> None:
        await check(world)

    world.world.kernel.complete(run())


def test_a_check_that_never_ends_is_a_fault_of_the_run() -> None:
    """`complete` does not wait for what nothing can bring about."""
    world = SimWorld(1)

    async def wait_for_nothing() -> None:
        await Future[None]()

    with pytest.raises(Exception, match="nothing is left to happen"):
        world.world.kernel.complete(wait_for_nothing())
