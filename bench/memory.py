"""A million messages from a generator into a consumer that is slower than the servers: memory must not follow them.

The consumer takes at a fixed rate in both jobs, so windows are full in both and only the number differs.
"""

from __future__ import annotations

import os
from time import monotonic, sleep

from bench.figures import Figure
from bench.processes import Fleet, ask, peak_rss_kib

PAYLOAD_BYTES = 100
TAKE_EVERY = 256
"""The consumer looks at the clock this often."""


def measure(*, smoke: bool, rounds: int) -> Figure:
    many, few, rate = (10_000, 1_000, 10_000) if smoke else (1_000_000, 10_000, 16_000)
    client, server = _peaks(many, rate)
    client_few, server_few = _peaks(few, rate)
    ratios = (client / client_few, server / server_few)
    return Figure(
        bench="memory",
        unit=f"MiB peak of client and server at {many} messages",
        palm=(client + server) / 1024,
        raw=(client_few + server_few) / 1024,
        ratio=max(ratios),
        target=f"at most 1.2 of the peak at {few} messages, client and server each",
        met=max(ratios) <= 1.2,
        more={
            "messages": many,
            "messages_beside": few,
            "payload_bytes": PAYLOAD_BYTES,
            "taken_per_s": rate,
            "client_ratio": round(ratios[0], 3),
            "server_ratio": round(ratios[1], 3),
        },
    )


def consume(etcd: str, messages: int, rate: int) -> int:
    """Take `rate` results a second; our peak in KiB."""
    from palm import Client

    begin, taken = monotonic(), 0
    with Client(etcd) as client:
        for _ in client.map((b"%0*d" % (PAYLOAD_BYTES, number) for number in range(messages)), "echo.echo"):
            taken += 1
            if taken % TAKE_EVERY == 0:
                sleep(max(0.0, begin + taken / rate - monotonic()))
    assert taken == messages, f"{taken} results of {messages} messages"
    return peak_rss_kib(os.getpid())


def _peaks(messages: int, rate: int) -> tuple[int, int]:
    """Client and server, each new."""
    with Fleet() as fleet:
        etcd = fleet.registry()
        server = fleet.server("echo", etcd)
        client = ask("bench.memory:consume", etcd=etcd, messages=messages, rate=rate)
        return int(client), peak_rss_kib(server.pid)
