"""The Node protocol and its three laws: no clock, no I/O, no bytes of the wire.

A node is a plain object. Time comes in as `now`, everything it wants done goes out as effects, and `deadline` says when
it wants to hear `Tick` at the latest. So a run *is* the list of (time, node, event, effects).
"""

from __future__ import annotations

from typing import Protocol

from palm.core.effect import Effect
from palm.core.event import Event


class Node(Protocol):
    @property
    def deadline(self) -> int | None:
        """When `Tick` is due, in nanoseconds of the host's clock; None for never. May change with each event."""
        ...

    def handle(self, event: Event, now: int) -> list[Effect]:
        """Take one event at `now`; what is to be done about it, in order. Never raises on anything that came from a
        socket, a user's function or the registry."""
        ...
