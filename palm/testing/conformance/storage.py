"""What every storage adapter must do: checks that run on LMDB and on the simulated disk. The prose is in
`palm.ports.storage`."""

from __future__ import annotations

from typing import Awaitable, Callable, Protocol

from palm.ports.storage import Changes, Storage


class World(Protocol):
    """What a check has: a disk, and a way to fill it."""

    def open(self) -> Storage:
        """A storage on the disk, as a new process would open it."""
        ...

    async def commit(self, storage: Storage, changes: Changes) -> str:
        """Commit, and wait for what `done` was told."""
        ...

    def fill(self, full: bool) -> int:
        """Let the disk be full from now on, or not; how many bytes are then too many for one commit."""
        ...

    def crash(self, storage: Storage) -> None:
        """End the process that has it open, without a word."""
        ...


Check = Callable[[World], Awaitable[None]]


async def check_a_new_one_is_empty(world: World) -> None:
    """Nothing is in it."""
    storage = world.open()
    assert await storage.load() == []
    await storage.aclose()


async def check_what_was_committed_is_there_in_order_of_keys(world: World) -> None:
    """For the next one that opens it, deletes included; keys and values are any bytes."""
    storage = world.open()
    await storage.load()
    long = b"\xff" * 511
    assert await world.commit(storage, [(b"b", b""), (b"a", b"1"), (long, bytes(range(256))), (b"c", b"x")]) == ""
    assert await world.commit(storage, [(b"c", None), (b"a", b"2"), (b"none", None)]) == ""
    await storage.aclose()
    again = world.open()
    assert await again.load() == [(b"a", b"2"), (b"b", b""), (long, bytes(range(256)))]
    await again.aclose()


async def check_a_large_value_comes_back_whole(world: World) -> None:
    """Sixteen mebibytes, as a store may hold."""
    storage = world.open()
    await storage.load()
    value = bytes(range(256)) * (1 << 16)
    assert await world.commit(storage, [(b"large", value)]) == ""
    await storage.aclose()
    again = world.open()
    assert await again.load() == [(b"large", value)]
    await again.aclose()


async def check_commits_are_done_in_order(world: World) -> None:
    """The last one given is what is there, and each is told of once."""
    storage = world.open()
    await storage.load()
    told: list[int] = []
    for number in range(20):
        storage.commit([(b"k", b"%d" % number)], lambda error, number=number: told.append(number))  # type: ignore[misc]  # mypy sees no default in a lambda
    assert await world.commit(storage, []) == ""
    assert told == list(range(20))
    await storage.aclose()
    again = world.open()
    assert await again.load() == [(b"k", b"19")]
    await again.aclose()


async def check_what_was_confirmed_outlives_a_crash(world: World) -> None:
    """Also when nobody said goodbye."""
    storage = world.open()
    await storage.load()
    assert await world.commit(storage, [(b"a", b"1"), (b"b", b"1")]) == ""
    world.crash(storage)
    again = world.open()
    assert await again.load() == [(b"a", b"1"), (b"b", b"1")]
    await again.aclose()


async def check_a_full_disk_takes_nothing_of_a_batch(world: World) -> None:
    """It says so in words with a way out; what was there stays, and once there is room it goes on."""
    storage = world.open()
    await storage.load()
    assert await world.commit(storage, [(b"a", b"1")]) == ""
    size = world.fill(True)
    error = await world.commit(storage, [(b"a", b"2"), (b"big", bytes(size))])
    assert "full" in error and "(" in error
    world.fill(False)
    assert await world.commit(storage, [(b"b", b"3")]) == ""
    await storage.aclose()
    again = world.open()
    assert await again.load() == [(b"a", b"1"), (b"b", b"3")]
    await again.aclose()


CHECKS: list[Check] = [
    check_a_new_one_is_empty,
    check_what_was_committed_is_there_in_order_of_keys,
    check_a_large_value_comes_back_whole,
    check_commits_are_done_in_order,
    check_what_was_confirmed_outlives_a_crash,
    check_a_full_disk_takes_nothing_of_a_batch,
]
