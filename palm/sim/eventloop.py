"""An asyncio event loop whose handles are events of the simulated world, so that `async def` handlers run in its time.

`asyncio.sleep`, `gather`, `wait_for`, `timeout`, queues, locks and events need nothing but callbacks and a clock, and
get the host's. Whatever needs a socket, a thread, a process or a signal is refused, by name, with what to do instead.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import events
from collections.abc import Awaitable, Callable
from contextvars import Context
from functools import partial
from typing import Any, Protocol, TypeVarTuple, Unpack

from palm.errors import HarnessError
from palm.ports.host import Timer
from palm.sim import sandbox
from palm.sim.kernel import NANOSECONDS

Ts = TypeVarTuple("Ts")

_log = logging.getLogger("palm.sim")


class Scheduler(Protocol):
    """The host's clock and its two ways to call something later."""

    def now(self) -> int: ...
    def call_soon(self, callback: Callable[[], None]) -> None: ...
    def call_at(self, when: int, callback: Callable[[], None]) -> Timer: ...


class _TimerHandle(asyncio.TimerHandle):
    __slots__ = ("timer",)
    timer: Timer


class SimEventLoop(asyncio.AbstractEventLoop):
    """The loop of one simulated process. It runs when the world runs; nobody runs it."""

    def __init__(self, scheduler: Scheduler, surroundings: sandbox.Surroundings) -> None:
        self._scheduler = scheduler
        self._surroundings = surroundings
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._running = False
        self._closed = False
        self._exception_handler: Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None = None

    def run(
        self, function: Callable[[Any], Awaitable[Any]], item: Any, ended: Callable[[asyncio.Task[Any]], None]
    ) -> asyncio.Task[Any]:
        """Run `function(item)` from outside of the loop: its task. `ended(task)` is called on the host, outside of user
        code; what it raises is not swallowed."""

        async def call() -> Any:
            return await function(item)

        task = self.create_task(call())
        task.add_done_callback(lambda task: self._scheduler.call_soon(partial(ended, task)))
        return task

    def crash(self) -> None:
        """Close every coroutine where it waits. Their `finally` blocks run; the caller has made them harmless."""
        self._closed = True
        tasks, self._tasks = self._tasks, {}
        previous = sandbox.enter(self._surroundings)
        try:
            for task in tasks:
                task._log_destroy_pending = False  # type: ignore[attr-defined]  # of asyncio.Task: it dies on purpose
                try:
                    task.get_coro().close()
                except (Exception, asyncio.CancelledError):  # the dead have nothing to say
                    pass
        finally:
            sandbox.enter(previous)

    # -- what asyncio's own parts ask of a loop ------------------------------------------------------------------

    def time(self) -> float:
        return self._scheduler.now() / NANOSECONDS

    def call_soon(
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        if not self._closed:
            self._scheduler.call_soon(partial(self._call, handle))
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self, delay: float, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self._call_at_ns(self._scheduler.now() + round(delay * NANOSECONDS), callback, args, context)

    def call_at(
        self, when: float, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self._call_at_ns(round(when * NANOSECONDS), callback, args, context)

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Any, *, name: str | None = None, context: Context | None = None, **options: Any
    ) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, name=name, context=context, **options)
        self._tasks[task] = None
        task.add_done_callback(self._forget)
        return task

    def is_running(self) -> bool:
        return self._running

    def is_closed(self) -> bool:
        return self._closed

    def get_debug(self) -> bool:
        return False

    def set_debug(self, enabled: bool) -> None:
        """Nothing: a debugging loop would look at the real clock."""

    def get_task_factory(self) -> None:
        return None

    def get_exception_handler(self) -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None:
        return self._exception_handler

    def set_exception_handler(
        self, handler: Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None
    ) -> None:
        self._exception_handler = handler

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if self._exception_handler is not None:
            self._exception_handler(self, context)
        else:
            self.default_exception_handler(context)

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """An error that nobody awaits: to the log, as every loop does."""
        _log.error("in an async handler: %s", context.get("message"), exc_info=context.get("exception"))

    async def shutdown_asyncgens(self) -> None:
        """Nothing: a dead process's generators are closed with their tasks."""

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Nothing: there is no executor."""

    # -- inside --------------------------------------------------------------------------------------------------

    def _call_at_ns(
        self, when: int, callback: Callable[..., object], args: tuple[Any, ...], context: Context | None
    ) -> asyncio.TimerHandle:
        handle = _TimerHandle(when / NANOSECONDS, callback, args, self, context)
        handle.timer = self._scheduler.call_at(when, partial(self._call, handle))
        return handle

    def _timer_handle_cancelled(self, handle: _TimerHandle) -> None:
        handle.timer.cancel()

    def _call(self, handle: asyncio.Handle) -> None:
        if handle.cancelled() or self._closed:
            return
        outer = events._get_running_loop()
        previous = sandbox.enter(self._surroundings)
        events._set_running_loop(self)
        self._running = True
        try:
            handle._run()
        finally:
            self._running = False
            events._set_running_loop(outer)
            sandbox.enter(previous)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)


_INSTEAD = {
    "run_in_executor": "a thread cannot be started: call the function directly, its duration is said by `service`",
    "run_forever": "the simulated world runs the loop: await, or return",
    "run_until_complete": "the simulated world runs the loop: await, or return",
    "stop": "the simulated world runs the loop: return from the handler",
    "close": "the simulated world runs the loop: return from the handler",
    "set_task_factory": "tasks are made by the loop alone",
}
_NO_OUTSIDE = "reach other servers with `self.call`, and put the outside world behind a server of its own"
_OUTSIDE = (
    "add_reader", "add_signal_handler", "add_writer", "connect_accepted_socket", "connect_read_pipe",
    "connect_write_pipe", "create_connection", "create_datagram_endpoint", "create_server", "create_unix_connection",
    "create_unix_server", "getaddrinfo", "getnameinfo", "remove_reader", "remove_signal_handler", "remove_writer",
    "sendfile", "set_default_executor", "sock_accept", "sock_connect", "sock_recv", "sock_recv_into", "sock_recvfrom",
    "sock_recvfrom_into", "sock_sendall", "sock_sendfile", "sock_sendto", "start_tls", "subprocess_exec",
    "subprocess_shell",
)  # fmt: skip


def _refusal(name: str, instead: str) -> Callable[..., Any]:
    def refused(self: SimEventLoop, *args: Any, **kwargs: Any) -> Any:
        raise HarnessError(f"asyncio's {name} is not there in the simulator: {instead}")

    return refused


for _name in _OUTSIDE:
    setattr(SimEventLoop, _name, _refusal(_name, _NO_OUTSIDE))
for _name, _instead in _INSTEAD.items():
    setattr(SimEventLoop, _name, _refusal(_name, _instead))


def event_loop(scheduler: Scheduler, surroundings: sandbox.Surroundings) -> SimEventLoop:
    """A loop for one process."""
    return SimEventLoop(scheduler, surroundings)  # type: ignore[abstract]  # the rest was set just above
