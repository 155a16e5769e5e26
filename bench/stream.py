"""Many small messages through one server: a window of them under way all the time."""

from __future__ import annotations

from bench.figures import Figure, alternate, compared
from bench.processes import Fleet, ask

PAYLOAD_BYTES = 100
WINDOW = 1024


def measure(*, smoke: bool, rounds: int) -> Figure:
    messages, warm_up = (2_000, 500) if smoke else (100_000, 10_000)
    common = {"messages": messages, "payload_bytes": PAYLOAD_BYTES, "window": WINDOW, "warm_up": warm_up}
    with Fleet() as fleet:
        etcd = fleet.registry()
        fleet.server("echo", etcd)
        (address,) = fleet.announcing("bench.raw:serve_echo", copy=True)
        palm, raw = alternate(
            rounds,
            lambda: ask("bench.client:stream", etcd=etcd, route=["echo.echo"], **common),
            lambda: ask("bench.raw:stream", address=address, copy=True, **common),
        )
    return compared(
        "stream", "messages/s", palm, raw, "at least 0.9 of raw", lambda _, ratio: ratio >= 0.9, **common
    )
