"""The window of a job: how much of it may be on its way at one time.

Counted in messages and in bytes, from the moment a payload is asked of the source until the caller has taken what
became of it. BUSY answers halve it, at most once in a while; answers let it grow again, one step for each window's
worth: additive increase, multiplicative decrease (Jacobson 1988).
"""

from __future__ import annotations

LEAST = 16


class Window:
    __slots__ = ("limit", "limit_bytes", "size", "_credit", "_typical_bytes")

    def __init__(self, limit: int, limit_bytes: int) -> None:
        self.limit = limit
        self.limit_bytes = limit_bytes
        self.size = limit
        self._credit = 0
        self._typical_bytes: int | None = None

    def room(self, messages: int, used_bytes: int, demanded: int = 0) -> int:
        """How many more messages fit beside `messages` that hold `used_bytes`; `demanded` of them have not come yet.

        Soft in bytes: judged by the size that payloads had of late, and never less than one for an empty window, so a
        payload larger than the window still passes. Before the first payload, only few are let in.
        """
        room = self.size - messages
        if self._typical_bytes is None:
            room = min(room, LEAST - messages)
        else:
            room = min(room, (self.limit_bytes - used_bytes) // self._typical_bytes - demanded)
        return max(room, 1 if messages == 0 else 0)

    def saw(self, count: int, payload_bytes: int) -> None:
        """Payloads came from the source; their mean size follows the latest quickly upwards, slowly downwards."""
        mean = max(1, payload_bytes // count) if count else 1
        self._typical_bytes = max(mean, (3 * (self._typical_bytes or 0) + mean) // 4)

    def answered(self, count: int) -> None:
        if self.size < self.limit:
            self._credit += count
            if self._credit >= self.size:
                self._credit = 0
                self.size = min(self.limit, self.size + max(1, self.limit // 16))

    def shrink(self) -> None:
        self.size = max(min(LEAST, self.limit), self.size // 2)
        self._credit = 0
