"""Many small messages through three servers, each of which sends straight on to the next."""

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
        for name in ("first", "second", "third"):
            fleet.server(name, etcd)
        third, last = fleet.announcing("bench.raw:serve_stage", onward="")
        (second,) = fleet.announcing("bench.raw:serve_stage", onward=third)
        (first,) = fleet.announcing("bench.raw:serve_stage", onward=second)
        route = ["first.echo", "second.echo", "third.echo"]
        palm, raw = alternate(
            rounds,
            lambda: ask("bench.client:stream", etcd=etcd, route=route, **common),
            lambda: ask("bench.raw:chain", first=first, last=last, **common),
        )
    return compared(
        "chain",
        "messages/s",
        palm,
        raw,
        "at least 0.5 of raw PUSH/PULL",
        lambda _, ratio: ratio >= 0.5,
        **common,
    )
