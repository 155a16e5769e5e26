"""The storage's conformance on LMDB."""

from __future__ import annotations

import asyncio
from pathlib import Path
from shutil import copytree

import pytest

from palm.errors import StorageError
from palm.net.storage import LOCK_BYTES, LmdbStorage
from palm.ports.storage import Changes, Storage
from palm.testing.conformance.storage import CHECKS, Check

MAP_BYTES = 64 << 20


class RealDisk:
    """`palm.testing.conformance.storage.World` on a directory. It is full for what exceeds the map."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.opened: list[Storage] = []

    def open(self) -> Storage:
        self.opened.append(LmdbStorage(str(self.folder), "kv", map_bytes=MAP_BYTES))
        return self.opened[-1]

    async def commit(self, storage: Storage, changes: Changes) -> str:
        told: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        storage.commit(changes, told.set_result)
        return await told

    def fill(self, full: bool) -> int:
        return MAP_BYTES

    def crash(self, storage: Storage) -> None:
        """What is in its files at this moment is what the next process finds."""
        left = self.folder.with_name(self.folder.name + "-left")
        copytree(self.folder, left)
        self.folder = left


@pytest.mark.conformance
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_lmdb_keeps_the_contract(check: Check, tmp_path: Path) -> None:
    """Each check of `palm.testing.conformance.storage` holds."""

    async def run() -> None:
        disk = RealDisk(tmp_path / "db")
        await check(disk)
        for storage in disk.opened:
            await storage.aclose()

    asyncio.run(run())


def test_processes_that_share_a_base_have_places_of_their_own(tmp_path: Path) -> None:
    """The first one that is free; it is free again once its holder is gone."""

    async def run() -> list[str]:
        one, two = LmdbStorage(str(tmp_path), "kv"), LmdbStorage(str(tmp_path), "kv")
        paths = [one.path.name, two.path.name]
        await one.aclose()
        three = LmdbStorage(str(tmp_path), "kv")
        paths.append(three.path.name)
        await two.aclose()
        await three.aclose()
        return paths

    assert asyncio.run(run()) == ["0", "1", "0"]


def test_the_lock_file_has_all_its_room_before_it_is_used(tmp_path: Path) -> None:
    """On a full disk a page that is found room for at its first use ends the process with SIGBUS."""

    async def run() -> Path:
        storage = LmdbStorage(str(tmp_path), "kv")
        await storage.aclose()
        return storage.path / "lock.mdb"

    lock = asyncio.run(run()).stat()
    assert lock.st_size == LOCK_BYTES <= lock.st_blocks * 512


def test_a_directory_that_cannot_be_used_is_named_with_a_way_out(tmp_path: Path) -> None:
    """A file stands in its place; and one that is no environment of LMDB's."""
    (tmp_path / "file").write_bytes(b"")

    async def run(base: Path) -> None:
        LmdbStorage(str(base), "kv")

    with pytest.raises(StorageError, match="file.*--db a directory"):
        asyncio.run(run(tmp_path / "file"))
    place = tmp_path / "kv" / "0"
    place.mkdir(parents=True)
    (place / "data.mdb").write_bytes(b"x" * 8192)
    with pytest.raises(StorageError, match=r"data.mdb|0: .*--db a directory"):
        asyncio.run(run(tmp_path))
