"""How many messages a worker wants to have at one time: enough that it never runs dry, and no more.

What a worker has beyond the message that it runs waits behind it, where no idle worker can take it. So it asks for
what it will have run by the time that more can be there: a slow function or a slow machine asks for less, by itself.
"""

from __future__ import annotations

FIRST = 2
"""Before anything is known: one to run, and one behind it."""

MOST = 512
HORIZON = 40_000_000
"""What is asked for is this much work (ns) at the pace of late, beside the way there and back."""


class Credit:
    """`least` is for functions whose messages run beside each other: those are not slow because they wait for
    others."""

    __slots__ = ("size", "_least", "_service", "_since", "_trip")

    def __init__(self, least: int = 1) -> None:
        self.size = max(FIRST, least)
        self._least = least
        self._service: int | None = None
        self._since: int | None = None
        self._trip = 0

    def began(self, now: int) -> None:
        """There is work again, after none."""
        self._since = now

    def ended(self, count: int, now: int, *, idle: bool) -> None:
        """So many messages have ended; `idle`: there are no more."""
        if self._since is not None:
            took = max(1, (now - self._since) // count)
            self._service = took if self._service is None else (3 * self._service + took) // 4
            self.size = max(self._least, min(MOST, 1 + (HORIZON + self._trip) // self._service))
        self._since = None if idle else now

    def took(self, trip: int) -> None:
        """A word went to the leader and back in that time (ns). The shortest of late counts: the rest is waiting in
        line."""
        self._trip = trip if not self._trip else min(trip, self._trip + self._trip // 8)
