"""A million messages from a generator into a consumer that is slower than the servers: memory must not follow them.

The consumer takes at a fixed rate in both jobs, so windows are full in both and only the number differs. Who serves is
said by whoever measures: one server here, a leader and its workers in `bench.butterfly_memory`.
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
    return flat("memory", {"server": "bench.servers:Bench"}, smoke=smoke)


def flat(bench: str, servers: dict[str, str], *, smoke: bool) -> Figure:
    """The peaks of a client and of these processes, all instances of one server, at many messages beside a few."""
    many, few, rate = (10_000, 1_000, 10_000) if smoke else (1_000_000, 10_000, 16_000)
    at_many, at_few = _peaks(servers, many, rate), _peaks(servers, few, rate)
    ratios = {who: at_many[who] / at_few[who] for who in at_many}
    return Figure(
        bench=bench,
        unit=f"MiB peak of {' and '.join(ratios)} at {many} messages",
        palm=sum(at_many.values()) / 1024,
        raw=sum(at_few.values()) / 1024,
        ratio=max(ratios.values()),
        target=f"at most 1.2 of the peak at {few} messages, each of them",
        met=max(ratios.values()) <= 1.2,
        more={
            "messages": many,
            "messages_beside": few,
            "payload_bytes": PAYLOAD_BYTES,
            "taken_per_s": rate,
            **{f"{who}_ratio": round(ratio, 3) for who, ratio in ratios.items()},
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


def _peaks(servers: dict[str, str], messages: int, rate: int) -> dict[str, int]:
    """Client and servers, each new; in KiB."""
    with Fleet() as fleet:
        etcd = fleet.registry()
        # One after the other: the first is elected.
        running = {}
        for who, target in servers.items():
            running[who] = fleet.server("echo", etcd, target)
            ask("bench.client:instances", etcd=etcd, server="echo", count=len(running))
        client = ask("bench.memory:consume", etcd=etcd, messages=messages, rate=rate)
        return {"client": int(client)} | {who: peak_rss_kib(process.pid) for who, process in running.items()}
