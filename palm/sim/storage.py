"""The storage port on a simulated disk. It outlives its process; of what it had not confirmed at a crash, the first
commits may be there, each as a whole, and the others are gone."""

from __future__ import annotations

from collections import deque
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
        self.unsynced: deque[Changes] = deque()
        """What was given to it and is not confirmed, in order."""
        self.on_commit: Callable[[], None] = lambda: None

    def write(self, changes: Changes) -> bool:
        """False, and nothing of it is written, while the disk is full."""
        if self.full:
            self.refused += 1
            return False
        for key, value in changes:
            if value is None:
                self.data.pop(key, None)
            else:
                self.data[key] = value
        return True

    def lose_power(self, key: Key) -> int:
        """Its process died: some of what was under way is there, and nobody was told; how many commits that is."""
        given = list(self.unsynced)
        self.unsynced.clear()
        there = 0 if self.full else key.random(self.commits).randint(0, len(given))
        for changes in given[:there]:
            self.write(changes)
        return there


class SimStorage:
    def __init__(self, host: Host, disk: Disk) -> None:
        self._host = host
        self._disk = disk
        self._key = Key(host.kernel.seed, f"{host.label}/disk")
        self._free_at = 0
        self._closed = False

    async def load(self) -> list[tuple[bytes, bytes]]:
        self._disk.unsynced.clear()
        return sorted(self._disk.data.items())

    def commit(self, changes: Changes, done: Callable[[str], None]) -> None:
        self._disk.commits += 1
        takes = self._disk.sync.sample(self._key.unit(self._disk.commits))
        self._free_at = max(self._free_at, self._host.now()) + takes
        self._disk.unsynced.append(list(changes))
        self._disk.on_commit()

        def synced() -> None:
            if self._closed:
                return
            written = self._disk.write(self._disk.unsynced.popleft())
            done("" if written else f"the disk of {self._host.place} is full (make room on it)")

        self._host.call_at(self._free_at, synced)

    async def aclose(self) -> None:
        """Finish what was given."""
        left = self._free_at - self._host.now()
        if left > 0:
            await self._host.sleep(left + 1)
        self._closed = True
