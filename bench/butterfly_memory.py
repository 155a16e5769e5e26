"""The same as `memory`, through a leader and two workers: none of them may grow with the number of messages either."""

from __future__ import annotations

from bench import memory
from bench.figures import Figure


def measure(*, smoke: bool, rounds: int) -> Figure:
    target = "bench.servers:Spread"
    servers = {"leader": target, "worker": target, "other worker": target}
    return memory.flat("butterfly_memory", servers, smoke=smoke)
