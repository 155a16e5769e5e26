"""The simulated process: clocks, timers, gates, user code, and its ways to stop."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from palm.errors import BadRequest, HarnessError
from palm.sim.draws import ZERO, Distribution, Fixed, LogNormal
from palm.sim.host import Host
from palm.sim.kernel import NANOSECONDS
from palm.sim.world import World

S = NANOSECONDS


def host_of(service: Distribution = ZERO, **options: Any) -> Host:
    return World(7).host("one", service=service, **options)


# -- time ------------------------------------------------------------------------------------------------------------


def test_a_drifting_clock_keeps_its_timers_true() -> None:
    """A callback comes once the host's own clock has reached its moment, whether that runs fast, slow or changes."""
    for ppm, change in ((0, 0), (300, 300), (-300, -300), (100_000, -100_000), (-100_000, 100_000)):
        host = host_of(clock_offset=5 * S, drift_ppm=ppm)
        seen: list[int] = []
        host.call_at(host.now() + 10 * S, lambda host=host, seen=seen: seen.append(host.now()))
        host.kernel.call_at(5 * S, lambda host=host, change=change: host.clock.drift(change))
        host.kernel.run()
        assert 0 <= seen[0] - 15 * S <= (1000 if ppm == change else 2 * S), (ppm, change)


def test_a_clock_that_runs_fast_reaches_its_moment_early() -> None:
    """At +10 %, eleven seconds of its own pass in ten of the world's."""
    host = host_of(drift_ppm=100_000)
    host.kernel.run(10 * S)
    assert host.now() == 11 * S


def test_a_jump_of_the_wall_clock_moves_no_timer() -> None:
    """The wall clock is for people; the monotonic clock goes on."""
    host = host_of()
    wall, now = host.wall(), host.now()
    host.clock.wall_offset = 3600 * S
    assert host.wall() - wall == 3600 * S and host.now() == now


def test_draws_differ_by_name_ordinal_process_and_life() -> None:
    """The same four give the same stream in each run."""
    world = World(7)
    one, two = world.host("one"), world.host("two")
    first = one.draw("x").random()
    assert first == World(7).host("one").draw("x").random()
    one.crash()
    again = world.host("one")
    others = [one.draw("y").random(), one.draw("x", 1).random(), two.draw("x").random(), again.draw("x").random()]
    assert len({first, *others}) == 5


# -- dying and freezing ----------------------------------------------------------------------------------------------


def test_a_machine_that_was_suspended_goes_on_with_its_memory_and_without_its_links() -> None:
    """What was sent to it meanwhile is lost, its timers come late, and links come up again: what is sent then
    arrives."""
    world = World(7)
    one, two = world.host("one"), world.host("two")
    heard: list[bytes] = []
    timers: list[int] = []
    one.transport.start(lambda arrivals: None)
    two.transport.start(lambda arrivals: heard.extend(frame[0] for one in arrivals for frame in one.frames))
    one.transport.connect(two.transport.peer, two.transport.bind())
    kernel = world.kernel
    kernel.call_at(S, lambda: one.transport.send(two.transport.peer, (b"before",)))
    kernel.call_at(2 * S, two.suspend)
    kernel.call_at(2 * S + S // 10, lambda: one.transport.send(two.transport.peer, (b"while it slept",)))
    two.call_at(3 * S, lambda: timers.append(kernel.now))
    kernel.call_at(12 * S, two.resume)
    kernel.call_at(14 * S, lambda: one.transport.send(two.transport.peer, (b"after",)))
    kernel.run(16 * S)
    assert heard == [b"before", b"after"] and timers == [12 * S]
    assert one.transport.link_state(two.transport.peer) == "up" and two.alive and not two.frozen


def test_one_that_is_suspended_is_woken_by_nothing_else_and_may_die() -> None:
    """The end of a freeze is not the end of it; a crash is."""
    host = host_of()
    host.freeze()
    host.suspend()
    host.thaw()
    assert host.frozen and host.suspended
    host.crash()
    host.resume()
    assert not host.alive


def test_a_crash_is_a_fence_before_it_is_anything_else() -> None:
    """Timers, tasks and user code of the dead do nothing more; `finally` blocks run, and what they do reaches
    nobody."""
    world = World(7)
    one, two = world.host("one"), world.host("two")
    seen: list[str] = []
    two.transport.start(lambda arrivals: seen.append("a frame from the dead"))
    one.transport.connect(two.transport.peer, two.transport.bind())

    async def polite() -> None:
        lease = await one.registry.grant(5)
        try:
            await one.sleep(100 * S)
        finally:
            seen.append("finally")
            one.transport.send(two.transport.peer, (b"goodbye",))
            one.call_soon(lambda: seen.append("a callback of the dead"))
            await one.registry.revoke(lease.id)
            seen.append("revoked")

    one.spawn(polite(), "polite")
    one.call_at(50 * S, lambda: seen.append("a timer of the dead"))
    world.kernel.call_at(2 * S, one.crash)
    world.kernel.run(4 * S)
    assert world.registry.etcd.leases(world.kernel.now).ids, "a crash must not revoke the lease"
    world.kernel.run(200 * S)
    assert seen == ["finally"]


def test_a_frozen_process_does_late_what_it_would_have_done() -> None:
    """Timers and tasks stand still, its clock does not; at the thaw all happens in its order."""
    host = host_of()
    seen: list[tuple[str, int]] = []

    async def tick() -> None:
        for number in range(3):
            await host.sleep(S)
            seen.append((f"tick {number}", host.now() // S))

    host.spawn(tick(), "tick")
    host.call_at(2 * S + 1, lambda: seen.append(("timer", host.now() // S)))
    cancelled = host.call_at(3 * S, lambda: seen.append(("cancelled", 0)))
    host.kernel.call_at(S + 1, host.freeze)
    host.kernel.call_at(10 * S, host.thaw)
    host.call_at(2 * S + 2, cancelled.cancel)
    host.kernel.run()
    assert seen == [("tick 0", 1), ("timer", 10), ("tick 1", 10), ("tick 2", 11)]


def test_a_name_lives_once() -> None:
    """A second process of one name is a restart, and only after the first has died."""
    world = World(7)
    first = world.host("one")
    with pytest.raises(BadRequest, match="'one' is alive"):
        world.host("one")
    first.crash()
    assert world.host("one").life == 1


def test_an_exception_in_a_process_ends_the_run() -> None:
    """A bug in a spawned coroutine is reported, not swallowed."""
    host = host_of()

    async def fail() -> None:
        await host.sleep(1)
        raise KeyError("bug")

    host.spawn(fail(), "fail")
    with pytest.raises(HarnessError, match="KeyError"):
        host.kernel.run()


# -- gates -----------------------------------------------------------------------------------------------------------


def test_waiting_at_a_gate_from_outside_runs_the_world() -> None:
    """True once somebody opened it, and it is closed again behind the waiter; False after the simulated timeout."""
    host = host_of()
    gate = host.gate()
    host.call_at(3 * S, gate.open)
    assert gate.wait(10.0) and host.now() == 3 * S
    assert not gate.wait(2.0) and host.now() == 5 * S
    gate.open()
    assert gate.wait(None) and host.now() == 5 * S


def test_waiting_for_what_can_never_come_is_an_error() -> None:
    """A world without events, or a process that died, cannot open a gate."""
    host = host_of()
    with pytest.raises(HarnessError, match="nothing is left to happen"):
        host.gate().wait(None)
    host.kernel.call_at(S, host.crash)
    with pytest.raises(HarnessError, match="its process is dead"):
        host.gate().wait(None)


def test_a_gate_in_a_callback_is_refused() -> None:
    """It would stop the world that is to open it."""
    host = host_of()
    host.call_soon(lambda: host.gate().wait(1.0))
    with pytest.raises(HarnessError, match="await the asynchronous form"):
        host.kernel.run()


# -- user code -------------------------------------------------------------------------------------------------------


def run_batch(host: Host, run: Callable[[Any], Any], items: list[Any]) -> list[tuple[int, list[Any]]]:
    """Hand one batch to a new executor, and let the world run: (moment, outcomes) for each piece."""
    pieces: list[tuple[int, list[Any]]] = []
    host.executor("e").execute("f", run, items, lambda outcomes: pieces.append((host.now(), outcomes)))
    host.kernel.run()
    return pieces


def test_items_that_take_no_time_come_together() -> None:
    """One piece, at the moment they were given."""
    assert run_batch(host_of(), lambda item: item * 2, [1, 2, 3]) == [(0, [2, 4, 6])]


def test_each_item_takes_its_own_service_time() -> None:
    """The second is called when the first is done, and each is handed over as it is ready."""
    host = host_of(Fixed(S))
    called: list[int] = []

    def run(item: int) -> int:
        called.append(host.now())
        return item

    assert run_batch(host, run, [1, 2, 3]) == [(S, [1]), (2 * S, [2]), (3 * S, [3])]
    assert called == [0, S, 2 * S]


def test_batches_of_one_executor_run_one_after_another() -> None:
    """In the order given; those of another executor run beside them."""
    host = host_of(Fixed(S))
    pieces: list[tuple[str, int]] = []
    one, two = host.executor("one"), host.executor("two")
    for executor, name in ((one, "a"), (one, "b"), (two, "c")):
        executor.execute("f", lambda item: item, [0], lambda _, name=name: pieces.append((name, host.now() // S)))
    host.kernel.run()
    assert pieces == [("a", 1), ("c", 1), ("b", 2)]


def test_handlers_may_block_on_each_other() -> None:
    """A handler that waits at a gate parks; another that started later opens it, and both end."""
    host = host_of()
    gate = host.gate()
    seen: list[tuple[str, bool, int]] = []

    def waits(_: int) -> None:
        seen.append(("waited", gate.wait(None), host.now()))

    def opens(_: int) -> None:
        import time

        time.sleep(5)
        gate.open()
        seen.append(("opened", True, host.now()))

    host.executor("one").execute("f", waits, [0], lambda _: None)
    host.executor("two").execute("f", opens, [0], lambda _: None)
    host.kernel.run()
    assert seen == [("opened", True, 5 * S), ("waited", True, 5 * S)]


def test_a_blocking_wait_in_a_handler_times_out_in_simulated_time() -> None:
    """False after its timeout, and the handler goes on."""
    host = host_of()
    assert run_batch(host, lambda _: (host.gate().wait(2.5), host.now()), [0]) == [(5 * S // 2, [(False, 5 * S // 2)])]


def test_a_crash_in_the_middle_of_a_batch_loses_the_rest() -> None:
    """What was handed over stays so; the handler that ran ends where it waits, and nothing more is called."""
    host = host_of(Fixed(S))
    called: list[int] = []
    ended: list[str] = []
    pieces: list[list[int]] = []

    def run(item: int) -> int:
        called.append(item)
        try:
            host.gate().wait(0.5)
        finally:
            ended.append(f"{item} at {host.kernel.now / S}")
        return item

    host.executor("e").execute("f", run, [1, 2, 3], pieces.append)
    host.kernel.call_at(7 * S // 4, host.crash)
    host.kernel.run()
    assert pieces == [[1]] and called == [1, 2] and ended == ["1 at 0.5", "2 at 1.75"]


def test_a_handler_that_exits_the_process_kills_it() -> None:
    """`os._exit` in user code is a crash of its simulated process, and of nothing else."""
    world = World(7)
    host, deaths = world.host("one"), list[str]()
    host.on_crash(lambda host: deaths.append(host.name))
    pieces = run_batch(host, lambda item: os._exit(1) if item == 2 else item, [1, 2, 3])  # type: ignore[func-returns-value]
    assert not host.alive and deaths == ["one"] and not pieces


def test_closing_an_executor_waits_for_what_runs() -> None:
    """True when all is done within the time, False when something still runs."""
    host = host_of(Fixed(3 * S))
    executor = host.executor("e")
    executor.execute("f", lambda item: item, [1], lambda _: None)
    assert host.kernel.complete(executor.aclose(1.0)) is False and host.now() == S
    assert host.kernel.complete(executor.aclose(5.0)) is True and host.now() < 3 * S + 2_000_000


def test_coroutines_run_beside_each_other() -> None:
    """Ten that sleep a second are done after one second and a service time each, named by their index."""
    import asyncio

    host = host_of(Fixed(S // 2))
    done: list[tuple[int, Any, int]] = []

    async def run(item: int) -> int:
        await asyncio.sleep(1)
        return item * 2

    host.executor("e").execute_async(run, range(10), lambda index, outcome: done.append((index, outcome, host.now())))
    host.kernel.run()
    assert done == [(index, index * 2, 3 * S // 2) for index in range(10)]


# -- the whole -------------------------------------------------------------------------------------------------------

SCRIPT = Path(__file__).with_name("small_world.py")


def test_one_seed_is_one_run_whatever_the_hash_seed() -> None:
    """Three processes with three hash seeds print the same trace hash for one seed, and another for another."""

    def trace(seed: int, hash_seed: str) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        command = [sys.executable, str(SCRIPT), str(seed)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
        return done.stdout

    first = trace(7, "0")
    assert first == trace(7, "1") == trace(7, "random") and len(first) > 32
    assert trace(8, "0") != first


def test_ten_thousand_idle_processes_are_small() -> None:
    """At most 8 KB each, with transport, registry, clock, a task and a timer."""
    import tracemalloc

    world = World(7)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(1000):
        host = world.host(f"n{number}", service=LogNormal(1, 2))
        host.transport.start(lambda arrivals: None)
        host.transport.bind()
        host.call_at(S, lambda: None)
        host.spawn(host.sleep(S), "idle")
    world.kernel.run(S // 2)
    each = (tracemalloc.get_traced_memory()[0] - before) / 1000
    tracemalloc.stop()
    world.kernel.run()
    assert each < 8192, f"{each} bytes each"
