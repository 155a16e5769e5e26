"""The storage port: a small ordered map of bytes on a disk, written in batches that are there whole or not at all.

Two adapters implement it, `palm.net.storage` (LMDB) and `palm.sim.storage` (a simulated disk, which forgets at a crash
what it had not confirmed); the suite in `palm.testing.conformance.storage` is the executable half of this text. Keys
are 1 to 511 bytes. One process at a time has a directory open.
"""

from __future__ import annotations

from typing import Callable, Protocol, Sequence

Changes = Sequence[tuple[bytes, bytes | None]]
"""Keys with their new values; None: the key is to go."""


class Storage(Protocol):
    async def load(self) -> list[tuple[bytes, bytes]]:
        """Everything, in ascending order of keys. To be called once, and before anything else. Raises StorageError:
        not there, not ours to write, in use, or damaged."""
        ...

    def commit(self, changes: Changes, done: Callable[[str], None]) -> None:
        """Write all of it or none. `done("")` is called on the host's thread once it will outlast a crash of the
        process and of the machine; with the reason in words where the disk refuses, and then nothing of it was
        written. Commits are done in the order given. Returns at once; never calls `done` itself."""
        ...

    async def aclose(self) -> None:
        """Finish what was given, and let go of the directory. `done` is not called any more afterwards."""
        ...
