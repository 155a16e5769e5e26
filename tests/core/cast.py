"""The cast of the tests of nodes: peers, routes, batches, and nodes under harness with their links up."""

from __future__ import annotations

from typing import Sequence

from palm.core.client import ClientNode
from palm.core.effect import Demand, Invoke
from palm.core.event import Heard, InstanceDown, InstanceUp, Listed, Offered, Opened, Received
from palm.core.message import Batch, Header, Hello, Instance, JobId, Payload, Peer, Pong, Welcome
from palm.core.route import parse_route
from palm.core.server import ServerNode
from palm.observe.ledger import Ledger
from palm.testing.harness import NS, Harness, finished

CLIENT = Peer("client-000000000")
OTHER_CLIENT = Peer("client-111111111")
FIRST = parse_route("one.f")
BOTH = parse_route(["one.f", "two.g"])
JOB = JobId(CLIENT, 7, 1)


def peer_of(server: str, index: int = 0) -> Peer:
    return Peer(f"{server}-{index}-0000000000"[:32])


def instance_of(
    server: str,
    index: int = 0,
    *,
    functions: tuple[str, ...] = ("f", "g"),
    draining: bool = False,
    once: tuple[str, ...] = (),
) -> Instance:
    peer = peer_of(server, index)
    address = f"sim://{peer}:1"
    return Instance(server=server, peer=peer, address=address, functions=functions, draining=draining, once=once)


def batch_of(
    *sequences: int,
    header: Header = Header(JOB, FIRST, 0),
    watermark: int = 0,
    remaining: int | None = None,
    payloads: Sequence[Payload] | None = None,
    statuses: list[int] | None = None,
    attempts: list[int] | None = None,
) -> Batch:
    filled: list[Payload] = []
    filled.extend([b"%d" % sequence for sequence in sequences] if payloads is None else payloads)
    return Batch(header, watermark, list(sequences), filled, remaining, attempts, statuses)


def upper(payload: bytes) -> bytes:
    return b"<" + payload + b">"


class Server(Harness):
    """A ServerNode of server `one` that the client, and nobody else, is linked to."""

    node: ServerNode

    def __init__(self, *, server: str = "one", max_in_flight: int = 1000, linked: bool = True) -> None:
        self.peer = peer_of(server)
        super().__init__(ServerNode(peer=self.peer, server=server, functions=("f", "g"), max_in_flight=max_in_flight))
        if linked:
            self.greet(CLIENT)

    def greet(self, peer: Peer) -> None:
        self.post(Heard(peer, Hello(1, self.peer, "palm", "x")))

    def receive(self, *sequences: int, peer: Peer = CLIENT, **more: object) -> None:
        self.post(Received(peer, batch_of(*sequences, **more)))  # type: ignore[arg-type]

    def finish(self, *only: int) -> None:
        """User code ends for these sequences, of all that was ever invoked; for all of them, where none is named."""
        for step in list(self.steps):
            for effect in step.effects:
                if isinstance(effect, Invoke) and (not only or set(only) & set(effect.batch.sequences)):
                    event = finished(effect, upper, only or None)
                    self.post(event)

    def up(self, server: str, index: int = 0, **more: object) -> Peer:
        self.post(InstanceUp(instance_of(server, index, **more)))  # type: ignore[arg-type]
        return peer_of(server, index)

    def alive_at(self, seconds: int, *peers: Peer) -> None:
        """Let time pass, with a Pong of each of the peers in every second."""
        for _ in range(seconds):
            self.advance(1)
            self.post(*(Heard(peer, Pong(1)) for peer in peers))


class Client(Harness):
    """A ClientNode; `up` brings instances, `open` a job."""

    node: ClientNode

    def __init__(self) -> None:
        super().__init__(ClientNode(peer=CLIENT, incarnation=7))

    def up(self, server: str = "one", index: int = 0, **more: object) -> Peer:
        self.post(InstanceUp(instance_of(server, index, **more)))  # type: ignore[arg-type]
        peer = peer_of(server, index)
        self.post(Heard(peer, Welcome(1)), Listed(server))
        return peer

    def down(self, server: str = "one", index: int = 0, *, silent: bool = True) -> None:
        """Its record is gone; who died has gone silent long before."""
        for link in self.node.instances():
            if link.instance.peer == peer_of(server, index):
                link.suspected = silent
        self.post(InstanceDown(server, peer_of(server, index)))

    def open(
        self,
        route: str | list[str] = "one.f",
        *,
        number: int = 1,
        window: int = 64,
        window_bytes: int = 1 << 20,
        deadline_s: float | None = None,
        at_most_once: bool = False,
    ) -> None:
        self.post(
            Opened(
                number=number,
                route=parse_route(route),
                window=window,
                window_bytes=window_bytes,
                deadline=None if deadline_s is None else round(deadline_s * NS),
                at_most_once=at_most_once,
            )
        )

    def offer(self, *payloads: bytes, number: int = 1) -> None:
        self.post(Offered(number, list(payloads)))

    def answer(
        self,
        *sequences: int,
        peer: Peer = peer_of("one"),
        number: int = 1,
        statuses: list[int] | None = None,
        payloads: Sequence[Payload] | None = None,
    ) -> None:
        job = self.node.jobs[number]
        header = job.header.at(len(job.route))
        filled = [b"r%d" % sequence for sequence in sequences] if payloads is None else payloads
        self.post(Received(peer, batch_of(*sequences, header=header, payloads=filled, statuses=statuses)))

    def alive(self, seconds: float, *peers: Peer, in_flight: int = 0) -> None:
        """Let time pass in half seconds, with a Pong of each of the peers in every one."""
        for _ in range(round(seconds * 2)):
            self.advance(0.5)
            self.post(*(Heard(peer, Pong(1, in_flight=in_flight)) for peer in peers))

    def demanded(self, number: int = 1) -> int:
        return sum(effect.count for effect in self.of(Demand) if effect.number == number)

    def ledger(self, number: int = 1) -> Ledger:
        job = self.node.jobs[number]
        ends = job.ends
        return Ledger(job.sent, ends.delivered, ends.failed, ends.expired, ends.dead_lettered, job.in_flight)
