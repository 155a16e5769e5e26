"""asyncio in simulated time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from palm.errors import HarnessError
from palm.sim.kernel import NANOSECONDS
from palm.sim.world import World

S = NANOSECONDS


def inside(body: Callable[[], Awaitable[Any]]) -> tuple[Any, float]:
    """The outcome of an async handler of a simulated process, and how long it took there."""
    host = World(7).host("one")
    outcomes: list[tuple[Any, float]] = []

    async def run(_: None) -> Any:
        return await body()

    host.executor("e").execute_async(run, [None], lambda _, outcome: outcomes.append((outcome, host.now() / S)))
    host.kernel.run()
    (outcome,) = outcomes
    return outcome


async def after(delay: float, value: Any) -> Any:
    await asyncio.sleep(delay)
    return value


def test_sleep_takes_simulated_time_to_the_nanosecond() -> None:
    """Ten tenths are one second, and an hour costs us nothing."""

    async def tenths() -> None:
        for _ in range(10):
            await asyncio.sleep(0.1)

    began = time.monotonic()
    assert inside(tenths) == (None, 1.0)
    assert inside(lambda: asyncio.sleep(3600, "slept")) == ("slept", 3600.0)
    assert time.monotonic() - began < 5


def test_gather_waits_for_the_slowest() -> None:
    """Its results come in the order of its arguments."""
    body = lambda: asyncio.gather(after(3, "a"), after(1, "b"), after(2, "c"))  # noqa: E731
    assert inside(body) == (["a", "b", "c"], 3.0)


def test_wait_for_and_timeout_end_in_time() -> None:
    """Both cancel what is late, at the very moment."""

    async def late() -> list[str]:
        seen = []
        try:
            await asyncio.wait_for(after(10, "late"), 1.5)
        except TimeoutError:
            seen.append(f"wait_for at {asyncio.get_running_loop().time()}")
        try:
            async with asyncio.timeout(2):
                await asyncio.Event().wait()
        except TimeoutError:
            seen.append(f"timeout at {time.monotonic()}")
        return seen

    assert inside(late) == (["wait_for at 1.5", "timeout at 3.5"], 3.5)


def test_queues_locks_and_task_groups_work() -> None:
    """What asyncio makes of callbacks and a clock is there: a producer, two workers behind a lock, in order."""

    async def body() -> list[tuple[int, float]]:
        queue: asyncio.Queue[int] = asyncio.Queue(maxsize=2)
        lock, seen = asyncio.Lock(), list[tuple[int, float]]()

        async def work() -> None:
            while (item := await queue.get()) >= 0:
                async with lock:
                    await asyncio.sleep(1)
                    seen.append((item, time.monotonic()))

        async with asyncio.TaskGroup() as group:
            group.create_task(work())
            group.create_task(work())
            for item in (1, 2, 3, -1, -1):
                await queue.put(item)
        return seen

    assert inside(body) == ([(1, 1.0), (2, 2.0), (3, 3.0)], 3.0)


def test_cancelling_a_task_works_as_ever() -> None:
    """CancelledError at its wait; its `finally` may wait."""

    async def body() -> list[str]:
        seen = []

        async def victim() -> None:
            try:
                await asyncio.sleep(100)
            finally:
                await asyncio.sleep(1)
                seen.append("cleaned up")

        task = asyncio.create_task(victim())
        await asyncio.sleep(1)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            seen.append("cancelled")
        return seen

    assert inside(body) == (["cleaned up", "cancelled"], 2.0)


def test_an_async_generator_of_the_handler_is_iterated() -> None:
    """`async for` inside a handler needs nothing more."""

    async def numbers():  # type: ignore[no-untyped-def]
        for number in range(3):
            await asyncio.sleep(1)
            yield number

    async def body() -> list[int]:
        return [number async for number in numbers()]

    assert inside(body) == ([0, 1, 2], 3.0)


@pytest.mark.parametrize(
    ("attempt", "advice"),
    [
        (lambda: asyncio.to_thread(print), "call the function directly"),
        (lambda: asyncio.open_connection("127.0.0.1", 9), "behind a server of its own"),
        (lambda: asyncio.create_subprocess_exec("true"), "behind a server of its own"),
        (lambda: asyncio.get_running_loop().create_server(asyncio.Protocol), "behind a server of its own"),
    ],
)
def test_the_outside_is_refused_by_name(attempt: Callable[[], Awaitable[Any]], advice: str) -> None:
    """Threads, sockets and processes, with what to do instead."""

    async def body() -> str:
        try:
            await attempt()
        except HarnessError as error:
            return str(error)
        return "nothing was raised"

    assert advice in inside(body)[0]


def test_a_blocking_sleep_in_an_async_handler_is_refused() -> None:
    """It would stop the whole process, here as on a real one."""

    async def body() -> str:
        try:
            time.sleep(1)
        except HarnessError as error:
            return str(error)
        return "nothing was raised"

    assert "await asyncio.sleep" in inside(body)[0]


def test_a_crash_closes_coroutines_behind_the_fence() -> None:
    """Their `finally` blocks run, waits in them do not, and their outcome reaches nobody."""
    host = World(7).host("one")
    seen: list[str] = []

    async def run(item: int) -> None:
        try:
            await asyncio.sleep(10)
        finally:
            seen.append("finally")
            await asyncio.sleep(1)
            seen.append("after a wait")

    host.executor("e").execute_async(run, [1, 2], lambda index, outcome: seen.append("done"))
    host.kernel.call_at(S, host.crash)
    host.kernel.run()
    assert seen == ["finally", "finally"]


def test_a_frozen_process_has_frozen_coroutines() -> None:
    """They go on late, at the thaw."""
    host = World(7).host("one")
    done: list[float] = []

    async def run(item: int) -> float:
        await asyncio.sleep(1)
        return time.monotonic()

    host.executor("e").execute_async(run, [1], lambda index, outcome: done.append(outcome))
    host.kernel.call_at(S // 2, host.freeze)
    host.kernel.call_at(5 * S, host.thaw)
    host.kernel.run()
    assert done == [5.0]


def test_the_simulator_may_run_inside_a_real_loop() -> None:
    """The real loop is the running one again after each simulated handle."""

    async def real() -> tuple[Any, float]:
        outcome = inside(lambda: asyncio.sleep(5, "simulated"))
        await asyncio.sleep(0)
        return outcome

    assert asyncio.run(real()) == ("simulated", 5.0)
