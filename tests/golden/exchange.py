"""A whole exchange between nodes, as lines that a person reads: time, node, what happened, what it asked for.

Three nodes under harness, a wire that takes 1 ms and carries bytes, user code that takes 2 ms, a registry that answers
after 1 ms. Heartbeats go on and are left out of the lines, unless something came of them. The driver has no part in it:
what it would gather for one peer at one moment stands here batch by batch.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Callable

from palm.core.client import ClientNode
from palm.core.effect import Abandon, Deliver, Demand, Dial, Effect, Ended, Follow, Invoke, Ready, Send, Tell
from palm.core.event import (
    Event,
    Finished,
    Heard,
    InstanceUp,
    Listed,
    Offered,
    Opened,
    Received,
    SourceEnded,
    Taken,
    Tick,
)
from palm.core.message import Batch, Control, Instance, Payload, Peer, Ping, Pong, Status
from palm.core.route import parse_route
from palm.core.server import ServerNode
from palm.testing.harness import Harness, items
from palm.wire.codec import Codec
from palm.wire.control import encode_control

MS = 1_000_000
ROUTE = ["one.clean", "two.count"]
CLIENT = Peer("client-000000000")
INSTANCES = {
    server: Instance(server=server, peer=Peer(f"{server}-000000000000"), address=f"sim://{server}:1", functions=(name,))
    for server, name in (("one", "clean"), ("two", "count"))
}
NAMES: dict[object, str] = {CLIENT: "client", **{instance.peer: server for server, instance in INSTANCES.items()}}
CODE: dict[str, Callable[[bytes], bytes]] = {"clean": bytes.strip, "count": lambda text: b"%d" % len(text)}
SOURCE = [b"  a word ", b"two", b" three"]


class Exchange:
    """`loses` is asked for each frame with results, in order: whether the wire loses it."""

    def __init__(self, loses: Callable[[int], bool]) -> None:
        self.now = 0
        self.lines: list[str] = []
        self._loses = loses
        self._result_frames = 0
        self._has_offered = False
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._ordinal = 0
        self._codec = Codec()
        self._nodes: dict[Peer, Harness] = {CLIENT: Harness(ClientNode(peer=CLIENT, incarnation=1))}
        for instance in INSTANCES.values():
            node = ServerNode(peer=instance.peer, server=instance.server, functions=instance.functions)
            self._nodes[instance.peer] = Harness(node)

    def run(self, until: int) -> list[str]:
        route = parse_route(ROUTE)
        opened = Opened(number=1, route=route, window=4, window_bytes=1_000, deadline=None, at_most_once=False)
        self._post(CLIENT, opened)
        while (at := self._next_at()) <= until:
            self.now = at
            while self._queue and self._queue[0][0] == at:
                heappop(self._queue)[2]()
            for peer, harness in self._nodes.items():
                if harness.node.deadline is not None and harness.node.deadline <= at:
                    self._post(peer, Tick())
        return self.lines

    def _next_at(self) -> int:
        deadlines = [harness.node.deadline for harness in self._nodes.values()]
        return min([at for at in deadlines if at is not None] + [entry[0] for entry in self._queue[:1]])

    def _later(self, delay: int, action: Callable[[], None]) -> None:
        self._ordinal += 1
        heappush(self._queue, (self.now + delay, self._ordinal, action))

    # -- a step, and what comes of it ---------------------------------------------------------------------------------

    def _post(self, at: Peer, event: Event) -> None:
        harness = self._nodes[at]
        harness.now = self.now
        effects = harness.post(event)
        self._note(NAMES[at], shown_event(event), [shown_effect(effect) for effect in effects])
        for effect in effects:
            self._perform(at, effect)

    def _note(self, who: str, event: str | None, effects: list[str | None]) -> None:
        asked = [effect for effect in effects if effect is not None]
        if event is None and not asked:
            return
        stamp = f"{self.now // MS / 1000:7.3f} s  {who:<6}"
        self.lines.append(f"{stamp} {event or 'its time has come'}")
        self.lines += [f"{'':17} -> {effect}" for effect in asked]

    def _perform(self, at: Peer, effect: Effect) -> None:
        match effect:
            case Send(peer, batch):
                for frame in self._codec.encode([batch]):
                    said = self._codec.decode(frame)
                    assert isinstance(said, list)
                    self._carry(at, peer, said)
            case Tell(peer, control):
                heard = self._codec.decode((encode_control(control),))
                assert not isinstance(heard, list)
                self._later(MS, lambda: self._post(peer, Heard(at, heard)))
            case Follow(server):
                self._later(MS, lambda: self._list(at, server))
            case Invoke():
                self._later(2 * MS, lambda: self._post(at, run(effect)))
            case Demand() if not self._has_offered:
                self._has_offered = True
                self._later(0, lambda: self._post(CLIENT, Offered(1, list(SOURCE))))
                self._later(0, lambda: self._post(CLIENT, SourceEnded(1)))
            case Deliver(_, sequences, payloads, _):
                size = sum(map(len, payloads))
                self._later(0, lambda: self._post(CLIENT, Taken(1, len(sequences), len(sequences), size)))

    def _list(self, at: Peer, server: str) -> None:
        self._post(at, InstanceUp(INSTANCES[server]))
        self._post(at, Listed(server))

    def _carry(self, src: Peer, dst: Peer, batches: list[Batch]) -> None:
        for batch in batches:
            if batch.header.is_result:
                self._result_frames += 1
                if self._loses(self._result_frames):
                    self._note("wire", f"loses {shown_batch(batch)} from {NAMES[src]} to {NAMES[dst]}", [])
                    continue
            self._later(MS, lambda batch=batch: self._post(dst, Received(src, batch)))  # type: ignore[misc]  # early


def run(invoke: Invoke) -> Finished:
    function = CODE[invoke.batch.header.target.function]
    results: list[Payload] = []
    for payload in invoke.batch.payloads:
        assert isinstance(payload, bytes)
        results.append(function(payload))
    return Finished(invoke.ticket, invoke.batch.sequences, results, None)


# -- as text ----------------------------------------------------------------------------------------------------------


def shown_batch(batch: Batch) -> str:
    header = batch.header
    to = "results" if header.is_result else str(header.target)
    rows = []
    for item in items(batch):
        status = "" if item.status == Status.OK else f" {Status(item.status).name}"
        attempt = "" if item.attempt == 1 else f" attempt {item.attempt}"
        shown = item.payload.decode() if isinstance(item.payload, bytes) else repr(item.payload)
        rows.append(f"#{item.sequence} {shown!r}{status}{attempt}")
    return f"{to} [{', '.join(rows)}], watermark {batch.watermark}"


def shown_control(control: Control) -> str | None:
    if isinstance(control, Ping | Pong):
        return None
    return type(control).__name__ + "(" + ", ".join(str(NAMES.get(each, each)) for each in control) + ")"


def shown_event(event: Event) -> str | None:
    match event:
        case Received(peer, batch):
            return f"received from {NAMES[peer]}: {shown_batch(batch)}"
        case Heard(peer, control):
            said = shown_control(control)
            return None if said is None else f"heard from {NAMES[peer]}: {said}"
        case Tick():
            return None
        case InstanceUp(instance):
            return f"instance up: {instance.server}, with {', '.join(instance.functions)}"
        case Listed(server):
            return f"that is all of {server}"
        case Opened():
            return f"job {event.number} opened: {' -> '.join(map(str, event.route))}, window {event.window}"
        case Offered(_, payloads):
            return f"offered {len(payloads)} payloads"
        case SourceEnded():
            return "the source has no more"
        case Taken(_, outcomes, delivered, size):
            return f"the caller took {outcomes} outcomes, {delivered} of them results, {size} bytes"
        case Finished(ticket, sequences, _, _):
            return f"user code ended: invocation {ticket}, {', '.join(f'#{sequence}' for sequence in sequences)}"
    return type(event).__name__


def shown_effect(effect: Effect) -> str | None:
    match effect:
        case Send(peer, batch):
            return f"send to {NAMES[peer]}: {shown_batch(batch)}"
        case Tell(peer, control):
            said = shown_control(control)
            return None if said is None else f"tell {NAMES[peer]}: {said}"
        case Dial(peer, address):
            return f"dial {NAMES[peer]} at {address}"
        case Follow(server):
            return f"follow {server}"
        case Invoke(ticket, batch, _):
            return f"run {shown_batch(batch)} as invocation {ticket}"
        case Demand(_, count):
            return f"ask the source for {count} more"
        case Ready():
            return "the whole route is there"
        case Abandon():
            return "what is queued for the job need not run"
        case Deliver(_, sequences, payloads, _):
            rows = zip(sequences, payloads, strict=True)
            return "deliver " + ", ".join(f"#{sequence} {payload!r}" for sequence, payload in rows)
        case Ended(_, error):
            return "the job has ended" if error is None else f"the job is refused: {error}"
    return type(effect).__name__
