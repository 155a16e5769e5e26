"""Runs user code beside the event loop: plain functions in one worker thread, coroutines on a loop of their own.

What crosses threads crosses in batches, and the receiving side is woken only when it is not awake already: a hand-over
for each message would cost more than the whole protocol. A kind of work that was measured to be fast runs inline, on
the event loop, as long as the thread has nothing to do; one long item and it never does again.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from functools import partial
from queue import SimpleQueue
from time import perf_counter_ns
from typing import Any, Awaitable, Callable, Sequence

PIECE = 1_000_000
"""Outcomes wait at most this long (ns) for those behind them."""

INLINE_MEAN = 20_000
INLINE_SLOW = 200_000
INLINE_AFTER = 256
INLINE_STRIKES = 3
"""Work is inline once INLINE_AFTER items took less than INLINE_MEAN (ns) on average, while of the last thousands fewer
than INLINE_STRIKES were slow. Not one only: what is preempted on a busy machine looks slow, too."""

INLINE_BUDGET = 500_000
"""What one batch may take inline (ns) before the rest of it goes to the thread: heartbeats wait no longer than this."""

INLINE_NEVER = 20_000_000
"""An inline item of this length (ns) ends it for its kind of work."""


class _Pace:
    """What was seen of one kind of work."""

    __slots__ = ("items", "spent", "strikes", "never")

    def __init__(self) -> None:
        self.items = 0
        self.spent = 0
        self.strikes = 0
        self.never = False

    def saw(self, items: int, spent: int) -> None:
        self.items += items
        self.spent += spent
        self.strikes += spent > INLINE_SLOW * items
        if self.items > 8 * INLINE_AFTER:  # the past counts less and less
            self.items //= 2
            self.spent //= 2
            self.strikes //= 2

    @property
    def is_fast(self) -> bool:
        return (
            not self.never
            and self.items >= INLINE_AFTER
            and self.spent < INLINE_MEAN * self.items
            and self.strikes < INLINE_STRIKES
        )


_Work = tuple[_Pace, Callable[[Any], Any], Sequence[Any], Callable[[list[Any]], None]]


class ThreadExecutor:
    """Belongs to the thread of `loop`; `execute` and its `done` callbacks run there."""

    def __init__(self, loop: asyncio.AbstractEventLoop, name: str, *, inline: bool = True) -> None:
        self._loop = loop
        self._name = name
        self._inline = inline
        self._paces: dict[str, _Pace] = {}
        self._queue: SimpleQueue[_Work | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._beside: list[threading.Thread] = []
        self._beside_queue: SimpleQueue[tuple[Callable[[Any], Any], Any, Callable[[Any], None]] | None] = SimpleQueue()
        self._beside_given = 0
        self._given = 0  # batches the thread has and is not done with
        self._side: _SideLoop | None = None
        self._home: deque[Callable[[], None]] = deque()
        self._home_pending = False
        self._closed = False

    # -- plain functions ----------------------------------------------------------------------------------------------

    def execute(
        self, label: str, run: Callable[[Any], Any], items: Sequence[Any], done: Callable[[list[Any]], None]
    ) -> None:
        pace = self._paces.get(label)
        if pace is None:
            pace = self._paces[label] = _Pace()
        if self._inline and not self._given and pace.is_fast:
            items = self._run_inline(pace, run, items, done)
            if not items:
                return
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=f"palm-{self._name}", daemon=True)
            self._thread.start()
        self._given += 1
        self._queue.put((pace, run, items, done))

    def waits(self, label: str) -> None:
        self._paces.setdefault(label, _Pace()).never = True

    def _run_inline(
        self, pace: _Pace, run: Callable[[Any], Any], items: Sequence[Any], done: Callable[[list[Any]], None]
    ) -> Sequence[Any]:
        """Run items until the budget is spent; what is left."""
        outcomes: list[Any] = []
        begin = perf_counter_ns()
        for item in items:
            outcomes.append(run(item))
            if len(outcomes) & 7 == 0 and perf_counter_ns() - begin > INLINE_BUDGET:
                break
        spent = perf_counter_ns() - begin
        pace.saw(len(outcomes), spent)
        if spent > INLINE_NEVER and spent > INLINE_SLOW * len(outcomes):
            pace.never = True
        done(outcomes)
        return items[len(outcomes) :]

    def _work(self) -> None:
        """The worker thread: batches in order, items one at a time, outcomes home in pieces."""
        while True:
            work = self._queue.get()
            if work is None:
                return
            pace, run, items, done = work
            outcomes: list[Any] = []
            begin = last = perf_counter_ns()
            for item in items:
                outcomes.append(run(item))
                now = perf_counter_ns()
                if now - last > PIECE:
                    self._bring_home(partial(done, outcomes))
                    outcomes = []
                    last = now
            spent = perf_counter_ns() - begin
            self._bring_home(partial(self._finish, pace, len(items), spent, done, outcomes))
            del work, run, items, done, outcomes  # hold no payload while waiting for the next

    def _finish(
        self, pace: _Pace, items: int, spent: int, done: Callable[[list[Any]], None], outcomes: list[Any]
    ) -> None:
        self._given -= 1
        pace.saw(items, spent)
        if outcomes:
            done(outcomes)

    # -- coroutines ---------------------------------------------------------------------------------------------------

    def execute_async(
        self,
        run: Callable[[Any], Awaitable[Any]],
        items: Sequence[Any],
        done: Callable[[int, Any], None],
        within: int | None = None,
    ) -> Callable[[], None]:
        if self._side is None:
            self._side = _SideLoop(self._name)
        side = self._side
        self._given += 1

        left = len(items)

        def finish(index: int, outcome: Any) -> None:
            nonlocal left
            left -= 1
            if not left:
                self._given -= 1
            done(index, outcome)

        async def one(index: int, item: Any) -> None:
            async with asyncio.timeout(None if within is None else within / 1e9):
                outcome = await run(item)
            self._bring_home(lambda: finish(index, outcome))

        def ended(index: int, task: asyncio.Task[None]) -> None:
            if task.cancelled():  # before it had begun: afterwards `run` makes an outcome of it
                self._bring_home(lambda: finish(index, None))

        return side.start([one(index, item) for index, item in enumerate(items)], ended)

    # -- beside each other --------------------------------------------------------------------------------------------

    def execute_beside(
        self, run: Callable[[Any], Any], items: Sequence[Any], done: Callable[[int, Any], None]
    ) -> None:
        for index, item in enumerate(items):
            self._beside_given += 1
            if self._beside_given > len(self._beside):
                number = len(self._beside) + 1
                thread = threading.Thread(target=self._work_beside, name=f"palm-{self._name}-{number}", daemon=True)
                self._beside.append(thread)
                thread.start()
            self._beside_queue.put((run, item, partial(self._finish_beside, done, index)))

    def _work_beside(self) -> None:
        while True:
            work = self._beside_queue.get()
            if work is None:
                return
            run, item, done = work
            self._bring_home(partial(done, run(item)))
            del work, run, item, done  # hold no payload while waiting for the next

    def _finish_beside(self, done: Callable[[int, Any], None], index: int, outcome: Any) -> None:
        self._beside_given -= 1
        done(index, outcome)

    # -- home ---------------------------------------------------------------------------------------------------------

    def _bring_home(self, callback: Callable[[], None]) -> None:
        """From any thread: call it on the event loop. One wake-up serves all that gather until it is heard."""
        self._home.append(callback)
        if not self._home_pending and not self._closed:
            self._home_pending = True
            try:
                self._loop.call_soon_threadsafe(self._arrived)
            except RuntimeError:  # the loop is closed: the process ends, nobody waits for outcomes
                self._closed = True

    def _arrived(self) -> None:
        self._home_pending = False  # before the drain: who appends from now on wakes us again
        home = self._home
        while home:
            home.popleft()()

    def state(self) -> dict[str, int]:
        return {
            "batches": self._given,
            "beside": self._beside_given,
            "threads": (self._thread is not None) + len(self._beside),
            "inline": sum(pace.is_fast for pace in self._paces.values()),
        }

    async def aclose(self, timeout_s: float) -> bool:
        until = self._loop.time() + timeout_s
        while (self._given or self._beside_given) and self._loop.time() < until:
            await asyncio.sleep(0.01)
        self._queue.put(None)
        for _ in self._beside:
            self._beside_queue.put(None)
        if self._side is not None:
            self._side.stop()
        return not self._given and not self._beside_given


class _SideLoop:
    """An event loop in a thread, for handlers that are coroutines: one that blocks stops its like, not the protocol."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, name=f"palm-{name}-async", daemon=True)
        self._thread.start()

    def start(self, coroutines: list[Any], ended: Callable[[int, asyncio.Task[None]], None]) -> Callable[[], None]:
        """`ended` is told of each, on this loop. What is returned cancels them, from any thread."""
        started: list[asyncio.Task[None]] = []
        self._loop.call_soon_threadsafe(self._start, coroutines, started, ended)

        def cancel() -> None:
            for task in started:
                task.cancel()

        return lambda: _call_soon(self._loop, cancel)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _start(
        self,
        coroutines: list[Any],
        started: list[asyncio.Task[None]],
        ended: Callable[[int, asyncio.Task[None]], None],
    ) -> None:
        for index, coroutine in enumerate(coroutines):
            task = self._loop.create_task(coroutine)
            started.append(task)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            task.add_done_callback(partial(ended, index))

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        for task in self._tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*self._tasks, return_exceptions=True))
        self._loop.close()


def _call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:
        pass  # the loop is closed: nothing of it runs any more
