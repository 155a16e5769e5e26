"""A real host whose user code takes as long as a scenario says: each message a service time of its own, beside what the
function itself takes, as `palm.sim.executor` has it."""

from __future__ import annotations

import asyncio
import time
from itertools import count
from typing import Any, Awaitable, Callable, Mapping, Sequence

from palm.net.executor import ThreadExecutor
from palm.net.host import NetHost
from palm.net.recording import RecordedExecutor, Tape
from palm.ports.host import Executor
from palm.ports.registry import Registry
from palm.ports.transport import Transport
from palm.sim.draws import ZERO, Distribution, Key
from palm.sim.executor import was_run


class RealHost(NetHost):
    """`label` keys the draws: the instance and its life."""

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
        tape: Tape | None = None,
    ) -> None:
        super().__init__(place, transport, registry, tape)
        self._times = service, burnt
        self._draws = seed, label

    def executor(self, name: str) -> Executor:
        service, burnt = self._times
        if service == burnt == ZERO:
            return super().executor(name)
        seed, label = self._draws
        key = Key(seed, f"{label}/{name}/service")
        return ServedExecutor(self._loop, name, service, key, burnt, self._tape)


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
    ) -> None:
        inner = ThreadExecutor(loop, name, inline=False)  # a sleep on the event loop would stop the host
        self._inner: Executor = inner if tape is None else RecordedExecutor(inner, tape)
        self._service = service
        self._burnt = burnt
        self._key = key
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
        return self._service.sample(self._key.unit(next(self._ordinal)))

    def _burn(self) -> None:
        """Keep the processor for as long as the scenario says that a handling needs it."""
        if self._burnt != ZERO:
            until = time.thread_time_ns() + self._burnt.sample(self._key.unit(next(self._ordinal)))
            while time.thread_time_ns() < until:
                pass
