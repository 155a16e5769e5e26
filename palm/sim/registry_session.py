"""A client's connection to one member of the simulated registry: a pipe each way, and what is said on them.

What is lost on it is lost with all that comes after, as on a stream, and the client makes a new one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from palm.sim.etcd import values as v
from palm.sim.kernel import NANOSECONDS
from palm.sim.members import PLACE
from palm.sim.network import Network, Pipe

_LINGER_NS = 15 * NANOSECONDS  # a session whose client was cut off as it died is forgotten after this long


@dataclass(frozen=True, slots=True)
class Ask:
    """One request. `number` counts the requests of a session, from 1."""

    number: int
    method: str
    arguments: tuple[Any, ...] = ()
    token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of request `number`: etcd's answer, its refusal, or `absent` saying why nobody could decide it.

    `number` 0 is for what a watch stream says unasked: `stream` and a list of its answers. `place` counts everything
    that the server has said on the session, from 1, so that a gap is seen.
    """

    place: int
    number: int
    value: Any = None
    refusal: v.EtcdRefused | None = None
    absent: str = ""
    stream: int = 0


class Server(Protocol):
    """What a session needs of the registry."""

    @property
    def network(self) -> Network: ...

    def asked(self, session: Session, ask: Ask) -> None: ...
    def forget(self, session: Session) -> None: ...


class Session:
    """One client's connection to one member, seen from both ends."""

    __slots__ = ("_last_asked", "_server", "closed", "down", "member", "said", "streams", "up")

    def __init__(
        self,
        server: Server,
        member: int,
        place: str,
        client: tuple[str, str],
        name: str,
        heard: Callable[[list[Answer]], None],
    ) -> None:
        network, there = server.network, (place, PLACE)
        self._server = server
        self.member = member
        self.up: Pipe[Ask] = network.pipe(client, there, f"{name}/up", self._asked)
        self.down: Pipe[Answer] = network.pipe(there, client, f"{name}/down", heard)
        self.streams: dict[int, None] = {}
        self.said = 0
        self.closed = False
        self._last_asked = 0

    def ask(self, ask: Ask) -> None:
        """Send one request. It may be lost."""
        self.up.send(ask, (repr(ask).encode(),))

    def leave(self) -> None:
        """The client is done with it; the server learns of it behind what was asked."""
        self.down.closed = True
        if self._server.network.passes(self.up.path.src, self.up.path.dst):
            self.up.after_all(self.forget, self.up.path.link.delay.sample(0.5))
        else:
            clock = self._server.network.kernel
            clock.call_at(clock.now + _LINGER_NS, self.forget)

    def say(self, number: int, **what: Any) -> None:
        """Answer, unless the session has broken; it breaks here when the answer is certainly lost."""
        if self.closed:
            return
        self.said += 1
        answer = Answer(self.said, number, **what)
        if not self.down.send(answer, (repr(answer).encode(),)):
            # A stream has no holes: what is lost takes the rest with it, and the client finds it silent.
            self.forget()

    def forget(self) -> None:
        self.closed = True
        self.up.closed = True
        self._server.forget(self)

    def _asked(self, asks: list[Ask]) -> None:
        self.up.taken(len(asks))
        for ask in asks:
            if ask.number > self._last_asked and not self.closed:  # else a copy, or overtaken: streams have neither
                self._last_asked = ask.number
                self._server.asked(self, ask)
