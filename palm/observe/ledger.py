"""The ledger of a job: every message ends in exactly one way, and the columns add up at all times."""

from __future__ import annotations

from typing import NamedTuple


class Ledger(NamedTuple):
    """sent = delivered + failed + expired + dead_lettered + in_flight.

    `in_flight` is counted on its own (messages that have not ended, and results that the caller has not taken), not as
    the difference of the others: so `adds_up` can be false, and is checked at the end of every job.
    """

    sent: int = 0
    delivered: int = 0
    failed: int = 0
    expired: int = 0
    dead_lettered: int = 0
    in_flight: int = 0

    @property
    def adds_up(self) -> bool:
        return self.sent == self.delivered + self.failed + self.expired + self.dead_lettered + self.in_flight

    def __str__(self) -> str:
        return "  ".join(f"{name.replace('_', ' ')} {count}" for name, count in self._asdict().items())
