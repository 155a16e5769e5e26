"""What a death leaves on a simulated disk: a first part of what was under way, each commit whole or not at all."""

from __future__ import annotations

from palm.sim.draws import Key
from palm.sim.kernel import NANOSECONDS
from palm.sim.storage import Disk, SimStorage
from palm.sim.world import World


def after_death(seed: int, *, full: bool = False) -> tuple[bytes, ...]:
    """Three commits of two keys each, and a death before any of them is confirmed."""
    disk, host = Disk(), World(seed).host("one")
    storage = SimStorage(host, disk)
    told: list[str] = []
    for number in b"123":
        storage.commit([(b"a%d" % number, b"x"), (b"b%d" % number, b"x")], told.append)
    disk.full = full
    host.crash()
    there = disk.lose_power(Key(seed, "power"))
    host.kernel.run(NANOSECONDS)
    assert told == [] and len(disk.data) == 2 * there and not disk.unsynced
    return tuple(sorted(disk.data))


def test_what_was_not_confirmed_is_lost_or_there_from_the_first_commit_on() -> None:
    """Each of the four courses comes up, and nothing else."""
    keys = [[f"{side}{number}".encode() for side in "ab"] for number in b"123"]
    whole = [tuple(sorted(key for commit in keys[:count] for key in commit)) for count in range(4)]
    assert {after_death(seed) for seed in range(60)} == set(whole)


def test_a_full_disk_keeps_nothing_of_it() -> None:
    """It would have refused all of it."""
    assert {after_death(seed, full=True) for seed in range(20)} == {()}
