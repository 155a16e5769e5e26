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
from palm.session import Session

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
