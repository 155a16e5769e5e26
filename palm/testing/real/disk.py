"""The disk of a server's store, real and full when a script says so: by the limit that the kernel sets to the size of
what this process may write (RLIMIT_FSIZE), so that no other process and no other file is in trouble."""

from __future__ import annotations

import resource
from typing import Callable

from palm.net.storage import LmdbStorage
from palm.ports.storage import Changes, Storage

META_BYTES = 8_192
"""LMDB's two pages that say where the newest tree begins; a commit writes at least one behind them."""


class CountedDisk:
    """`palm.ports.storage.Storage`; `given` is called for each commit, `refused` for each that the disk did not do."""

    def __init__(self, base: str, server: str, *, given: Callable[[], None], refused: Callable[[], None]) -> None:
        """Raises StorageError."""
        self._given = given
        self._inner: Storage = LmdbStorage(base, server)
        self._refused = refused

    async def load(self) -> list[tuple[bytes, bytes]]:
        return await self._inner.load()

    def commit(self, changes: Changes, done: Callable[[str], None]) -> None:
        def counted(error: str) -> None:
            if error:
                self._refused()
            done(error)

        self._given()
        self._inner.commit(changes, counted)

    async def aclose(self) -> None:
        await self._inner.aclose()


def fill(pid: int, full: bool) -> None:
    """Let that process of ours write nothing more to its store, or let it again. Harmless when it is gone."""
    try:
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (META_BYTES if full else hard, hard))
    except ProcessLookupError:
        pass  # it has ended, and its next life is told by itself
