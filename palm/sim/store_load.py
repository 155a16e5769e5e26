"""A scenario's store operations at work: one client process doing one after another, and what it saw of each."""

from __future__ import annotations

from random import Random
from typing import Callable, Sequence

from palm.core.message import Payload, Status
from palm.core.route import Stage
from palm.core.store import FUNCTION, Code, Op, Request
from palm.errors import HarnessError, PalmError
from palm.runtime.engine import ClientEngine
from palm.sim.draws import Key
from palm.sim.kernel import Clock
from palm.sim.linearizable import Kind, Operation
from palm.sim.recorder import ClientInstrument
from palm.sim.scenario.stores import StoreUse
from palm.wire.store import read_reply, write_request

WINDOW_BYTES = 64 * 1024 * 1024

KINDS: list[tuple[float, Kind, Op]] = [
    (0.45, "get", Op.GET),
    (0.75, "append", Op.APPEND),
    (0.95, "set", Op.SET),
    (1.00, "delete", Op.DELETE),
]
"""Each up to that draw."""


class StoreLoad:
    """The sink of its engine. A read that the store did not serve is none."""

    def __init__(self, use: StoreUse, client: str, place: str, kernel: Clock, *, reads_only: bool) -> None:
        self.use = use
        self.client = client
        self.place = place
        self.seen: list[Operation] = []
        self.on_end: Callable[[], None] = lambda: None
        self.has_ended = False
        self._kernel = kernel
        self._kinds = KINDS[:1] if reads_only else KINDS
        self._random: Random = Key(kernel.seed, f"{use.id}/{client}").random(0)
        self._engine: ClientEngine | None = None
        self._instrument: ClientInstrument | None = None
        self._number = 0
        self._left = use.operations
        self._at_hand: Operation | None = None
        self._allowed = False
        self._due = True

    def begin(self, engine: ClientEngine, instrument: ClientInstrument) -> None:
        self._engine, self._instrument = engine, instrument
        self._number = engine.new_number()
        instrument.numbers[self._number] = self.client
        engine.open(
            self._number,
            self,
            (Stage(self.use.server, FUNCTION),),
            window=1,
            window_bytes=WINDOW_BYTES,
            deadline=self.use.timeout_ns,
        )

    # -- JobSink ------------------------------------------------------------------------------------------------------

    def ready(self) -> None:
        """Its instances are known; `demand` comes next."""

    def demand(self, count: int) -> None:
        self._allowed = count > 0
        self._next()

    def deliver(
        self,
        sequences: list[int],
        payloads: list[Payload],
        statuses: list[int] | None,
        emitted: bool = False,
        in_order: bool = True,
        keys: dict[int, bytes] | None = None,
    ) -> None:
        assert self._engine is not None and self._at_hand is not None
        [payload] = payloads
        operation, self._at_hand = self._at_hand, None
        ok = statuses is None or statuses[0] == Status.OK
        if ok and isinstance(payload, bytes):
            self._note(operation, payload)
        else:
            self.seen.append(operation)
        self._due = False
        self._kernel.call_at(self._kernel.now + self.use.pause_ns, self._rested)
        self._engine.taken(self._number, 1, int(ok), len(payload) if ok else 0)

    def ended(self, error: PalmError | None) -> None:
        if error is not None:
            raise HarnessError(f"the use {self.use.id} of a store was refused: {error}") from error
        self.has_ended = True
        self.on_end()

    # -- one after another --------------------------------------------------------------------------------------------

    def _rested(self) -> None:
        self._due = True
        self._next()

    def _next(self) -> None:
        engine = self._engine
        if engine is None or not (self._allowed and self._due) or self._at_hand is not None:
            return
        if not self._left:
            self._allowed = False
            engine.source_ended(self._number)
            return
        self._left -= 1
        self._allowed = False
        number = self.use.operations - self._left
        draw = self._random.random()
        kind, op = next((kind, op) for limit, kind, op in self._kinds if draw < limit or len(self._kinds) == 1)
        key = f"k{self._random.randrange(self.use.keys)}"
        value = f"{self.client}:{number};".encode() if op in (Op.SET, Op.APPEND) else b""
        self._at_hand = Operation(self.client, key, kind, value, None, self._kernel.now, None)
        engine.offer(self._number, [write_request(Request(op, key, value))])

    def _note(self, operation: Operation, payload: bytes) -> None:
        reply = read_reply(payload)
        if reply.code == Code.REFUSED and self._instrument is not None:
            self._instrument.refused(self.use.server, reply.text)
        if reply.code not in (Code.OK, Code.MISSING):
            # A write that was refused may have been done by a copy of its message, whoever took that.
            self.seen += [] if operation.kind == "get" else [operation]
            return
        result: bytes | int | None = None
        match operation.kind:
            case "get":
                result = reply.value if reply.code == Code.OK else None
            case "append":
                result = reply.size
            case "delete":
                result = int(reply.code == Code.OK)
        self.seen.append(operation._replace(result=result, returned=self._kernel.now))

    @staticmethod
    def of(uses: Sequence[StoreUse], clock: Clock) -> list[StoreLoad]:
        """One for each client of each use, and for each reader."""
        return [
            StoreLoad(use, f"{use.id}-{number}", place, clock, reads_only=number >= len(use.clients))
            for use in uses
            for number, place in enumerate((*use.clients, *use.readers))
        ]

    def all_seen(self) -> list[Operation]:
        """With the one at hand, whose end nobody knows."""
        return self.seen + ([] if self._at_hand is None else [self._at_hand])
