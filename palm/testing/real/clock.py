"""The clock of a run on real processes: CLOCK_MONOTONIC, which all processes of one machine share, from the moment at
which the run began. It runs what the simulator's kernel runs there: rules of the network, jobs and scripts."""

from __future__ import annotations

import asyncio
import time
from typing import Callable

from palm.ports.host import Timer


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
