"""The kernel: order, time, coroutines, and how a run ends."""

from __future__ import annotations

import pytest
import simpy

from palm.errors import HarnessError
from palm.sim.kernel import Cancelled, Future, Kernel


def test_what_is_due_at_one_moment_runs_in_the_order_it_was_asked_for() -> None:
    """Ties are broken by a counter, whether by `call_at` or `call_soon`."""
    kernel, seen = Kernel(1), list[str]()
    for name in "abc":
        kernel.call_at(5, lambda name=name: seen.append(name))
    kernel.call_at(5, lambda: kernel.call_soon(lambda: seen.append("soon")))
    kernel.call_at(5, lambda: seen.append("d"))
    kernel.run()
    assert seen == ["a", "b", "c", "d", "soon"] and kernel.now == 5


def test_ten_tenths_are_one() -> None:
    """Time is integer nanoseconds: ten sleeps of 0.1 s end at the very moment of one sleep of 1 s."""
    kernel, ends = Kernel(1), list[int]()

    async def sleep(times: int, duration: int) -> None:
        for _ in range(times):
            await kernel.sleep(duration)
        ends.append(kernel.now)

    kernel.spawn(sleep(10, 100_000_000), "tenths")
    kernel.spawn(sleep(1, 1_000_000_000), "one")
    kernel.run()
    assert ends == [1_000_000_000, 1_000_000_000]


def test_a_past_moment_is_now() -> None:
    """`call_at` never turns the clock back."""
    kernel, seen = Kernel(1), list[int]()
    kernel.call_at(10, lambda: kernel.call_at(3, lambda: seen.append(kernel.now)))
    kernel.run()
    assert seen == [10]


def test_a_cancelled_timer_is_not_called() -> None:
    """Neither before it is due nor after it was called does `cancel` harm."""
    kernel, seen = Kernel(1), list[str]()
    cancelled = kernel.call_at(5, lambda: seen.append("cancelled"))
    called = kernel.call_at(6, lambda: seen.append("called"))
    cancelled.cancel()
    cancelled.cancel()
    kernel.run()
    called.cancel()
    assert seen == ["called"] and kernel.idle


def test_cancelled_timers_do_not_pile_up() -> None:
    """A million timeouts that never came to pass leave a short heap, and the order of the others is kept."""
    kernel, seen = Kernel(1), list[int]()
    for moment in range(100_000):
        kernel.call_at(1_000_000 + moment, lambda: seen.append(-1)).cancel()
        if moment % 1000 == 0:
            kernel.call_at(moment, lambda moment=moment: seen.append(moment))
    assert len(kernel._queue) < 10_000
    kernel.run()
    assert seen == list(range(0, 100_000, 1000))


def test_a_run_stops_at_its_limit_and_goes_on_from_there() -> None:
    """What is due at the limit itself still runs; the clock stands at the limit."""
    kernel, seen = Kernel(1), list[int]()
    for moment in (1, 10, 11):
        kernel.call_at(moment, lambda: seen.append(kernel.now))
    kernel.run(until=10)
    assert seen == [1, 10] and kernel.now == 10
    kernel.run(until=20)
    assert seen == [1, 10, 11] and kernel.now == 20


def test_run_until_stops_at_the_event_that_made_it_true() -> None:
    """True at that event; False at the limit, or when nothing is left."""
    kernel, seen = Kernel(1), list[int]()
    for moment in (1, 2, 3):
        kernel.call_at(moment, lambda: seen.append(kernel.now))
    assert kernel.run_until(lambda: 2 in seen) and kernel.now == 2
    assert not kernel.run_until(lambda: 9 in seen, 7) and kernel.now == 7
    assert not kernel.run_until(lambda: 9 in seen) and kernel.idle


def test_an_exception_in_a_callback_ends_the_run_as_the_harness_error_it_caused() -> None:
    """It is chained, it names the moment, and the world cannot be run on."""
    kernel = Kernel(1)
    kernel.call_at(5, lambda: {}["missing"])
    with pytest.raises(HarnessError, match="at 5 ns: KeyError") as caught:
        kernel.run()
    assert isinstance(caught.value.__cause__, KeyError)
    with pytest.raises(HarnessError, match="at 5 ns: KeyError"):
        kernel.run()


def test_an_exception_in_a_coroutine_ends_the_run() -> None:
    """No task dies unseen."""
    kernel = Kernel(1)

    async def fail() -> None:
        await kernel.sleep(3)
        raise ValueError("no")

    kernel.spawn(fail(), "failing")
    with pytest.raises(HarnessError, match="at 3 ns: ValueError: no"):
        kernel.run()


def test_the_kernel_is_not_run_from_inside() -> None:
    """A callback that runs the kernel would turn its order upside down."""
    kernel = Kernel(1)
    kernel.call_soon(kernel.run)
    with pytest.raises(HarnessError, match="already runs"):
        kernel.run()


def test_cancelling_passes_through_an_except_exception() -> None:
    """`Cancelled` is a BaseException, raised at the present wait; `finally` runs, and may wait."""
    kernel, seen = Kernel(1), list[str]()

    async def stubborn() -> None:
        try:
            try:
                await kernel.sleep(100)
            except Exception:
                seen.append("swallowed")
        finally:
            await kernel.sleep(5)
            seen.append(f"cleaned up at {kernel.now}")

    task = kernel.spawn(stubborn(), "stubborn")
    kernel.call_at(10, task.cancel)
    kernel.run()
    assert seen == ["cleaned up at 15"] and task.done and kernel.now == 15


def test_a_task_that_is_cancelled_before_it_began_never_begins() -> None:
    """Nor does a second cancel, or one of a task that is done, do anything."""
    kernel, seen = Kernel(1), list[str]()

    async def body() -> None:
        seen.append("began")

    task = kernel.spawn(body(), "body")
    task.cancel()
    task.cancel()
    kernel.run()
    task.cancel()
    kernel.run()
    assert not seen and task.done


def test_a_value_that_comes_as_its_waiter_is_cancelled_goes_to_nobody() -> None:
    """The tie that loses items in a simpy Store: the cancelled one is cancelled, and the next still gets its own."""
    kernel, got = Kernel(1), list[str]()
    first, second = Future[str](), Future[str]()

    async def wait(future: Future[str]) -> None:
        got.append(await future)

    cancelled = kernel.spawn(wait(first), "first")
    kernel.spawn(wait(second), "second")
    kernel.call_at(5, lambda: first.set("lost"))
    kernel.call_at(5, cancelled.cancel)
    kernel.call_at(5, lambda: second.set("second"))
    kernel.run()
    assert got == ["second"] and cancelled.done


def test_killing_runs_finally_blocks_but_no_further_waits() -> None:
    """A killed coroutine is closed where it stands, even if it refuses to go."""
    kernel, seen = Kernel(1), list[str]()

    async def clinging() -> None:
        try:
            await kernel.sleep(100)
        finally:
            seen.append("finally")
            await kernel.sleep(1)
            seen.append("after a wait")

    task = kernel.spawn(clinging(), "clinging")
    kernel.call_at(10, task.kill)
    kernel.run()
    assert seen == ["finally"] and task.done


def test_complete_returns_the_value_or_raises_what_the_coroutine_raised() -> None:
    """The exception comes as it is, and the world can be run on after it."""
    kernel = Kernel(1)

    async def answer(raises: bool) -> int:
        await kernel.sleep(5)
        if raises:
            raise ValueError("as it is")
        return 42

    assert kernel.complete(answer(False)) == 42
    with pytest.raises(ValueError, match="as it is"):
        kernel.complete(answer(True))
    assert kernel.now == 10


def test_complete_is_bounded() -> None:
    """A coroutine that waits beyond the limit is killed, and that is a fault of the run."""
    kernel = Kernel(1)
    with pytest.raises(HarnessError, match="still waits"):
        kernel.complete(kernel.sleep(100), limit_ns=50)


def test_awaiting_a_stranger_names_it() -> None:
    """What the kernel does not know is an error that says so, not a task that sleeps for ever."""
    kernel = Kernel(1)

    class Stranger:
        def __await__(self):  # type: ignore[no-untyped-def]  # whatever some other library's awaitables do
            yield "a stranger"

    async def body() -> None:
        await Stranger()

    kernel.spawn(body(), "body")
    with pytest.raises(HarnessError, match="awaits 'a stranger'"):
        kernel.run()


def test_stock_simpy_events_run_beside_our_own() -> None:
    """A test may bring a simpy model of its own; both share one clock and one order."""
    kernel, seen = Kernel(1), list[tuple[str, int]]()

    def model(environment: simpy.Environment):  # type: ignore[no-untyped-def]  # simpy's generators have no useful type
        for _ in range(2):
            yield environment.timeout(10)
            seen.append(("simpy", kernel.now))

    kernel.environment.process(model(kernel.environment))
    kernel.call_at(10, lambda: seen.append(("ours", kernel.now)))
    kernel.run()
    assert seen == [("ours", 10), ("simpy", 10), ("simpy", 20)]


def test_the_trace_hashes_what_where_when_and_its_fate() -> None:
    """Any difference in them is another hash; the sink gets one line for each record."""
    hashes, lines = set[str](), list[str]()
    for now, dst, fate, parts in [
        (1, "b", "sent", (b"xy",)), (2, "b", "sent", (b"xy",)), (1, "c", "sent", (b"xy",)),
        (1, "b", "lost", (b"xy",)), (1, "b", "sent", (b"x", b"y")), (1, "b", "sent", (b"xz",)),
    ]:  # fmt: skip
        kernel = Kernel(1)
        kernel.trace.sink = lines.append
        kernel.call_at(now, lambda k=kernel, d=dst, f=fate, p=parts: k.trace.record("a", d, f, *p))
        kernel.run()
        hashes.add(kernel.trace.hexdigest())
    assert len(hashes) == 6 and len(lines) == 6


def test_cancelled_is_no_exception() -> None:
    """User code that catches every Exception cannot keep a task alive."""
    assert not issubclass(Cancelled, Exception)


def test_a_moment_that_never_ends_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Something that asks to be called again at once, for ever, would hang the run without a word."""
    monkeypatch.setattr("palm.sim.kernel.STUCK_AT", 1000)
    kernel = Kernel(0)

    def again() -> None:
        kernel.call_at(kernel.now, again)

    kernel.call_at(5, again)
    with pytest.raises(HarnessError, match="at 5 ns: 1000 callbacks, and time stands still: .*again"):
        kernel.run()
