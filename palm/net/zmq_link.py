"""One dialed peer: a DEALER socket that reconnects by itself, and the frames that wait until it is up.

A link holds frames in order while ZeroMQ takes none, each for at most the connect timeout; the socket's monitor tells
whether nobody is there or the peer does not read. It never loses what it holds: the owner gets it back.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Callable, Final, Literal

import zmq
from zmq.utils.monitor import parse_monitor_message

from palm.net.zmq_channel import Channel
from palm.net.zmq_options import Context, TransportSettings, set_common, set_dialing
from palm.net.zmq_reader import FrameReader
from palm.ports.transport import Address, Frame, Peer, Sink, TransportCounters

GIVE_BACK_TOGETHER_S: Final = 0.02
"""Frames that fall due within it are given back in one piece; a deadline is late by as much, never early."""

GiveBack = Callable[[Peer, list[Frame], Literal["unreachable", "full"]], None]


class Link:
    """Dials `address` at once. `give_back` gets what could not be sent; `on_empty` hears when nothing is held now."""

    def __init__(
        self,
        *,
        context: Context,
        me: Peer,
        peer: Peer,
        address: Address,
        settings: TransportSettings,
        counters: TransportCounters,
        sink: Sink,
        give_back: GiveBack,
        on_empty: Callable[[], None],
    ) -> None:
        self.peer = peer
        self.address = address
        self.held: deque[tuple[float, Frame]] = deque()
        """When each gives up waiting (loop time), and the frame; oldest first."""
        self._settings = settings
        self._counters = counters
        self._give_back = give_back
        self._on_empty = on_empty
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._up = False
        socket = context.socket(zmq.DEALER)
        set_common(socket, settings)
        set_dialing(socket, me)
        self._monitor = socket.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED, f"inproc://monitor-of-{id(self)}"
        )
        self._monitor_fd = self._monitor.fileno()
        self._loop.add_reader(self._monitor_fd, self._hear)
        self._channel = Channel(socket, FrameReader(socket, counters, dialed=peer), settings.drain, sink)
        if address.startswith("tcp://"):
            try:
                socket.connect(address)
            except zmq.ZMQError:  # no address at all: nobody is there, and frames learn that in their time
                pass
        self._hear()

    @property
    def is_up(self) -> bool:
        """The handshake was made, and the connection has not been lost since."""
        return self._up

    def send(self, frame: Frame, frame_bytes: int) -> None:
        """Send now, else hold, else give back."""
        if not self.held and self._channel.try_send(frame):
            self._counters.frames_sent += 1
            self._counters.bytes_sent += frame_bytes
        elif len(self.held) < self._settings.hold_frames:
            self.hold(deque([(self._loop.time() + self._settings.connect_timeout_s, frame)]))
        else:
            self._give_back(self.peer, [frame], "full")

    def hold(self, frames: deque[tuple[float, Frame]]) -> None:
        """Wait with `frames`, after those already held, each until its own time. Also takes over from another link."""
        self.held.extend(frames)
        if self.held and self._timer is None:
            self._arm()
            self._channel.on_writable = self._flush
            self._channel.look_later()

    def close(self, linger_ms: int = 0) -> deque[tuple[float, Frame]]:
        """End the link; what it still held. `linger_ms` is for what ZeroMQ has taken and not yet written."""
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._monitor_fd)
        if not self._channel.closed:
            self._channel.socket.disable_monitor()
            self._monitor.close(0)
        self._channel.close(linger_ms)
        held, self.held = self.held, deque()
        return held

    def _flush(self) -> None:
        while self.held:
            frame = self.held[0][1]
            if not self._channel.try_send(frame):
                return
            self.held.popleft()
            self._counters.frames_sent += 1
            self._counters.bytes_sent += sum(map(len, frame))
        self._idle()

    def _idle(self) -> None:
        self._channel.on_writable = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._on_empty()

    def _arm(self) -> None:
        self._timer = self._loop.call_at(self.held[0][0] + GIVE_BACK_TOGETHER_S, self._expire)

    def _expire(self) -> None:
        now = self._loop.time()
        late: list[Frame] = []
        while self.held and self.held[0][0] <= now:
            late.append(self.held.popleft()[1])
        if late:
            self._give_back(self.peer, late, "full" if self._up else "unreachable")
        self._timer = None
        if self.held:
            self._arm()
        else:
            self._idle()

    def _hear(self) -> None:
        """Keep up with the monitor. Read to the end each time: its descriptor is edge-triggered, too."""
        while int(self._monitor.get(zmq.EVENTS)) & zmq.POLLIN:
            event = parse_monitor_message(self._monitor.recv_multipart(zmq.NOBLOCK))["event"]
            self._up = event == zmq.EVENT_HANDSHAKE_SUCCEEDED
