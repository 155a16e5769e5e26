"""The simulator: messages along a route of two servers, in delivered hops for each second of wall time.

A hop is one message that arrived at another node: client to server, server to server, server to client. The network
carries the same bytes as the real one, and the trace hash is on, as always.
"""

from __future__ import annotations

from statistics import median
from time import perf_counter

from bench.figures import Figure
from bench.processes import ask
from bench.servers import Bench

PAYLOAD_BYTES = 100
HOPS_OF_A_MESSAGE = 3
HOPS_LEAST = 60_000


def measure(*, smoke: bool, rounds: int) -> Figure:
    messages = 1_000 if smoke else 50_000
    hops_per_s = [ask("bench.sim:stream", messages=messages) for _ in range(rounds)]
    return Figure(
        bench="sim",
        unit="hops/s",
        palm=median(hops_per_s),
        raw=None,
        ratio=None,
        target=f"at least {HOPS_LEAST} hops/s with the trace on",
        met=median(hops_per_s) >= HOPS_LEAST,
        palm_rounds=hops_per_s,
        more={"messages": messages, "payload_bytes": PAYLOAD_BYTES},
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

