"""The transport port: whole frames between peers, with ZeroMQ's observable rules and no memory.

Two adapters implement it, `palm.net.transport` (ROUTER and DEALER sockets) and `palm.sim.transport` (a simulated
network that carries the same bytes); `palm.testing.conformance.transport` is the executable half of this text.

A *peer* is one life of one process: a random id, new at each start. A node that serves binds; a node that wants to talk
to it dials with `connect(peer, address)`. A link works in both directions: whoever was dialed may `send` to the dialer
by the dialer's id once a frame from it has arrived. Nothing is promised about delivery: a frame that was taken by
`send` may still be lost when a link breaks; within one link's life, frames arrive once and in order. Acknowledgement is
the business of the layers above.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Literal, Protocol, Sequence

from palm.core.message import Address, Frame, Peer

__all__ = [
    "Address",
    "Arrival",
    "Arrived",
    "Frame",
    "Peer",
    "Sink",
    "Transport",
    "TransportCounters",
    "Undeliverable",
]

@dataclass(frozen=True, slots=True)
class Arrived:
    """Frames from one peer, in the order it sent them."""

    peer: Peer
    frames: Sequence[Frame]


@dataclass(frozen=True, slots=True)
class Undeliverable:
    """`frames` sent to `peer` were given back, unsent, oldest first: they certainly did not arrive.

    `reason`: "unknown" (never dialed, and never heard of), "unreachable" (dialed, but no connection within the connect
    timeout, or it was lost with frames still held), "full" (the high-water mark: the peer does not read), "closed".
    """

    peer: Peer
    frames: Sequence[Frame]
    reason: Literal["unknown", "unreachable", "full", "closed"]


Arrival = Arrived | Undeliverable

LinkState = Literal["none", "down", "up"]
"""Of a link that was dialed: "none" where there is none, "up" from the handshake until its loss is noticed."""

Sink = Callable[[list[Arrival]], None]


@dataclass(slots=True)
class TransportCounters:
    """Running totals since `start`; read them at any time."""

    frames_sent: int = 0
    frames_received: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    bad_frames: int = 0
    """Messages with another number of parts than one or two, or from a routing id that is not a Peer: dropped
    unread."""
    undeliverable: int = 0


class Transport(Protocol):
    """Belongs to one thread (the host's); no method may be called from another. None of them blocks."""

    peer: Peer
    """This node's own id, sent as the routing id of every link it dials."""
    counters: TransportCounters

    def start(self, sink: Sink) -> None:
        """Begin. `sink` is called on the host's thread with all that was ready at one moment (at most `drain` frames,
        so that timers get their turn); never from inside `send`: what `send` cannot do comes through `sink` later."""
        ...

    def bind(self) -> Address:
        """Accept links; the address for others to dial. Raises OSError when the address is taken or not ours."""
        ...

    def connect(self, peer: Peer, address: Address) -> None:
        """Dial. Returns at once; whether anybody is there is not known yet. Reconnects by itself until `disconnect`.
        Dialing a peer twice with one address does nothing; with another address replaces the link."""
        ...

    def disconnect(self, peer: Peer) -> None:
        """Drop the link dialed to `peer`, with what it still holds (no `Undeliverable`: the caller knows)."""
        ...

    def send(self, peer: Peer, frame: Frame) -> None:
        """Hand over one frame, or learn through `sink` that it was not taken. Uses the dialed link where there is one,
        else the link by which the peer dialed us. While a dialed link is not yet up, up to `hold_frames` frames wait
        (in order) for at most the connect timeout. Raises `PayloadTooLarge` over `max_frame_bytes`."""
        ...

    def link_state(self, peer: Peer) -> LinkState:
        """How the link dialed to `peer` is. Heartbeats below the frames keep it true within 2 s or so, whatever code
        either side is busy with: so a peer whose link is up and who says nothing is there, and stuck."""
        ...

    async def aclose(self, linger_s: float = 0.0) -> None:
        """Flush what the links hold for at most `linger_s`, then let go of everything. Idempotent."""
        ...
