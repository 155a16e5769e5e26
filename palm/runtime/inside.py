"""What a server object may ask of the process that it runs in: to be bound to it once, before any of its code runs.

One `Inside` for each life of an instance. It knows no client: `palm.nested`, on the floor above, keeps its own here.
"""

from __future__ import annotations

from typing import Callable, Protocol, TypeVar

from palm.ports.host import Host
from palm.runtime.portal import World

_NAME = "_palm_inside"
CLOSE_NS = 2_000_000_000
POLL = 5_000_000


class Kept(Protocol):
    """What handlers share, and what is to be closed with the instance."""

    def stop(self, stopped: Callable[[], None]) -> None:
        """Close without waiting; `stopped` is called from any thread once it is done."""
        ...


K = TypeVar("K", bound=Kept)


def _nowhere(name: str) -> None:
    """Before the instance serves there is nobody to tell."""


class Inside:
    def __init__(self, world: Callable[[str], World]) -> None:
        """`world(name)` makes the world of a client in this process, which lives no longer than the instance."""
        self.world = world
        self.marks: Callable[[str], None] = _nowhere
        """User code came to a place that it has a name for."""
        self.waits: Callable[[str], None] = _nowhere
        """That function waits for others: it must never run where the protocol does."""
        self.server = ""
        """The name that the object is served under."""
        self._kept: dict[type, Kept] = {}

    def keep(self, kind: type[K], make: Callable[[Inside], K]) -> K:
        """The one thing of its kind in this process, made at the first use. From any thread."""
        kept = self._kept.get(kind)
        if kept is None:
            kept = self._kept.setdefault(kind, make(self))  # of two made at one moment, one is never used
        assert isinstance(kept, kind), "things are kept under their own kind"
        return kept

    async def aclose(self, host: Host) -> None:
        """Close what is kept; waits for at most two seconds."""
        left = list(self._kept.values())
        self._kept.clear()
        stopped: list[bool] = []
        for kept in left:
            kept.stop(lambda: stopped.append(True))
        until = host.now() + CLOSE_NS
        while len(stopped) < len(left) and host.now() < until:
            await host.sleep(POLL)


def bind(server: object, inside: Inside) -> None:
    """The object's code runs there from now on. A class without a place for it cannot ask for anything."""
    try:
        object.__setattr__(server, _NAME, inside)
    except AttributeError:
        pass  # a class of its own making, with slots


def inside_of(server: object) -> Inside:
    """Raises LookupError for an object that nobody serves."""
    inside: Inside | None = getattr(server, _NAME, None)
    if inside is None:
        raise LookupError(f"this {type(server).__name__} is not served: run it with `palm run`, or `simulate` it")
    return inside
