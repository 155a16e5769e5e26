"""The storage port on a simulated disk. It outlives its process; what it had not confirmed at a crash is gone."""

from __future__ import annotations

from collections.abc import Callable

from palm.ports.storage import Changes
from palm.sim.draws import Distribution, Key, LogNormal
from palm.sim.host import Host

SYNC = LogNormal(2_000_000, 12_000_000)
"""How long a commit takes (ns): an SSD's fsync."""


class Disk:
    """What is for good. `full`: it takes nothing more, for now."""

    def __init__(self, *, sync: Distribution = SYNC) -> None:
        self.data: dict[bytes, bytes] = {}
        self.full = False
        self.commits = 0
        self.refused = 0
        self.sync = sync


class SimStorage:
    def __init__(self, host: Host, disk: Disk) -> None:
        self._host = host
        self._disk = disk
        self._key = Key(host.kernel.seed, f"{host.label}/disk")
        self._free_at = 0
        self._closed = False

    async def load(self) -> list[tuple[bytes, bytes]]:
        return sorted(self._disk.data.items())

    def commit(self, changes: Changes, done: Callable[[str], None]) -> None:
        self._disk.commits += 1
        takes = self._disk.sync.sample(self._key.unit(self._disk.commits))
        self._free_at = max(self._free_at, self._host.now()) + takes
        kept = list(changes)

        def synced() -> None:
            if self._closed:
                return
            done(self._write(kept))

        self._host.call_at(self._free_at, synced)

    def _write(self, changes: Changes) -> str:
        if self._disk.full:
            self._disk.refused += 1
            return f"the disk of {self._host.place} is full (make room on it)"
        for key, value in changes:
            if value is None:
                self._disk.data.pop(key, None)
            else:
                self._disk.data[key] = value
        return ""

    async def aclose(self) -> None:
        """Finish what was given."""
        left = self._free_at - self._host.now()
        if left > 0:
            await self._host.sleep(left + 1)
        self._closed = True
