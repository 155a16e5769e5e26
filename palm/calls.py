"""Single calls: one standing job for each route and trace, so that a call costs a message and not a job."""

from __future__ import annotations

from typing import Callable

from palm.core.message import Payload, Status, results_bytes
from palm.core.route import Route, RouteText
from palm.errors import MessageFailed, PalmError
from palm.jobs import buried, error_of
from palm.letters import Letters
from palm.runtime.engine import ClientEngine

WINDOW = 1 << 24
"""Calls are bounded by their callers, each of whom waits."""

Answer = Callable[["bytes | PalmError"], None]


class CallJob:
    """The sink of a standing job. Everything runs on the host's thread."""

    def __init__(
        self,
        engine: ClientEngine,
        route: Route,
        trace: bytes = b"",
        *,
        letters: Letters | None = None,
        route_text: RouteText = "",
    ) -> None:
        self._letters = letters
        self._route_text = route_text
        self._engine = engine
        self._route = route
        self._waiting: dict[int, Answer] = {}
        self._early: list[tuple[bytes, Answer, int]] = []
        self._sent = 0
        self.is_ready = False
        self.error: PalmError | None = None
        self.number = engine.new_number()
        engine.open(
            self.number,
            self,
            route,
            window=WINDOW,
            window_bytes=1 << 62,
            endless=True,
            trace=trace,
        )

    @property
    def is_idle(self) -> bool:
        return not self._waiting and not self._early

    def end(self) -> None:
        """Nobody will call any more."""
        self._engine.source_ended(self.number)

    def call(self, payload: bytes, answer: Answer, expires: int) -> None:
        """Send it; `answer` gets the result, or the error in its place: at the latest when host time is `expires`,
        once the route is there."""
        if self.error is not None:
            answer(self.error)
        elif not self.is_ready:
            self._early.append((payload, answer, expires))
        else:
            self._waiting[self._sent] = answer
            self._sent += 1
            self._engine.offer(self.number, [payload], max(1, expires - self._engine.host.now()))

    def forget(self, answer: Answer) -> None:
        """A caller has given up: what never went out need not; an answer to what did finds nobody."""
        self._early = [entry for entry in self._early if entry[1] is not answer]

    # -- JobSink ------------------------------------------------------------------------------------------------------

    def ready(self) -> None:
        self.is_ready = True
        early, self._early = self._early, []
        for payload, answer, expires in early:
            self.call(payload, answer, expires)

    def demand(self, count: int) -> None:
        """Calls come when they come."""

    def deliver(
        self,
        sequences: list[int],
        payloads: list[Payload],
        statuses: list[int] | None,
        emitted: bool = False,
        in_order: bool = True,
        keys: dict[int, bytes] | None = None,
    ) -> None:
        dead = buried(sequences, payloads, statuses, self._route_text)
        if dead and self._letters is not None:
            self._letters.keep(self._engine.node.peer, self.number, dead)
        ok = size = 0
        for index, sequence in enumerate(sequences):
            status = Status.OK if statuses is None else statuses[index]
            payload = payloads[index]
            value: bytes | PalmError
            if status == Status.OK and isinstance(payload, bytes):
                value = payload
                ok += 1
                size += len(payload)
            elif status == Status.MANY and isinstance(payload, tuple):
                value = MessageFailed(
                    f"call to {' -> '.join(map(str, self._route))}: {len(payload)} results, and a call has one: use map"
                )
                value.sequence = sequence
                ok += 1
                size += results_bytes(payload, status)
            else:
                value = error_of(sequence, status, payload, self._route)
            self._waiting.pop(sequence)(value)
        self._engine.taken(self.number, len(sequences), ok, size)

    def ended(self, error: PalmError | None) -> None:
        self.error = error or PalmError("the client was closed during the call")
        waiting = [answer for _, answer, _ in self._early] + list(self._waiting.values())
        self._early, self._waiting = [], {}
        self._engine.close(self.number)
        for answer in waiting:
            answer(self.error)
