"""How callers outside of a host's thread reach it: the world that a client opens, and how a job's source is fed.

`palm.net.world` implements it with a thread, `palm.sim.portal` by running the simulation on. `palm.client` is written
against this and knows neither.
"""

from __future__ import annotations

from typing import Callable, ContextManager, Iterable, Protocol

from palm.errors import PalmError
from palm.ports.host import Gate
from palm.runtime.engine import ClientEngine


class Feed(Protocol):
    """Pulls payloads from a caller's iterable as they are demanded."""

    def demand(self, count: int) -> None:
        """That many more may be pulled. On the host's thread."""
        ...

    def stop(self) -> None:
        """Pull nothing more; a generator is closed by whoever runs it."""
        ...


class World(Protocol):
    name: str

    def begin(self, ready: Callable[[ClientEngine | None, PalmError | None], None]) -> None:
        """Make and start an engine; then call `ready` on the host's thread with it, or with why not."""
        ...

    def submit(self, callback: Callable[[], None]) -> None:
        """Call it on the host's thread, soon; in one's `turn`, before this returns. Not before `ready` was called.
        Raises ClientClosed once the world has ended."""
        ...

    def gate(self) -> Gate: ...

    def turn(self) -> ContextManager[Gate]:
        """A gate for one short exchange with the host, whose waiter may run the world itself meanwhile: for a caller
        who does nothing else until the block ends. Not before `ready` was called."""
        ...

    def feed(
        self,
        source: Iterable[bytes],
        offer: Callable[[list[bytes]], None],
        ended: Callable[[BaseException | None], None],
    ) -> Feed:
        """Both callbacks run on the host's thread. `offer` gets payloads in order; `ended` comes once, after the last,
        with what the source raised. Items are checked by `source`, not here."""
        ...

    def end(self) -> None:
        """Close the engine and let go of the world. From outside of the host's thread; waits for at most some
        seconds."""
        ...

    def stop(self, stopped: Callable[[], None]) -> None:
        """The same without waiting, for callers that may not block; `stopped` is called from any thread once it is
        done."""
        ...
