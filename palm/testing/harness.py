"""One node, driven by hand: events in, a clock that moves when it is told to, and what the node asked for, in order.

Nothing is performed: what a node sends stays here until a test looks at it. Two harnesses and a loop make a network.
"""

from __future__ import annotations

from typing import Callable, NamedTuple, Sequence, TypeVar

from palm.core.effect import Deliver, Effect, Invoke, Send, Tell
from palm.core.event import Event, Finished, Tick
from palm.core.message import Batch, Control, Payload, Peer, Status
from palm.core.node import Node

NS = 1_000_000_000
_RESTLESS = 1_000

_Kind = TypeVar("_Kind")


class Step(NamedTuple):
    """One event, when it was handled, and what the node asked for."""

    now: int
    event: Event
    effects: list[Effect]


class Item(NamedTuple):
    """One message of a batch."""

    sequence: int
    payload: Payload = b""
    status: int = Status.OK
    attempt: int = 1


class Harness:
    """`steps` holds all that happened since the start; the other views begin at the last `forget`."""

    def __init__(self, node: Node, *, now: int = 0) -> None:
        self.node = node
        self.now = now
        self.steps: list[Step] = []
        self._seen = 0

    def post(self, *events: Event) -> list[Effect]:
        """Let these happen now, one after another; what they brought about."""
        effects: list[Effect] = []
        for event in events:
            self.steps.append(Step(self.now, event, self.node.handle(event, self.now)))
            effects += self.steps[-1].effects
        return effects

    def advance(self, seconds: float = 0.0, *, ns: int = 0) -> list[Effect]:
        """Let time pass, with a Tick at each of the node's deadlines; what they brought about."""
        end = self.now + round(seconds * NS) + ns
        effects: list[Effect] = []
        restless = 0
        while (deadline := self.node.deadline) is not None and deadline <= end:
            restless = restless + 1 if deadline <= self.now else 0
            assert restless < _RESTLESS, f"the node's deadline stays at {deadline}, however often it hears Tick"
            self.now = max(self.now, deadline)
            effects += self.post(Tick())
        self.now = end
        return effects

    def oversleep(self, seconds: float) -> list[Effect]:
        """Let time pass without a Tick, then give one: a process that was stopped."""
        self.now += round(seconds * NS)
        return self.post(Tick())

    # -- what it asked for, since the last `forget` -------------------------------------------------------------------

    def forget(self) -> None:
        """Look at nothing that was asked for until now."""
        self._seen = len(self.steps)

    @property
    def effects(self) -> list[Effect]:
        return [effect for step in self.steps[self._seen :] for effect in step.effects]

    def of(self, kind: type[_Kind]) -> list[_Kind]:
        """The effects of one kind."""
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def sent_to(self, peer: Peer) -> list[Item]:
        """The messages sent to a peer."""
        return [item for send in self.of(Send) if send.peer == peer for item in items(send.batch)]

    def sent(self) -> list[Item]:
        """The messages sent to anybody."""
        return [item for send in self.of(Send) for item in items(send.batch)]

    def told(self, peer: Peer) -> list[Control]:
        """The control words for a peer."""
        return [tell.control for tell in self.of(Tell) if tell.peer == peer]

    def invoked(self) -> list[int]:
        """The sequences that user code was to run for."""
        return [sequence for invoke in self.of(Invoke) for sequence in invoke.batch.sequences]

    def delivered(self) -> list[Item]:
        """The outcomes handed to the caller of a client's jobs."""
        return [
            Item(sequence, payload, status)
            for effect in self.of(Deliver)
            for sequence, payload, status in zip(
                effect.sequences,
                effect.payloads,
                effect.statuses or [Status.OK] * len(effect.sequences),
                strict=True,
            )
        ]


def items(batch: Batch) -> list[Item]:
    """A batch as rows."""
    count = len(batch)
    return [
        Item(*row)
        for row in zip(
            batch.sequences,
            batch.payloads,
            batch.statuses or [Status.OK] * count,
            batch.attempts or [1] * count,
            strict=True,
        )
    ]


def finished(invoke: Invoke, function: Callable[[bytes], bytes], only: Sequence[int] | None = None) -> Finished:
    """What comes of an Invoke whose user code is `function`; of the sequences in `only`, where that is given."""
    sequences: list[int] = []
    payloads: list[Payload] = []
    for sequence, payload in zip(invoke.batch.sequences, invoke.batch.payloads, strict=True):
        if only is None or sequence in only:
            assert isinstance(payload, bytes), "a failure is not run"
            sequences.append(sequence)
            payloads.append(function(payload))
    return Finished(invoke.ticket, sequences, payloads, None)
