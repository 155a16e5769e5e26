"""The simulator: messages along a route of two servers, in delivered hops for each second of wall time; and the memory
that many nodes take.

A hop is one message that arrived at another node: client to server, server to server, server to client. The network
carries the same bytes as the real one, and the trace hash is on, as always.
"""

from __future__ import annotations

import os
from statistics import median
from time import perf_counter

from bench.figures import Figure
from bench.processes import ask, peak_rss_kib
from bench.servers import Bench

PAYLOAD_BYTES = 100
HOPS_OF_A_MESSAGE = 3
HOPS_LEAST = 60_000
MIB_MOST = 1024


def measure(*, smoke: bool, rounds: int) -> Figure:
    messages, nodes = (1_000, 50) if smoke else (50_000, 10_000)
    hops_per_s = [ask("bench.sim:stream", messages=messages) for _ in range(rounds)]
    mib = ask("bench.sim:idle", nodes=nodes) / 1024
    return Figure(
        bench="sim",
        unit="hops/s",
        palm=median(hops_per_s),
        raw=None,
        ratio=None,
        target=f"at least {HOPS_LEAST} hops/s with the trace on; 10,000 nodes in under {MIB_MOST} MiB",
        met=median(hops_per_s) >= HOPS_LEAST and mib < MIB_MOST,
        palm_rounds=hops_per_s,
        more={"messages": messages, "payload_bytes": PAYLOAD_BYTES, "nodes": nodes, "nodes_mib": round(mib, 1)},
    )


def stream(messages: int) -> float:
    """Hops a second, with the default window."""
    from palm.testing import simulate

    with simulate(Bench, name="first", seed=7) as sim:
        sim.serve(Bench, name="second")
        client = sim.client()
        list(client.map([b"hello"], "first.echo"))
        payloads = [b"%0*d" % (PAYLOAD_BYTES, number) for number in range(messages)]
        begin = perf_counter()
        taken = sum(1 for _ in client.map(payloads, ["first.echo", "second.echo"]))
        seconds = perf_counter() - begin
    assert taken == messages, f"{taken} results of {messages} messages"
    return HOPS_OF_A_MESSAGE * messages / seconds


def idle(nodes: int) -> int:
    """Our peak in KiB with that many server instances up, registered and renewing their leases."""
    from palm.testing import simulate

    with simulate(Bench, name="node", instances=nodes, seed=7) as sim:
        sim.run(3.0)
        peak = peak_rss_kib(os.getpid())
        registered = len(sim.client().instances())
    assert registered == nodes, f"{registered} of {nodes} nodes are registered"
    return peak
