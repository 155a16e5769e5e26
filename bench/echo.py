"""One message out and back, one at a time: what a call costs when nothing can be shared."""

from __future__ import annotations

from statistics import median, quantiles

from bench.figures import Figure, alternate, compared
from bench.processes import Fleet, ask

PAYLOAD_BYTES = 100


def measure(*, smoke: bool, rounds: int) -> Figure:
    calls, warm_up = (50, 20) if smoke else (3_000, 500)
    tails: dict[str, list[float]] = {"palm": [], "raw": []}

    def p50_us(times_ns: list[int], of: str) -> float:
        tails[of].append(quantiles(times_ns, n=100)[98] / 1e3)
        return median(times_ns) / 1e3

    with Fleet() as fleet:
        etcd = fleet.registry()
        fleet.server("echo", etcd)
        (address,) = fleet.announcing("bench.raw:serve_echo", copy=True)
        common = {"calls": calls, "payload_bytes": PAYLOAD_BYTES, "warm_up": warm_up}
        palm, raw = alternate(
            rounds,
            lambda: p50_us(ask("bench.client:echo", etcd=etcd, **common), "palm"),
            lambda: p50_us(ask("bench.raw:echo", address=address, **common), "raw"),
        )
    return compared(
        "echo",
        "us p50",
        palm,
        raw,
        "at most 2.0 of raw's p50",
        lambda _, ratio: ratio <= 2.0,
        calls=calls,
        payload_bytes=PAYLOAD_BYTES,
        palm_p99=round(median(tails["palm"]), 1),
        raw_p99=round(median(tails["raw"]), 1),
    )
