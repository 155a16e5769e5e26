"""The client's end of the connection to one member of the simulated registry.

A line is made anew whenever it was thrown away, and then everything that was asked on it is over. What its user does
about that is `palm.sim.registry`'s business.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Protocol

from palm.ports.host import Task, Timer
from palm.sim.kernel import Future
from palm.sim.registry_server import RegistryServer
from palm.sim.registry_session import Answer, Ask, Session


class Process(Protocol):
    """What the registry needs of the simulated process that it lives in."""

    name: str
    place: str
    label: str
    alive: bool

    def now(self) -> int: ...
    def call_at(self, when: int, callback: Callable[[], None]) -> Timer: ...
    def perform(self, callback: Callable[[], None]) -> None: ...
    def spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> Task: ...
    async def sleep(self, duration: int) -> None: ...


class Line:
    """`told` gets what a watch stream says; `broken` is called once nothing that was asked will be answered."""

    __slots__ = (
        "_broken",
        "_name",
        "_process",
        "_said",
        "_server",
        "_told",
        "connected",
        "heard_at",
        "lives",
        "member",
        "pending",
        "probe",
        "session",
    )

    def __init__(
        self,
        process: Process,
        server: RegistryServer,
        member: int,
        told: Callable[[Line, Answer], None],
        broken: Callable[[Line], None],
    ) -> None:
        self.member = member
        self.session: Session | None = None
        self.lives = 0
        """Changes whenever the line is made or thrown away."""
        self.connected = False
        self.heard_at = 0
        self.pending: dict[int, Future[Answer | None]] = {}
        self.probe: Timer | None = None
        self._process = process
        self._server = server
        self._name = f"{process.label}/{server.members.places[member]}"
        self._said = 0
        self._told = told
        self._broken = broken

    def link(self) -> Session:
        """The session, opened where there is none."""
        if self.session is None:
            self.lives += 1
            self._said = 0
            self.connected = False
            process, life = self._process, self.lives
            self.session = self._server.open(
                (process.place, process.label),
                f"{self._name}/{life}",
                lambda answers: process.perform(partial(self._heard, life, answers)),
                lambda: process.perform(partial(self._lost, life)),
                self.member,
            )
        return self.session

    async def ask(self, ask: Ask, timeout_ns: int) -> Answer | None:
        """One try; None when there was no answer in time."""
        answered: Future[Answer | None] = Future()
        self.pending[ask.number] = answered
        timer = self._process.call_at(self._process.now() + timeout_ns, partial(answered.set, None))
        try:
            self.link().ask(ask)
            return await answered
        finally:
            timer.cancel()
            self.pending.pop(ask.number, None)

    def throw_away(self) -> None:
        """Drop the session with all that is asked and watched on it."""
        session, self.session = self.session, None
        if session is not None:
            session.leave()
        self.connected = False
        self.lives += 1
        for answered in list(self.pending.values()):
            answered.set(None)
        self._broken(self)

    def _heard(self, life: int, answers: list[Answer]) -> None:
        if life != self.lives or self.session is None:
            return
        self.session.down.taken(len(answers))
        for answer in answers:
            if answer.place <= self._said:
                continue  # a copy: streams have none
            if answer.place > self._said + 1:
                self.throw_away()  # a hole: what follows cannot be trusted
                return
            self._said = answer.place
            self.heard_at = self._process.now()
            self.connected = self.connected or not answer.absent
            if answer.number == 0:
                self._told(self, answer)
            else:
                future = self.pending.get(answer.number)
                if future is not None:
                    future.set(answer)

    def _lost(self, life: int) -> None:
        if life == self.lives:
            self.throw_away()
