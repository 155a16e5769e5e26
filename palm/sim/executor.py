"""Where user code runs in the simulator: at its simulated start, in the sandbox, and for as long as its model says.

An executor is one lane: batches run one after another, each on a stack of its own, so that a handler may block on the
cluster or sleep while the world goes on. Each item of a batch takes a drawn service time of its own, between its call
and its outcome: so the second item is called when the first is done, and a crash in between loses the rest. Items that
take no time have their outcomes handed over together. Coroutines run beside each other, and the outcome of each comes
one service time after it is ready.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, NoReturn

from palm.core.message import Status
from palm.sim import sandbox
from palm.sim.draws import Distribution, Key
from palm.sim.kernel import NANOSECONDS, Future
from palm.sim.stacks import GreenletExit, greenlet

if TYPE_CHECKING:
    from palm.sim.host import Host

LOOK_NS = 1_000_000
_BUSY_DRAW = 1 << 62  # set in an ordinal: a draw of its own, which leaves the service times as they are
_COST_DRAW = 1 << 61


class UserSurroundings:
    """What one executor's user code sees of its host; chance is keyed by the invocation, so that losing one message
    changes nothing for the next."""

    __slots__ = ("_host", "_key", "_random", "invocation", "pid")

    refuses = True

    def __init__(self, host: Host, name: str) -> None:
        self._host = host
        self.pid = Key(host.kernel.seed, f"{host.label}/pid").random(0).randrange(2, 1 << 22)
        self._key = Key(host.kernel.seed, f"{host.label}/{name}/user")
        self._random: Random | None = None
        self.invocation = 0

    def begin(self) -> None:
        """Another invocation starts."""
        self.invocation += 1
        self._random = None

    @property
    def random(self) -> Random:
        if self._random is None:
            self._random = self._key.random(self.invocation)
        return self._random

    @property
    def place(self) -> str:
        return self._host.place

    def wall(self) -> int:
        return self._host.wall()

    def monotonic(self) -> int:
        return self._host.now()

    def entropy(self, count: int) -> bytes:
        return self.random.randbytes(count)

    def pause(self, duration: int) -> None:
        self._host.pause(duration)

    def exit(self) -> NoReturn:
        self._host.crash()
        raise GreenletExit


NOT_RUN = (Status.EXPIRED, Status.CANCELLED)
"""Outcomes of what was looked at and not run: that takes no time."""


def was_run(outcome: Any) -> bool:
    """Whether an outcome is of user code that ran: only that takes time."""
    # A status is a number too: 2 is equal to one of these.
    return not (isinstance(outcome, Status) and outcome in NOT_RUN)


@dataclass(frozen=True, slots=True)
class _Batch:
    run: Callable[[Any], Any]
    items: Sequence[Any]
    done: Callable[[list[Any]], None]


class SimExecutor:
    """palm.ports.host.Executor for one server instance."""

    __slots__ = (
        "_beside",
        "_host",
        "_key",
        "_name",
        "_open",
        "_ordinal",
        "_queue",
        "_service",
        "_stack",
        "_surroundings",
    )

    def __init__(self, host: Host, name: str, service: Distribution) -> None:
        self._host = host
        self._service = service
        self._key = Key(host.kernel.seed, f"{host.label}/{name}/service")
        self._ordinal = 0
        self._surroundings = UserSurroundings(host, name)
        self._name = name
        self._queue: deque[_Batch] = deque()
        self._beside: dict[greenlet, UserSurroundings] = {}
        self._stack: greenlet | None = None
        self._open = 0  # batches of `execute` and items of `execute_async` that are not over

    def execute(
        self, label: str, run: Callable[[Any], Any], items: Sequence[Any], done: Callable[[list[Any]], None]
    ) -> None:
        self._queue.append(_Batch(run, items, done))
        self._open += 1
        if len(self._queue) == 1 and self._stack is None:
            self._host.call_soon(self._next)

    def execute_async(
        self,
        run: Callable[[Any], Awaitable[Any]],
        items: Sequence[Any],
        done: Callable[[int, Any], None],
        within: int | None = None,
    ) -> Callable[[], None]:
        async def bounded(item: Any) -> Any:
            async with asyncio.timeout(None if within is None else within / NANOSECONDS):
                return await run(item)

        tasks: list[asyncio.Task[Any]] = []
        if self._host.alive:
            for index, item in enumerate(items):
                self._open += 1
                ready = partial(self._ready, index, done)
                tasks.append(self._host.loop().run(run if within is None else bounded, item, ready))

        def cancel() -> None:
            for task in tasks:
                task.cancel()

        return cancel

    def execute_beside(
        self, run: Callable[[Any], Any], items: Sequence[Any], done: Callable[[int, Any], None]
    ) -> None:
        for index, item in enumerate(items):
            self._open += 1
            self._host.call_soon(partial(self._start_beside, partial(self._run_beside, run, item, index, done)))

    def _start_beside(self, body: Callable[[], None]) -> None:
        self._host.stacks.start(body)

    def waits(self, label: str) -> None:
        """Nothing: every batch has a stack of its own."""

    def state(self) -> dict[str, int]:
        return {"batches": self._open, "beside": len(self._beside)}

    async def aclose(self, timeout_s: float) -> bool:
        ended: Future[bool] = Future()
        deadline = self._host.now() + round(timeout_s * NANOSECONDS)

        def look() -> None:
            if self._open == 0:
                ended.set(True)
            elif self._host.now() >= deadline:
                ended.set(False)
            else:
                self._host.call_at(min(deadline, self._host.now() + LOOK_NS), look)

        look()
        return await ended

    def crash(self) -> None:
        """Nothing that waits here runs any more, and what was running ends where it is parked."""
        self._queue.clear()
        if self._stack is not None:
            previous = sandbox.enter(self._surroundings)
            try:
                self._host.stacks.kill(self._stack)
            finally:
                sandbox.enter(previous)
        for stack, surroundings in list(self._beside.items()):
            previous = sandbox.enter(surroundings)
            try:
                self._host.stacks.kill(stack)
            finally:
                sandbox.enter(previous)

    def _next(self) -> None:
        if self._queue and self._stack is None:
            self._host.stacks.start(self._run)

    def _run(self) -> None:
        host, batch = self._host, self._queue.popleft()
        self._stack = host.stacks.current()
        self._surroundings.begin()
        previous = sandbox.enter(self._surroundings)
        outcomes: list[Any] = []
        try:
            for item in batch.items:
                outcomes.append(batch.run(item))
                if not host.alive:
                    return  # it died under its user code, which may have swallowed that
                service, computed = self._draw(), self._draw_computed()
                if (service > 0 or computed > 0) and was_run(outcomes[-1]):
                    host.compute(computed)
                    host.pause(service)
                    if len(batch.items) > 1:
                        host.call_soon(partial(batch.done, outcomes))
                        outcomes = []
        except GreenletExit:
            return
        finally:
            sandbox.enter(previous)
            self._stack = None
            self._open -= 1
        host.call_soon(partial(self._end, batch, outcomes) if outcomes else self._next)

    def _end(self, batch: _Batch, outcomes: list[Any]) -> None:
        batch.done(outcomes)
        self._host.perform(self._next)

    def _run_beside(
        self, run: Callable[[Any], Any], item: Any, index: int, done: Callable[[int, Any], None]
    ) -> None:
        host = self._host
        self._surroundings.invocation += 1
        surroundings = UserSurroundings(host, self._name)  # its own: others run until this one ends
        surroundings.invocation = self._surroundings.invocation
        stack = host.stacks.current()
        self._beside[stack] = surroundings
        previous = sandbox.enter(surroundings)
        try:
            outcome = run(item)
            if host.alive:
                service = self._draw()
                host.compute(self._draw_computed())
                host.pause(service)
        except GreenletExit:
            return
        finally:
            sandbox.enter(previous)
            del self._beside[stack]
            self._open -= 1
        host.call_soon(partial(done, index, outcome))

    def _ready(self, index: int, done: Callable[[int, Any], None], task: asyncio.Task[Any]) -> None:
        service, computed = self._draw(), self._draw_computed()
        over = partial(self._hand_over, index, done, task)
        if task.done() and not was_run(task.result()):
            over()
            return
        processor = self._host.processor
        if computed > 0 and processor is not None:
            processor.compute(computed, lambda: self._after(service, over))
        else:
            self._after(service, over)

    def _after(self, service: int, over: Callable[[], None]) -> None:
        if service > 0:
            self._host.call_at(self._host.now() + service, over)
        else:
            over()

    def _hand_over(self, index: int, done: Callable[[int, Any], None], task: asyncio.Task[Any]) -> None:
        self._open -= 1
        outcome = None if task.cancelled() else task.result()  # `run` must not raise: if it did, that ends the run
        done(index, outcome)

    def _draw_computed(self) -> int:
        """What the same handling needs of the processor."""
        processor = self._host.processor
        if processor is None:
            return 0
        costs = processor.costs
        return costs.handover + costs.handling.sample(self._key.unit(self._ordinal | _COST_DRAW))

    def _draw(self) -> int:
        self._ordinal += 1
        service = self._service.sample(self._key.unit(self._ordinal))
        busy = self._host.busy
        if busy is not None:
            extra = busy.by.sample(self._key.unit(self._ordinal | _BUSY_DRAW))
            busy.bitten += extra > 0
            service += extra
        return service
