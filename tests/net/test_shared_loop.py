"""One event loop, run by its own thread and by callers in turn."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Callable

import pytest

from palm.errors import ClientClosed
from palm.net import shared_loop
from palm.net.shared_loop import SharedLoop, Turn

LONG_S = 20.0
"""Nothing here takes as long, unless somebody was forgotten."""


@contextmanager
def running(
    ends: list[asyncio.Event] | None = None, prepare: Callable[[SharedLoop], object] = lambda made: None
) -> Iterator[SharedLoop]:
    """A shared loop at work on a thread of its own, until the block ends or the event that comes into `ends` is set."""
    made: list[SharedLoop] = []
    ends = [] if ends is None else ends
    ready = threading.Event()

    async def main() -> None:
        ends.append(asyncio.Event())
        ready.set()
        await ends[0].wait()

    def run() -> None:
        made.append(SharedLoop())
        prepare(made[0])
        made[0].run(main())

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(LONG_S)
    try:
        yield made[0]
    finally:
        if not made[0].is_over:
            made[0].submit(ends[0].set)
        thread.join(LONG_S)
        assert not thread.is_alive()


def heard(shared: SharedLoop, say: Callable[[Callable[[], None]], object]) -> bool:
    """Whether a callback that `say` arranges for is called."""
    called = threading.Event()
    say(called.set)
    return called.wait(LONG_S)


def thread_of_a_turn(shared: SharedLoop) -> int:
    """Which thread runs what a caller submits in its turn, and sees later on the loop."""
    seen: list[int] = []
    with Turn(shared) as turn:

        def later() -> None:
            seen.append(threading.get_ident())
            turn.open()

        shared.submit(lambda: seen.append(threading.get_ident()))
        shared.submit(lambda: None if shared.loop.call_later(0.001, later) else None)
        assert turn.wait(LONG_S)
    assert seen[0] == seen[1]
    return seen[0]


def test_a_caller_runs_the_loop_while_it_waits() -> None:
    """No other thread is involved, in the first turn and in those right behind it."""
    with running() as shared:
        assert {thread_of_a_turn(shared) for _ in range(50)} == {threading.get_ident()}


def test_the_loops_thread_takes_it_back_when_callers_stay_away() -> None:
    """A timer that is due after the last turn fires, on the loop's own thread."""
    with running() as shared:
        threads: list[int] = []
        fired = threading.Event()

        def fire() -> None:
            threads.append(threading.get_ident())
            fired.set()

        with Turn(shared):
            shared.submit(lambda: None if shared.loop.call_later(0.05, fire) else None)
        assert fired.wait(LONG_S)
        assert threads != [threading.get_ident()]


def test_the_loops_thread_takes_it_back_after_a_long_turn() -> None:
    """However long the turn was, its end is noticed."""
    with running() as shared:
        with Turn(shared) as turn:
            assert not turn.wait(20 * shared_loop.GRACE_S)
        assert heard(shared, shared.loop.call_soon_threadsafe)


def test_who_else_needs_the_loop_does_not_wait_for_the_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """What another thread submits between turns brings the loop's thread back at once."""
    monkeypatch.setattr(shared_loop, "GRACE_S", 10 * LONG_S)
    with running() as shared:
        thread_of_a_turn(shared)
        begin = time.monotonic()
        other = threading.Thread(target=lambda: heard(shared, shared.submit))
        other.start()
        other.join()
        assert time.monotonic() - begin < LONG_S


def test_who_waits_during_a_turn_is_not_stranded_by_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller goes and never comes back; what another thread began in its turn goes on."""
    monkeypatch.setattr(shared_loop, "GRACE_S", 10 * LONG_S)
    with running() as shared:
        ended = threading.Event()
        answers: list[bool] = []

        def other() -> None:
            with Turn(shared) as gate:
                shared.submit(lambda: None if shared.loop.call_later(0.1, gate.open) else None)
                shared.submit(ended.set)
                answers.append(gate.wait(LONG_S))

        thread = threading.Thread(target=other)
        with Turn(shared) as turn:
            thread.start()
            while not ended.is_set():
                turn.wait(0.001)
        thread.join(2 * LONG_S)
        assert answers == [True]


def test_a_wait_ends_with_its_time() -> None:
    """False, not before the time, and again for a shorter one."""
    with running() as shared, Turn(shared) as turn:
        for limit_s in (0.05, 0.02, 0.03):
            begin = time.monotonic()
            assert not turn.wait(limit_s)
            assert limit_s <= time.monotonic() - begin < LONG_S


def test_an_interrupt_ends_a_wait_and_leaves_the_loop_usable() -> None:
    """KeyboardInterrupt comes at once; the next turn is like any other, and so is the handler."""
    before = signal.getsignal(signal.SIGINT)
    with running() as shared:
        begin = time.monotonic()
        with pytest.raises(KeyboardInterrupt), Turn(shared) as turn:
            threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
            turn.wait(LONG_S)
        assert time.monotonic() - begin < LONG_S
        assert signal.getsignal(signal.SIGINT) is before
        assert thread_of_a_turn(shared) == threading.get_ident()
        assert heard(shared, shared.loop.call_soon_threadsafe)


def test_an_interrupt_never_cuts_a_callback_in_two() -> None:
    """It waits until the callback has ended."""
    with running() as shared:
        steps: list[str] = []

        def callback() -> None:
            signal.raise_signal(signal.SIGINT)
            steps.append("whole")

        with pytest.raises(KeyboardInterrupt), Turn(shared) as turn:
            shared.loop.call_soon(callback)
            turn.wait(LONG_S)
        assert steps == ["whole"]


def test_a_handler_that_does_not_raise_lets_the_wait_go_on() -> None:
    """It is called, once, and the answer still comes."""
    called: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: called.append(number))
    try:
        with running() as shared, Turn(shared) as turn:
            shared.submit(lambda: None if shared.loop.call_later(0.05, turn.open) else None)
            shared.loop.call_soon(signal.raise_signal, signal.SIGINT)
            assert turn.wait(LONG_S)
        assert called == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_wait_in_somebody_elses_loop_does_not_run_ours() -> None:
    """asyncio allows one running loop in a thread: such a caller waits for the loop's own thread."""
    with running() as shared:

        async def call() -> bool:
            with Turn(shared) as gate:
                shared.submit(gate.open)
                return gate.wait(LONG_S)

        assert asyncio.run(call())


def test_the_end_of_the_loop_ends_a_turn() -> None:
    """Who runs the loop when it ends is told so."""
    ends: list[asyncio.Event] = []
    with running(ends) as shared:
        with pytest.raises(ClientClosed), Turn(shared) as turn:
            shared.submit(ends[0].set)
            turn.wait(LONG_S)
        with pytest.raises(ClientClosed), Turn(shared):
            pass


def test_an_error_in_a_callback_is_not_the_callers() -> None:
    """It goes to the loop's handler, as it would from any other callback."""
    with running() as shared:
        told: list[object] = []
        shared.loop.set_exception_handler(lambda loop, context: told.append(context["exception"]))
        with Turn(shared):
            shared.submit(lambda: print(1 // 0))
        assert [type(error) for error in told] == [ZeroDivisionError]


def test_many_callers_all_get_their_answers() -> None:
    """Some run the loop, the others are served by them; nobody waits for long."""
    with running() as shared:
        longest: list[float] = []

        def call() -> None:
            for _ in range(300):
                begin = time.monotonic()
                with Turn(shared) as gate:

                    def soon(gate: Turn = gate) -> None:
                        shared.loop.call_later(0.0002, gate.open)

                    shared.submit(soon)
                    assert gate.wait(LONG_S)
                longest.append(time.monotonic() - begin)

        threads = [threading.Thread(target=call) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(3 * LONG_S)
        assert len(longest) == 1800
        assert max(longest) < 2.0


class LateLock:
    """A lock that a caller who has to wait for it gets late: others take it and let it go in the meantime."""

    def __init__(self, shared: SharedLoop) -> None:
        self._lock = threading.Lock()
        self._shared = shared
        self.was_late = self.came = False

    def acquire(self, blocking: bool = True) -> bool:
        if not blocking:
            return self._lock.acquire(blocking=False)
        self.was_late = True
        until = time.monotonic() + 0.3
        while time.monotonic() < until:
            self._shared.submit(lambda: None)  # somebody has need of the loop: its own thread comes back at once
            time.sleep(0.001)
        self.came = self._lock.acquire(timeout=LONG_S / 4)
        if not self.came:
            raise TimeoutError("the loop's thread keeps the loop")
        return True

    def release(self) -> None:
        self._lock.release()

    def locked(self) -> bool:
        return self._lock.locked()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()


def test_a_caller_who_has_asked_gets_the_loop_however_late_it_wakes() -> None:
    """Its thread may be scheduled long after the loop was given up for it, and be overtaken by the loop's own."""
    locks: list[LateLock] = []

    def prepare(made: SharedLoop) -> None:
        locks.append(LateLock(made))
        made._baton = locks[0]  # type: ignore[assignment]

    with running(prepare=prepare) as shared:
        assert heard(shared, shared.submit)
        with Turn(shared):
            assert locks[0].was_late and locks[0].came
