"""Calls that handlers make: one client for all of a server process, made at the first use.

A call inherits from the message at hand what is left of its deadline, and its trace id.
"""

from __future__ import annotations

from typing import Callable

from palm.aclient import AsyncClient
from palm.client import Client
from palm.core.route import RouteText, parse_route
from palm.errors import BadRequest, DeadlineExpired
from palm.runtime.envelope import CURRENT, Work
from palm.runtime.functions import called
from palm.runtime.inside import Inside, inside_of
from palm.session import Open, Session, Steps
from palm.store import AsyncStore, Operations, Store

WINDOW = 1024
WINDOW_BYTES = 64 * 1024 * 1024
MAX_PAYLOAD_BYTES = 32 * 1024 * 1024


class Nested:
    """What `self.call` and `self.acall` are made of; `client` and `aclient` are two faces of one session."""

    def __init__(self, inside: Inside) -> None:
        self.session = Session(
            inside.world("handlers"),
            timeout=None,
            ready_timeout=None,
            window=WINDOW,
            window_bytes=WINDOW_BYTES,
            max_payload_bytes=MAX_PAYLOAD_BYTES,
        )
        self.client = Client.of(self.session)
        self.aclient = AsyncClient.of(self.session)

    def stop(self, stopped: Callable[[], None]) -> None:
        if self.session.close():
            self.session.world.stop(stopped)
        else:
            stopped()


def nested(server: object) -> Nested:
    """That of the process which serves this object."""
    return inside_of(server).keep(Nested, Nested)


def call(server: object, route: RouteText, payload: bytes, timeout: float | None) -> bytes:
    work = CURRENT.get()
    if work is not None and work.awaits:
        raise BadRequest(
            "self.call blocks, and an async handler that blocks stops all others: use `await self.acall(...)`"
        )
    if work is not None:
        inside_of(server).waits(called(work.batch.header))
    deadline, trace = _inherited(work, route)
    return nested(server).client.call(route, payload, timeout=timeout, deadline=deadline, trace=trace)


async def acall(server: object, route: RouteText, payload: bytes, timeout: float | None) -> bytes:
    deadline, trace = _inherited(CURRENT.get(), route)
    return await nested(server).aclient.call(route, payload, timeout=timeout, deadline=deadline, trace=trace)


def store(server: object) -> Store:
    """The store of the object's own server, for functions that may block."""
    inside = inside_of(server)
    client = nested(server).client

    def perform(steps: Callable[[Open], Steps[object]]) -> object:
        work = CURRENT.get()
        if work is not None and work.awaits:
            raise BadRequest(
                "self.store blocks, and an async handler that blocks stops all others: use `await self.astore...`"
            )
        if work is not None:
            inside.waits(work.batch.header.target.function)
        return client.perform(steps)

    return Store(Operations(nested(server).session, inside.server, "", _time_left()), perform)


def astore(server: object) -> AsyncStore:
    """The same for coroutines."""
    own = nested(server)
    return AsyncStore(Operations(own.session, inside_of(server).server, "", _time_left()), own.aclient.perform)


def _time_left() -> float | None:
    """What is left of the deadline of the message at hand; a moment, where that is nothing."""
    work = CURRENT.get()
    return None if work is None or work.expires is None else max(0.001, (work.expires - work.now()) / 1e9)


def _inherited(work: Work | None, route: RouteText) -> tuple[float | None, bytes]:
    """Seconds that are left, and the trace id."""
    if work is None:
        return None, b""
    trace = work.batch.header.trace
    if work.expires is None:
        return None, trace
    left = work.expires - work.now()
    if left <= 0:
        raise DeadlineExpired(
            f"{parse_route(route)[0]} is not called: the deadline of the message at hand has passed"
        )
    return left / 1e9, trace
