"""The clocks of a run on real processes.

`RealClock` is the run's own: CLOCK_MONOTONIC, which all processes of one machine share, from the moment at which the
run began. It runs what the simulator's kernel runs there: rules of the network, jobs and scripts. `HostClock` is what
one process takes for its clocks, as the host port lets it: a script may have it run fast or slow, and set its wall
clock. PALM knows no other clock; user code that asks the machine by itself sees the machine's.
"""

from __future__ import annotations

import asyncio
import time
from typing import Callable

from palm.ports.host import Timer

MILLION = 1_000_000


class Untold:
    """A real run has no trace: its frames come in another order each time."""

    def record(self, src: str, dst: str, fate: str, *parts: bytes) -> None:
        """Nothing."""


class RealClock:
    """`palm.sim.kernel.Clock` on the running event loop."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.trace = Untold()
        self.start_ns = time.monotonic_ns()

    @property
    def now(self) -> int:
        return time.monotonic_ns() - self.start_ns

    def call_at(self, when: int, callback: Callable[[], None]) -> Timer:
        return asyncio.get_running_loop().call_at((when + self.start_ns) / 1e9, callback)

    def call_soon(self, callback: Callable[[], None]) -> Timer:
        return asyncio.get_running_loop().call_soon(callback)


class HostClock:
    """A monotonic clock that runs `ppm` millionths fast (slow, below 0), and never jumps when that changes; and a wall
    clock, which may."""

    def __init__(self) -> None:
        self._since = self._local = time.monotonic_ns()
        self._ppm = 0
        self.wall_offset = 0
        """By how much its wall clock was set forward (ns)."""

    def wall(self) -> int:
        return time.time_ns() + self.wall_offset

    def now(self) -> int:
        passed = time.monotonic_ns() - self._since
        return self._local + passed + passed * self._ppm // MILLION

    def drift(self, ppm: int) -> None:
        """From now on."""
        self._local, self._since, self._ppm = self.now(), time.monotonic_ns(), ppm

    def moment(self, local: int) -> int:
        """When CLOCK_MONOTONIC shows what it shows at the first moment at which this clock, as it runs now, shows
        `local`."""
        ahead = local - self._local
        return self._since - (-ahead * MILLION // (MILLION + self._ppm))


class HostTimer:
    """A callback that waits for a moment of a `HostClock`, also when that is slowed down meanwhile."""

    def __init__(
        self, clock: HostClock, loop: asyncio.AbstractEventLoop, when: int, callback: Callable[[], None]
    ) -> None:
        self._clock = clock
        self._loop = loop
        self._when = when
        self._callback = callback
        self._timer = loop.call_at(clock.moment(when) / 1e9, self._due)

    def cancel(self) -> None:
        self._timer.cancel()

    def _due(self) -> None:
        if self._clock.now() < self._when:
            self._timer = self._loop.call_at(self._clock.moment(self._when) / 1e9, self._due)
        else:
            self._callback()
