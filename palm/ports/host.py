"""The host port: the world a node lives in.

Name, time, randomness, timers, coroutines, a place to run user code, and the two other ports. `palm.net.host`
implements it on asyncio and threads, `palm.sim.host` on the simulator's kernel. Everything here belongs to the host's
one thread, except `submit` and `Gate`.
"""

from __future__ import annotations

from random import Random
from typing import Any, Awaitable, Callable, Coroutine, Mapping, Protocol, Sequence

from palm.ports.registry import Registry
from palm.ports.transport import Transport


class Timer(Protocol):
    def cancel(self) -> None:
        """The callback will not be called. Harmless after it was."""
        ...


class Task(Protocol):
    """A running coroutine of `Host.spawn`."""

    def cancel(self) -> None:
        """Ask it to end: `palm.ports.host.Host.cancelled` is raised at its present wait."""
        ...

    @property
    def done(self) -> bool: ...


class Gate(Protocol):
    """How a caller outside of the host's thread waits for something on it. One waiter, any number of openers."""

    def open(self) -> None:
        """Let the waiter through; stays open until it has passed. From any thread."""
        ...

    def wait(self, timeout_s: float | None) -> bool:
        """Wait until open, then close it again and say True; False when `timeout_s` passed first. In the simulator this
        runs the world on until then."""
        ...


class Executor(Protocol):
    """Where user code runs, so that it never stops the host. One per server instance.

    `run` must not raise: failures are outcomes. Nothing here blocks. Outcomes are handed to `done` on the host's
    thread.
    """

    def execute(
        self, label: str, run: Callable[[Any], Any], items: Sequence[Any], done: Callable[[list[Any]], None]
    ) -> None:
        """Call `run(item)` for each item, one at a time, in order, after all that was given before.

        `label` names the kind of work: what was seen of it before may decide where it runs. `done` may be called before
        this returns.

        Outcomes come in the items' order, in one or more pieces: what is ready does not wait long for the rest. In the
        simulator each item takes a service time of its own.
        """
        ...

    def execute_async(
        self,
        run: Callable[[Any], Awaitable[Any]],
        items: Sequence[Any],
        done: Callable[[int, Any], None],
        within: int | None = None,
    ) -> Callable[[], None]:
        """The same for a coroutine function: items run beside each other; `done(index, outcome)` for each as it ends.
        One that has run for `within` (ns) is cancelled; `run` says what its outcome is then.

        What is returned cancels them all: what had not begun ends with None for an outcome.
        """
        ...

    def execute_beside(
        self, run: Callable[[Any], Any], items: Sequence[Any], done: Callable[[int, Any], None]
    ) -> None:
        """Call `run(item)` for each item, all beside each other, and beside everything else: for functions that are
        safe to run in many threads. Whoever calls this sees to it that they are not too many."""
        ...

    def waits(self, label: str) -> None:
        """Work of that label waits for others, now or later: wherever it runs, the host must go on meanwhile. From any
        thread."""
        ...

    def state(self) -> Mapping[str, int]:
        """How much it has in hand, by names that are its own: for people."""
        ...

    async def aclose(self, timeout_s: float) -> bool:
        """Wait for what runs, for at most `timeout_s`; False when something still did."""
        ...


class Host(Protocol):
    name: str
    cancelled: type[BaseException]
    """What a cancelled coroutine sees: asyncio's CancelledError, or the simulator's own. Clean up and re-raise."""

    @property
    def transport(self) -> Transport: ...

    @property
    def registry(self) -> Registry: ...

    def now(self) -> int:
        """Nanoseconds of this host's monotonic clock. Compare with itself only."""
        ...

    def wall(self) -> int:
        """Nanoseconds since 1970 by this host's wall clock: for people and records, never for decisions."""
        ...

    def draw(self, name: str, ordinal: int = 0) -> Random:
        """A random stream of its own for that name and ordinal: the same in each run of one seed in the simulator."""
        ...

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Call it after what is running now, in order."""
        ...

    def call_at(self, when: int, callback: Callable[[], None]) -> Timer:
        """Call it once `now()` has reached `when` (ns)."""
        ...

    def spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> Task:
        """Run it on this host. An exception that leaves it is a bug: it is reported, and ends the host."""
        ...

    async def sleep(self, duration: int) -> None:
        """Wait `duration` ns."""
        ...

    def submit(self, callback: Callable[[], None]) -> None:
        """`call_soon` from any thread."""
        ...

    def gate(self) -> Gate: ...

    def executor(self, name: str) -> Executor: ...
