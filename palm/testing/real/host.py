"""A real host whose user code takes as long as a scenario says: each message a service time of its own, beside what the
function itself takes, as `palm.sim.executor` has it. Its clock and its pace are what a script makes of them."""

from __future__ import annotations

import asyncio
import time
from itertools import count
from typing import Any, Awaitable, Callable, Mapping, Sequence

from palm.net.executor import ThreadExecutor
from palm.net.host import NetHost
from palm.net.recording import RecordedExecutor, Tape
from palm.ports.host import Executor, Timer
from palm.ports.registry import Registry
from palm.ports.transport import Transport
from palm.sim.draws import ZERO, Distribution, Key
from palm.sim.executor import was_run
from palm.testing.real.clock import HostClock, HostTimer

BUSY_DRAW = 1 << 62
"""Set in an ordinal: a draw of its own, which leaves the service times as they are."""


class Pace:
    """What makes the user code of a process slower than it is at present, and how many handlings it met, by step."""

    def __init__(self, touched: dict[str, int]) -> None:
        self._by: dict[str, Distribution] = {}
        self._touched = touched

    def slow(self, step: str, by: Distribution) -> None:
        self._by[step] = by
        self._touched.setdefault(step, 0)

    def end(self, step: str) -> None:
        self._by.pop(step, None)

    def extra(self, draw: float) -> int:
        """How much longer a handling takes (ns). From any thread."""
        extra = 0
        for step, by in list(self._by.items()):
            self._touched[step] += 1
            extra += by.sample(draw)
        return extra


class RealHost(NetHost):
    """`label` keys the draws: the instance and its life. `clock` None: the machine's, and none of the cost of another.
    `pace` None: nothing ever slows it down."""

    def __init__(
        self,
        place: str,
        transport: Transport,
        registry: Registry,
        *,
        service: Distribution = ZERO,
        burnt: Distribution = ZERO,
        seed: int = 0,
        label: str = "",
        clock: HostClock | None = None,
        pace: Pace | None = None,
        tape: Tape | None = None,
    ) -> None:
        super().__init__(place, transport, registry, tape)
        self._times = service, burnt
        self._draws = seed, label
        self._clock = clock
        self._pace = pace

    def now(self) -> int:
        return super().now() if self._clock is None else self._clock.now()

    def wall(self) -> int:
        return super().wall() if self._clock is None else self._clock.wall()

    def call_at(self, when: int, callback: Callable[[], None]) -> Timer:
        if self._clock is None:
            return super().call_at(when, callback)
        return HostTimer(self._clock, self._loop, when, callback)

    async def sleep(self, duration: int) -> None:
        clock = self._clock
        if clock is None:
            await super().sleep(duration)
            return
        until = clock.now() + duration
        while (left := clock.moment(until) - time.monotonic_ns()) > 0:
            await asyncio.sleep(left / 1e9)

    def executor(self, name: str) -> Executor:
        service, burnt = self._times
        if service == burnt == ZERO and self._pace is None:
            return super().executor(name)
        seed, label = self._draws
        key = Key(seed, f"{label}/{name}/service")
        return ServedExecutor(self._loop, name, service, key, burnt, self._tape, self._pace)


class ServedExecutor:
    """`palm.ports.host.Executor`: a ThreadExecutor whose items keep the processor, and then sleep, after they ran."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        name: str,
        service: Distribution,
        key: Key,
        burnt: Distribution = ZERO,
        tape: Tape | None = None,
        pace: Pace | None = None,
    ) -> None:
        inner = ThreadExecutor(loop, name, inline=False)  # a sleep on the event loop would stop the host
        self._inner: Executor = inner if tape is None else RecordedExecutor(inner, tape)
        self._service = service
        self._burnt = burnt
        self._key = key
        self._pace = pace
        self._ordinal = count(1)

    def execute(
        self, label: str, run: Callable[[Any], Any], items: Sequence[Any], done: Callable[[list[Any]], None]
    ) -> None:
        self._inner.execute(label, self._served(run), items, done)

    def execute_async(
        self,
        run: Callable[[Any], Awaitable[Any]],
        items: Sequence[Any],
        done: Callable[[int, Any], None],
        within: int | None = None,
    ) -> Callable[[], None]:
        async def served(item: Any) -> Any:
            async with asyncio.timeout(None if within is None else within / 1e9):
                outcome = await run(item)
            if was_run(outcome):
                pause_s = self._draw() / 1e9
                self._burn()
                await asyncio.sleep(pause_s)
            return outcome

        return self._inner.execute_async(served, items, done)

    def execute_beside(
        self, run: Callable[[Any], Any], items: Sequence[Any], done: Callable[[int, Any], None]
    ) -> None:
        self._inner.execute_beside(self._served(run), items, done)

    def waits(self, label: str) -> None:
        self._inner.waits(label)

    def state(self) -> Mapping[str, int]:
        return self._inner.state()

    async def aclose(self, timeout_s: float) -> bool:
        return await self._inner.aclose(timeout_s)

    def _served(self, run: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def served(item: Any) -> Any:
            outcome = run(item)
            if was_run(outcome):
                pause_s = self._draw() / 1e9
                self._burn()
                time.sleep(pause_s)
            return outcome

        return served

    def _draw(self) -> int:
        ordinal = next(self._ordinal)
        service = self._service.sample(self._key.unit(ordinal))
        if self._pace is not None:
            service += self._pace.extra(self._key.unit(ordinal | BUSY_DRAW))
        return service

    def _burn(self) -> None:
        """Keep the processor for as long as the scenario says that a handling needs it."""
        if self._burnt != ZERO:
            until = time.thread_time_ns() + self._burnt.sample(self._key.unit(next(self._ordinal)))
            while time.thread_time_ns() < until:
                pass
