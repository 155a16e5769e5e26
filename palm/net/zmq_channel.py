"""One ZeroMQ socket on an asyncio loop: arrivals straight to the sink, frames straight to the socket.

The file descriptor of a ZeroMQ socket is edge-triggered: it tells once that something has changed, and any call on the
socket, a send too, may take that signal away. So after each read and after each send EVENTS is looked at again, at the
latest when the loop turns. Knows nothing of peers that are not there: what cannot be sent now is the caller's.
"""

from __future__ import annotations

import asyncio
from typing import Callable, Final

import zmq

from palm.net.zmq_reader import FrameReader
from palm.ports.transport import Frame, Sink

COPY_UP_TO: Final = 64 * 1024
"""Below it, sharing a part with the I/O thread costs more than copying it (40 % at 100 B; it wins 55 % at 1 MB)."""
_NOBLOCK: Final = int(zmq.NOBLOCK)
_MORE: Final = int(zmq.NOBLOCK | zmq.SNDMORE)
_EVENTS: Final = int(zmq.EVENTS)
_POLLIN: Final = int(zmq.POLLIN)
_POLLOUT: Final = int(zmq.POLLOUT)


class Channel:
    """Owns `socket`, which its maker binds or connects. `on_writable`, when set, is called once it may take frames."""

    __slots__ = (
        "_drain",
        "_fd",
        "_get",
        "_look_soon",
        "_loop",
        "_read_soon",
        "_reader",
        "_sent",
        "_sink",
        "closed",
        "on_writable",
        "socket",
    )

    def __init__(self, socket: zmq.Socket[bytes], reader: FrameReader, drain: int, sink: Sink) -> None:
        self.socket = socket
        self.closed = False
        self.on_writable: Callable[[], None] | None = None
        self._reader = reader
        self._drain = drain
        self._sink = sink
        self._loop = asyncio.get_running_loop()
        self._look_soon = False
        self._read_soon = False
        self._sent = False
        self._get: Callable[[int], int] = socket.get  # type: ignore[assignment]  # EVENTS is an int
        self._fd = socket.fileno()
        self._loop.add_reader(self._fd, self._signalled)
        self.look_later()

    def try_send(self, frame: Frame) -> bool:
        """Hand `frame` over; False when the socket takes none now, and then no part of it has gone."""
        send = self.socket.send
        try:
            if len(frame) == 1:
                send(frame[0], _NOBLOCK, len(frame[0]) <= COPY_UP_TO)
            else:
                send(frame[0], _MORE, len(frame[0]) <= COPY_UP_TO)
                # Again here: the link broke between the parts, and ZeroMQ has taken the first one back.
                send(frame[1], _NOBLOCK, len(frame[1]) <= COPY_UP_TO)
        except zmq.Again:
            self.look_later()
            return False
        self._sent = True
        if not self._look_soon:
            # At once: a turn of the loop for it would cost a lone message more than its sending.
            if self.on_writable is not None:
                self.look_later()
            elif self._get(_EVENTS) & _POLLIN and not self._read_soon:
                self._read_soon = True
                self._loop.call_soon(self._read)
        return True

    def look_later(self) -> None:
        """See to what a call on the socket may have left unsignalled, once the present callback is over."""
        if not self._look_soon:
            self._look_soon = True
            self._loop.call_soon(self._look)

    def close(self, linger_ms: int = 0) -> None:
        if self.closed:
            return
        self.closed = True
        self._loop.remove_reader(self._fd)
        self.socket.close(linger_ms)

    def _signalled(self) -> None:
        if not self._read_soon:  # else each signal would start one more chain of reads, and timers would starve
            self._read()

    def _read(self) -> None:
        self._read_soon = False
        if self.closed:
            return
        self._look_soon = True  # sends from inside the sink are looked after below
        self._sent = False
        try:
            arrivals = self._reader.read(self._drain)
            if arrivals:
                self._sink(arrivals)
        finally:
            if self._sent or not self._reader.was_dry or self.on_writable is not None:
                self._look()
            else:
                self._look_soon = False

    def _look(self) -> None:
        if self.closed:
            return
        self._look_soon = True  # sends from here on are looked after by the loop below
        events = self._get(_EVENTS)
        while self.on_writable is not None and events & _POLLOUT:
            self.on_writable()
            events = self._get(_EVENTS)
        self._look_soon = False
        if events & _POLLIN and not self._read_soon:
            self._read_soon = True
            self._loop.call_soon(self._read)
