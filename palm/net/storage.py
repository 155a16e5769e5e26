"""The storage port on LMDB: one environment for each copy, written by a thread of its own.

LMDB writes pages that nobody reads yet and then, in one small write, says where the newest tree begins; so after a kill
or a power cut a batch is there or not, and never a half of it. `done` waits for its fsync. The processes of one machine
may share a base directory: each claims a place of its own below it, the first that is free.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import threading
from pathlib import Path
from queue import SimpleQueue
from typing import Callable

import lmdb

from palm.errors import StorageError
from palm.ports.storage import Changes

MAP_BYTES = 4 << 30
"""Address space, not disk: twice what a store may hold, and room for the pages of a batch beside the old ones."""

PLACES = 64
"""Processes of one server on one machine."""

LOCK_BYTES = 8_192
"""What LMDB makes its lock file, for 126 readers."""

_Work = tuple[Changes, Callable[[str], None]]


class LmdbStorage:
    """Belongs to the running event loop's thread; `done` is called there."""

    def __init__(self, base: str, server: str, *, map_bytes: int = MAP_BYTES) -> None:
        """Claims a place below `base`. Raises StorageError."""
        self._map_bytes = map_bytes
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[_Work | None] = SimpleQueue()
        self._closed = False
        self._thread: threading.Thread | None = None
        try:
            self.path, self._claim = _claim(Path(base), server)
        except OSError as error:
            raise StorageError(f"the store of {server!r} cannot use {base}: {_why(error)} ({_WAY_OUT})") from error
        try:
            self._env = self._open()
        except (lmdb.Error, OSError) as error:
            os.close(self._claim)
            where = f"the store of {server!r} cannot open {self.path}"
            raise StorageError(f"{where}: {_why(error)} ({_WAY_OUT})") from error

    def _open(self) -> lmdb.Environment:
        _reserve(self.path / "lock.mdb")
        return lmdb.open(str(self.path), map_size=self._map_bytes, max_dbs=0, readahead=False)

    async def load(self) -> list[tuple[bytes, bytes]]:
        return await self._loop.run_in_executor(None, self._load)

    def _load(self) -> list[tuple[bytes, bytes]]:
        try:
            with self._env.begin() as reading:
                return [(bytes(key), bytes(value)) for key, value in reading.cursor()]
        except lmdb.Error as error:
            raise StorageError(f"{self.path} cannot be read: {_why(error)} ({_WAY_OUT})") from error

    def commit(self, changes: Changes, done: Callable[[str], None]) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="palm-store", daemon=True)
            self._thread.start()
        self._queue.put((changes, done))

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._thread is not None:
            self._queue.put(None)
            await self._loop.run_in_executor(None, self._thread.join)
        self._env.close()
        os.close(self._claim)

    # -- the thread ---------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while (work := self._queue.get()) is not None:
            changes, done = work
            error = self._write(changes)
            try:
                self._loop.call_soon_threadsafe(self._tell, done, error)
            except RuntimeError:
                return  # the loop is closed: the process ends, nobody waits

    def _tell(self, done: Callable[[str], None], error: str) -> None:
        if not self._closed:
            done(error)

    def _write(self, changes: Changes) -> str:
        """Why it was not written, or nothing."""
        try:
            with self._env.begin(write=True) as writing:
                for key, value in changes:
                    if value is None:
                        writing.delete(key)
                    else:
                        writing.put(key, value)
            return ""
        except lmdb.MapFullError:
            return f"{self.path} is full: it may grow to {self._map_bytes} bytes (delete keys or drop sessions)"
        except (lmdb.Error, OSError) as error:
            self._reopen()
            return f"{self.path}: {_why(error)} (make room on that disk, or move --db to another one)"

    def _reopen(self) -> None:
        """After an error of the disk an environment may refuse everything; a new one reads what is there."""
        try:
            self._env.close()
            self._env = self._open()
        except (lmdb.Error, OSError):
            pass  # the next write says so


_WAY_OUT = "give --db a directory on this machine's disk that has room and is yours to write"


def _why(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error)


def _reserve(lock: Path) -> None:
    """Find room for all of LMDB's lock file before it is mapped: where the disk is full, a page of it that has none is
    a SIGBUS at its first use, and no error."""
    file = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.posix_fallocate(file, 0, LOCK_BYTES)
    finally:
        os.close(file)


def _claim(base: Path, server: str) -> tuple[Path, int]:
    """The first place that no living process has; its lock goes with the process."""
    for number in range(PLACES):
        path = base / server / str(number)
        path.mkdir(parents=True, exist_ok=True)
        claim = os.open(path / "claim", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(claim)
            continue
        return path, claim
    raise StorageError(f"{base} serves {PLACES} processes of {server!r} already (give others another --db)")
