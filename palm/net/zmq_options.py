"""The socket options of the real transport, each with the observation that asks for it, and the settings behind them.

Knows ZeroMQ's option names and nothing of frames or links.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Final

import zmq

from palm.errors import BadRequest
from palm.ports.transport import Peer

WILDCARDS: Final = ("*", "0.0.0.0", "::")


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportSettings:
    """How a `ZmqTransport` listens, and where its bounds are. The defaults are for a cluster on a local network."""

    bind_host: str = "127.0.0.1"
    """An address of this machine (of one interface, or 0.0.0.0 for all). Loopback unless chosen: nothing is let in by
    accident."""
    bind_port: int = 0
    """0: the system chooses, which is the rule: nobody configures a port."""
    advertise_host: str | None = None
    """What others dial; None: `bind_host`. An IP address rather than a name: ZeroMQ resolves names on the thread that
    also answers all heartbeats."""
    connect_timeout_s: float = 2.0
    """How long a frame waits for its link. Longer than the heartbeat needs to find a frozen peer (1.5 s)."""
    hold_frames: int = 1024
    """Frames that wait on one link. More than a client's window makes while its first link comes up."""
    drain: int = 64
    """Frames handed up at once: 64 of 128 messages each keep the loop for some milliseconds, then timers get a turn."""
    max_frame_bytes: int = 64 * 1024 * 1024
    """Both parts together. ZeroMQ allocates what a stranger announces, so this is also what one stranger can cost."""
    high_water_frames: int = 4096
    """Frames in each direction of each link inside ZeroMQ. A backstop: windows end earlier, memory would end later."""

    def __post_init__(self) -> None:
        if self.bind_host in WILDCARDS and self.advertise_host is None:
            raise BadRequest(f"bind_host {self.bind_host!r} cannot be dialed (set advertise_host, too)")


class Context(zmq.Context[zmq.Socket[bytes]]):
    """A context that is ended by `term` only."""

    def __del__(self) -> None:
        # pyzmq would end a forgotten context here, when its sockets have left its books already: term() then waits for
        # ever, inside whatever made the garbage collector run. A leaked I/O thread is the smaller harm.
        if not self.closed:
            warnings.warn(f"{self!r} was dropped without aclose of its transport", ResourceWarning, stacklevel=1)


def new_context() -> Context:
    """One context, and with it one I/O thread, for each transport: it ends with the transport, whatever others do."""
    context = Context(io_threads=1)
    # The default of 1,023 is used up by 341 links: a DEALER and the two ends of its monitor each.
    context.set(zmq.MAX_SOCKETS, 8192)
    return context


def set_common(socket: zmq.Socket[bytes], settings: TransportSettings) -> None:
    """What every socket needs before it is bound or connected."""
    socket.set(zmq.LINGER, 0)  # else the context's end waits for ever for a peer that is gone
    socket.set(zmq.HANDSHAKE_IVL, 2000)  # a silent TCP connection would be kept for 30 s
    # A frozen or cut-off peer is never noticed without ZMTP's heartbeats; with these it takes 2 s.
    socket.set(zmq.HEARTBEAT_IVL, 500)
    socket.set(zmq.HEARTBEAT_TIMEOUT, 1500)
    socket.set(zmq.HEARTBEAT_TTL, 2000)
    socket.set(zmq.TCP_KEEPALIVE, 1)  # backstop behind the heartbeats; the system's own times (2 h) are as good as any
    socket.set(zmq.MAXMSGSIZE, settings.max_frame_bytes)  # unlimited by default; counts each part by itself
    # 1,000 by default, which a window of 1,000 messages sent one by one would touch.
    socket.set(zmq.SNDHWM, settings.high_water_frames)
    socket.set(zmq.RCVHWM, settings.high_water_frames)


def set_listening(router: zmq.Socket[bytes]) -> None:
    router.set(zmq.ROUTER_MANDATORY, 1)  # else frames for a peer that is not there vanish without a word
    # A frozen listener that goes on meets its dialers' new connections before the end of their old ones. Without this
    # it swallows all that comes over the new ones, for good, while they look up: 8 of 15 freezes, with it none.
    # The price: who knows a living peer's id can take its answers, so CURVE must bind ids to keys.
    router.set(zmq.ROUTER_HANDOVER, 1)
    router.set(zmq.BACKLOG, 1024)  # 100 by default; two hundred servers return at once after an outage


def set_dialing(dealer: zmq.Socket[bytes], peer: Peer) -> None:
    dealer.set(zmq.ROUTING_ID, peer.encode("ascii"))
    dealer.set(zmq.IMMEDIATE, 1)  # else frames queue for an address where nobody is, and nobody ever learns of it
    dealer.set(zmq.RECONNECT_IVL, 100)
    dealer.set(zmq.RECONNECT_IVL_MAX, 5000)  # doubling: hundreds of dialers of one dead address stay quiet
    dealer.set(zmq.CONNECT_TIMEOUT, 2000)  # a SYN lost in a partition would keep the kernel busy for two minutes
