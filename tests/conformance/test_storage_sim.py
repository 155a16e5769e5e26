"""The storage's conformance on the simulated disk."""

from __future__ import annotations

import pytest

from palm.ports.storage import Changes, Storage
from palm.sim.host import Host
from palm.sim.kernel import NANOSECONDS, Future
from palm.sim.storage import Disk, SimStorage
from palm.sim.world import World
from palm.testing.conformance.storage import CHECKS, Check


class SimDisk:
    """`palm.testing.conformance.storage.World` in simulated time."""

    def __init__(self, seed: int) -> None:
        self.world = World(seed)
        self.disk = Disk()
        self.host: Host | None = None

    def open(self) -> Storage:
        if self.host is not None:
            self.host.crash()
        self.host = self.world.host("server")
        return SimStorage(self.host, self.disk)

    async def commit(self, storage: Storage, changes: Changes) -> str:
        told: Future[str] = Future()
        storage.commit(changes, told.set)
        return await told

    def fill(self, full: bool) -> int:
        self.disk.full = full
        return 1

    def crash(self, storage: Storage) -> None:
        assert self.host is not None
        storage.commit([(b"b", b"never confirmed")], lambda error: None)
        self.host.crash()


@pytest.mark.conformance
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_the_simulated_disk_keeps_the_contract(check: Check) -> None:
    """Each check of `palm.testing.conformance.storage` holds."""
    disk = SimDisk(7)

    async def run() -> None:
        await check(disk)

    disk.world.kernel.complete(run(), limit_ns=600 * NANOSECONDS)
