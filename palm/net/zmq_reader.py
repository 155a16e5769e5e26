"""Whole frames off one socket, whatever a peer puts into a message: the receiving half of the real transport.

ZeroMQ hands over parts one by one, and a message may have any number of them. The reader always knows whether the next
part begins a message, so no peer can make it take another's routing id for an envelope. Knows no loops and no links.
"""

from __future__ import annotations

import re
from typing import Callable, Final

import zmq

from palm.ports.transport import Arrival, Arrived, Frame, Peer, TransportCounters

SKIP_AT_ONCE: Final = 2048
"""Parts of overlong messages dropped by one `read`: about 2 ms, so that the next timer is not late."""
KNOWN_IDS: Final = 4096
"""Routing ids remembered as valid. Forgotten all at once when full: strangers may try millions."""
_PEER: Final = re.compile(rb"[A-Za-z0-9_-]{16,64}")
_NOBLOCK: Final = int(zmq.NOBLOCK)
_RCVMORE: Final = int(zmq.RCVMORE)
_EVENTS: Final = int(zmq.EVENTS)
_POLLIN: Final = int(zmq.POLLIN)


class FrameReader:
    """Takes frames off `socket`: a DEALER whose far end is `dialed`, or (None) a ROUTER, which names each sender."""

    __slots__ = ("_counters", "_dialed", "_get", "_known", "_recv", "_skip_left", "_skipping", "was_dry")

    def __init__(self, socket: zmq.Socket[bytes], counters: TransportCounters, dialed: Peer | None = None) -> None:
        self._recv: Callable[..., bytes] = socket.recv
        self._get: Callable[[int], int] = socket.get  # type: ignore[assignment]  # only asked for options that are int
        self._counters = counters
        self._dialed = dialed
        self._known: dict[bytes, Peer] = {}
        self._skipping = False
        self._skip_left = 0
        self.was_dry = False
        """Whether the last `read` saw that nothing was left: then the descriptor tells of what comes next."""

    def read(self, limit: int) -> list[Arrival]:
        """Up to `limit` messages that are there, grouped by peer, each peer's in order. Bad ones are dropped, counted.

        How many come back says nothing about what is left: where it was not `was_dry`, ask the socket's EVENTS.
        """
        frames_of: dict[Peer, list[Frame]] = {}
        self._skip_left = SKIP_AT_ONCE
        self.was_dry = False
        try:
            while limit and (not self._skipping or self._skip()):
                limit -= 1
                peer = self._dialed or self._sender(self._recv(_NOBLOCK))
                if peer is None:
                    self._drop()
                    continue
                frame = self._frame()
                if frame is None:
                    self._drop()
                elif (frames := frames_of.get(peer)) is not None:
                    frames.append(frame)
                else:
                    first = not frames_of
                    frames_of[peer] = [frame]
                    if first and not self._get(_EVENTS) & _POLLIN:  # a lone message: to ask is cheaper than zmq.Again
                        self.was_dry = True
                        break
        except zmq.Again:  # nothing left; never in the middle of a message, which ZeroMQ hands over whole
            self.was_dry = True
        return [Arrived(peer, frames) for peer, frames in frames_of.items()]

    def _sender(self, routing_id: bytes) -> Peer | None:
        known = self._known.get(routing_id)
        if known is None and _PEER.fullmatch(routing_id):
            if len(self._known) >= KNOWN_IDS:
                self._known.clear()
            known = self._known[routing_id] = Peer(routing_id.decode("ascii"))
        return known

    def _frame(self) -> Frame | None:
        """The parts of the message at hand; None when there are more than two."""
        envelope = self._recv(_NOBLOCK)
        counters = self._counters
        if not self._get(_RCVMORE):
            counters.bytes_received += len(envelope)
            counters.frames_received += 1
            return (envelope,)
        payload = self._recv(_NOBLOCK)
        if self._get(_RCVMORE):
            return None
        counters.bytes_received += len(envelope) + len(payload)
        counters.frames_received += 1
        return (envelope, payload)

    def _drop(self) -> None:
        self._counters.bad_frames += 1
        self._skipping = True

    def _skip(self) -> bool:
        """Drop parts up to the message's end; False when this `read` has dropped enough."""
        while self._get(_RCVMORE):
            if not self._skip_left:
                return False
            self._skip_left -= 1
            self._recv(_NOBLOCK, copy=False)
        self._skipping = False
        return True
