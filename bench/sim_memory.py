"""The simulator's memory for each node, and what it costs to keep many that do nothing.

A node is one server instance as in every other run: host, transport, links to nobody, user code's lane, election,
store, its record in the registry under a lease that is renewed. Its share is the difference between the peaks of a
process with many and one with few, so that interpreter and imports are not in it.
"""

from __future__ import annotations

import os
from time import perf_counter
from typing import Any

from bench.figures import Figure
from bench.processes import ask, peak_rss_kib
from bench.servers import Bench

MIB_MOST = 1024
IDLE_S = 10.0


def measure(*, smoke: bool, rounds: int) -> Figure:
    few, many = (10, 50) if smoke else (100, 10_000)
    of_few, of_many = (ask("bench.sim_memory:idle", nodes=nodes) for nodes in (few, many))
    kib = (of_many["kib"] - of_few["kib"]) / (many - few)
    return Figure(
        bench="sim_memory",
        unit=f"KiB for each of {many:,} nodes",
        palm=kib,
        raw=None,
        ratio=None,
        target=f"10,000 nodes in under {MIB_MOST} MiB",
        met=of_many["kib"] < MIB_MOST << 10,
        more={
            "nodes": many,
            "nodes_beside": few,
            "mib": round(of_many["kib"] / 1024, 1),
            "idle_simulated_s_per_s": float(f"{of_many['speed']:.4g}"),
            "start_s": float(f"{of_many['start_s']:.4g}"),
        },
    )


def idle(nodes: int) -> dict[str, Any]:
    """Our peak (KiB) with that many instances registered and renewing their leases, how long (s) they took to come up,
    and how much simulated time passes in a second while they do nothing else."""
    from palm.testing import simulate

    begin = perf_counter()
    with simulate(Bench, name="node", instances=nodes, seed=7) as sim:
        sim.run(3.0)
        started = perf_counter()
        sim.run(IDLE_S)
        ended = perf_counter()
        peak = peak_rss_kib(os.getpid())
        registered = len(sim.client().instances())
    assert registered == nodes, f"{registered} of {nodes} nodes are registered"
    return {"kib": peak, "start_s": started - begin, "speed": IDLE_S / (ended - started)}
