"""The real world: a host on an asyncio event loop, with ZeroMQ and etcd beside it.

The loop's thread owns the sockets, the node and all callbacks. Only `submit` and gates may be used from elsewhere.
"""

from __future__ import annotations

import asyncio
import threading
import time
from random import Random
from secrets import randbits
from typing import Any, Callable, Coroutine

from palm.net.executor import ThreadExecutor
from palm.net.recording import RecordedExecutor, RecordedTransport, Tape
from palm.ports.host import Executor, Gate, Task, Timer
from palm.ports.registry import Registry
from palm.ports.transport import Transport


class NetHost:
    cancelled: type[BaseException] = asyncio.CancelledError

    def __init__(self, name: str, transport: Transport, registry: Registry, tape: Tape | None = None) -> None:
        """To be made on the thread of a running event loop, which it then belongs to. `tape`: what is to be recorded
        there."""
        self.name = name
        self.transport = transport if tape is None else RecordedTransport(transport, tape)
        self._tape = tape
        self.registry = registry
        self.failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        """Set when a coroutine or a callback of PALM's own raised: a bug, after which this host is not to be
        trusted."""
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._on_exception)
        self._seed = randbits(64)
        self._tasks: set[asyncio.Task[None]] = set()

    def now(self) -> int:
        return time.monotonic_ns()

    def wall(self) -> int:
        return time.time_ns()

    def draw(self, name: str, ordinal: int = 0) -> Random:
        return Random(f"{self._seed}/{name}/{ordinal}")

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._loop.call_soon(callback)

    def call_at(self, when: int, callback: Callable[[], None]) -> Timer:
        return self._loop.call_at(when / 1e9, callback)

    def spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> Task:
        task = self._loop.create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return _NetTask(task)

    async def sleep(self, duration: int) -> None:
        await asyncio.sleep(duration / 1e9)

    def submit(self, callback: Callable[[], None]) -> None:
        self._loop.call_soon_threadsafe(callback)

    def gate(self) -> Gate:
        return NetGate()

    def executor(self, name: str) -> Executor:
        return self._recorded(ThreadExecutor(self._loop, name))

    def _recorded(self, executor: Executor) -> Executor:
        return executor if self._tape is None else RecordedExecutor(executor, self._tape)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    def _on_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, Exception):
            self._fail(error)
        loop.default_exception_handler(context)

    def _fail(self, error: BaseException) -> None:
        if not self.failed.done():
            self.failed.set_result(error)


class _NetTask:
    def __init__(self, task: asyncio.Task[None]) -> None:
        self._task = task

    def cancel(self) -> None:
        self._task.cancel()

    @property
    def done(self) -> bool:
        return self._task.done()


class NetGate:
    """A lock used as a one-place semaphore: the cheapest wait that Python has between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def open(self) -> None:
        try:
            self._lock.release()
        except RuntimeError:
            pass  # open already

    def wait(self, timeout_s: float | None) -> bool:
        return self._lock.acquire(timeout=-1 if timeout_s is None else max(0.0, timeout_s))
