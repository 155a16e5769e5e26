"""The simulator at 10, 100, 1,000 and 10,000 nodes: delivered hops for each second of wall time, the trace on.

Nodes come in groups of ten, each a client, four instances of a first server and five of a second, so that a group does
the same whatever their number; all groups run at one time, and a client has sixteen messages under way. What changes
with the number is what the simulator holds: its heap of timers, its links, its registry. A hop is one message that
arrived at another node.
"""

from __future__ import annotations

from statistics import median
from time import perf_counter

from bench.figures import Figure
from bench.processes import ask
from bench.servers import Bench

PAYLOAD_BYTES = 100
HOPS_OF_A_MESSAGE = 3
UNDER_WAY = 16
GROUP, FIRST, SECOND = 10, 4, 5
"""Nodes of a group; instances of its two servers. The one that is left is the client."""
HOPS_LEAST = 60_000
"""PERFORMANCE.md's floor, which names no number of nodes."""


def measure(*, smoke: bool, rounds: int) -> Figure:
    sizes, messages = ((10, 20), 200) if smoke else ((10, 100, 1_000, 10_000), 40_000)
    by_size = {
        size: [ask("bench.sim_nodes:hops", nodes=size, messages=messages) for _ in range(_rounds(rounds, size))]
        for size in sizes
    }
    medians = {size: median(hops) for size, hops in by_size.items()}
    shown = ", ".join(f"{size:,}" for size in sizes)
    return Figure(
        bench="sim_nodes",
        unit=f"hops/s at {shown} nodes",
        palm=medians[sizes[-1]],
        raw=None,
        ratio=None,
        target=f"at least {HOPS_LEAST} hops/s with the trace on, at every size",
        met=min(medians.values()) >= HOPS_LEAST,
        series=list(medians.values()),
        palm_rounds=by_size[sizes[-1]],
        more={
            "messages": messages,
            "payload_bytes": PAYLOAD_BYTES,
            "under_way_of_a_client": UNDER_WAY,
            "rounds": {str(size): [float(f"{one:.4g}") for one in hops] for size, hops in by_size.items()},
        },
    )


def _rounds(rounds: int, nodes: int) -> int:
    """Thousands of nodes take long to start: half a minute at 10,000."""
    return min(rounds, 2) if nodes >= 10_000 else rounds


def hops(nodes: int, messages: int) -> float:
    """Hops a second, from the first of the messages to the last result; all nodes know each other by then."""
    from palm.testing.simulate import Simulation

    groups = nodes // GROUP
    with Simulation(seed=7) as sim:
        for group in range(groups):
            sim.serve(Bench, name=f"first-{group}", instances=FIRST)
            sim.serve(Bench, name=f"second-{group}", instances=SECOND)
        sim.run(1.0)
        clients = [sim.client(window=UNDER_WAY) for _ in range(groups)]
        routes = [[f"first-{group}.echo", f"second-{group}.echo"] for group in range(groups)]
        for client, route in zip(clients, routes, strict=True):
            # As many as are under way at a time, so that every link that will be used is up.
            assert len(list(client.map([b"hello"] * UNDER_WAY, route))) == UNDER_WAY
        payloads = [b"%0*d" % (PAYLOAD_BYTES, number) for number in range(messages // groups)]
        begin = perf_counter()
        jobs = [client.map(payloads, route) for client, route in zip(clients, routes, strict=True)]
        taken = sum(1 for job in jobs for _ in job)
        seconds = perf_counter() - begin
    assert taken == len(payloads) * groups, f"{taken} results of {messages} messages"
    return HOPS_OF_A_MESSAGE * taken / seconds
