"""Payloads of 1 MiB, eight under way: nothing to gather, everything is copying."""

from __future__ import annotations

from bench.figures import Figure, alternate, compared
from bench.processes import Fleet, ask

PAYLOAD_BYTES = 1024 * 1024
WINDOW = 8


def measure(*, smoke: bool, rounds: int) -> Figure:
    messages, warm_up = (16, 4) if smoke else (1_000, 50)
    common = {"messages": messages, "payload_bytes": PAYLOAD_BYTES, "window": WINDOW, "warm_up": warm_up}
    with Fleet() as fleet:
        etcd = fleet.registry()
        fleet.server("echo", etcd)
        (address,) = fleet.announcing("bench.raw:serve_echo", copy=False)
        # One payload is one MiB, so messages a second are MiB/s each way.
        palm, raw = alternate(
            rounds,
            lambda: ask("bench.client:stream", etcd=etcd, route=["echo.echo"], **common),
            lambda: ask("bench.raw:stream", address=address, copy=False, **common),
        )
    return compared("large", "MiB/s", palm, raw, "at least 0.7 of raw", lambda _, ratio: ratio >= 0.7, **common)
