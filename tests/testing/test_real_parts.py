"""The parts of a real process that a script acts on: its clocks, its pace, its marks; how often something may be."""

from __future__ import annotations

import asyncio
import os
import threading
import time

import pytest

from palm.sim.draws import Fixed, Key
from palm.sim.history import Entry, EntryKind
from palm.sim.points import PointReached
from palm.sim.scenario.actions import Point
from palm.testing.real.clock import HostClock, HostTimer
from palm.testing.real.host import Pace, ServedExecutor
from palm.testing.real.points import Points
from palm.testing.real.tokens import Tokens, take
from tests.support.aio import in_loop

MS = 1_000_000


def test_a_drifting_clock_runs_on_from_where_it_is_and_its_wall_clock_jumps() -> None:
    """Half as fast again, and back: no step in it; a moment of it is found on the machine's clock."""
    clock = HostClock()
    begin, machine = clock.now(), time.monotonic_ns()
    clock.drift(500_000)
    assert begin <= clock.now()
    time.sleep(0.05)
    passed, real = clock.now() - begin, time.monotonic_ns() - machine
    assert 1.3 * 50 * MS < passed <= 1.5 * real
    ahead = clock.now() + 30 * MS
    assert 0 < clock.moment(ahead) - time.monotonic_ns() <= 20 * MS
    clock.drift(0)
    assert clock.now() >= begin + passed
    clock.wall_offset -= 3_600_000 * MS
    assert -3_601 * 10**9 < clock.wall() - time.time_ns() < -3_599 * 10**9


@in_loop
async def test_a_timer_waits_for_a_clock_that_is_slowed_down_meanwhile() -> None:
    """At half its pace it shows the moment twice as late; a cancelled one never comes."""
    clock, loop, fired = HostClock(), asyncio.get_running_loop(), asyncio.Event()
    when = clock.now() + 100 * MS
    HostTimer(clock, loop, when, fired.set)
    never = HostTimer(clock, loop, when, lambda: pytest.fail("it was cancelled"))
    begin = time.monotonic()
    clock.drift(-500_000)
    never.cancel()
    await asyncio.wait_for(fired.wait(), 5)
    assert clock.now() >= when and time.monotonic() - begin >= 0.19


@in_loop
async def test_a_busy_process_takes_longer_over_each_item_until_it_is_over() -> None:
    """By what is drawn for it, counted by step."""
    touched: dict[str, int] = {}
    pace = Pace(touched)
    executor = ServedExecutor(asyncio.get_running_loop(), "x", Fixed(0), Key(7, "x"), pace=pace)
    pace.slow("load", Fixed(20 * MS))
    assert await spent(executor, 3) >= 0.06
    pace.end("load")
    assert await spent(executor, 3) < 0.06 and touched == {"load": 3}
    await executor.aclose(1.0)


async def spent(executor: ServedExecutor, items: int) -> float:
    begin, outcomes = time.monotonic(), list[object]()
    executor.execute("f", lambda item: item, range(items), outcomes.extend)
    async with asyncio.timeout(5):
        while len(outcomes) < items:
            await asyncio.sleep(0.001)
    return time.monotonic() - begin


def test_tokens_are_taken_once_each_whoever_asks() -> None:
    """By many threads at once; what nobody took can be taken back, and is not counted."""
    tokens, got = Tokens(), list[bool]()
    try:
        assert not take(tokens.fd)
        tokens.give(5)
        threads = [threading.Thread(target=lambda: got.append(take(tokens.fd))) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(got) == 5 == tokens.taken
        tokens.give(2)
        assert take(tokens.fd)
        tokens.take_back()
        assert tokens.taken == 6 and not take(tokens.fd)
    finally:
        tokens.close()


def test_a_mark_fails_waits_and_kills_as_often_as_there_are_tokens() -> None:
    """Only where name and server are meant; the process ends on its event loop's thread, the code goes no further."""
    given = [Tokens() for _ in range(3)]
    points = [
        (given[0].fd, Point(name="f", effect="fail", server="a")),
        (given[1].fd, Point(name="w", effect="wait", by_ns=30 * MS)),
        (given[2].fd, Point(name="c", effect="crash")),
    ]
    died = threading.Event()
    armed = Points(points, submit=lambda callback: callback(), die=died.set)

    def mark(name: str, server: str = "a") -> None:
        armed.reached(Entry(0, EntryKind.MARK, "", -1, server, f"{server}[0]", 1, name))

    mark("f")
    for tokens in given:
        tokens.give(1)
    mark("f", server="b")
    with pytest.raises(PointReached, match="a fail at f"):
        mark("f")
    mark("f")
    begin = time.monotonic()
    mark("w")
    assert time.monotonic() - begin >= 0.03
    threading.Thread(target=mark, args=("c",), daemon=True).start()
    assert died.wait(5) and [tokens.taken for tokens in given] == [1, 1, 1]
    for tokens in given:
        os.close(tokens.fd)
