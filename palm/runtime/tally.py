"""What each function of an instance has done so far, for `_stats`: counted by the piece, not by the message."""

from __future__ import annotations

from palm.observe.quantiles import Quantiles

MS = 1_000_000


class Tally:
    """Of one function. Latency is from a message's coming to the function to its end, waiting included."""

    __slots__ = ("count", "failed", "in_flight", "latency", "longest")

    def __init__(self) -> None:
        self.count = 0
        self.failed = 0
        self.in_flight = 0
        self.latency = Quantiles()
        self.longest = 0

    def ended(self, count: int, failed: int, took: int) -> None:
        self.count += count
        self.failed += failed
        self.in_flight -= count
        self.longest = max(self.longest, took)
        self.latency.add(took, count)

    def as_dict(self) -> dict[str, object]:
        latency = {f"p{round(share * 100)}": self.latency.at(share) / MS for share in (0.5, 0.9, 0.99)}
        return {
            "count": self.count,
            "failed": self.failed,
            "in_flight": self.in_flight,
            "latency_ms": {**latency, "max": self.longest / MS},
        }
