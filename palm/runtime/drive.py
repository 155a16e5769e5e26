"""The driver: moves events from the host to a node, and performs what the node asks for. Written once, for both worlds.

It is the one place where frames become batches and batches become frames, and where what goes to one peer at one moment
is gathered. It waits for nothing: everything that can happen is posted to it.
"""

from __future__ import annotations

from collections import deque
from typing import Callable, Protocol

from palm.core.effect import Dial, Effect, HangUp, Send, Tell
from palm.core.event import Bounced, Event, Heard, Malformed, Received, Tick
from palm.core.message import Batch, Control, Frame, Header, Peer
from palm.core.node import Node
from palm.errors import BadFrame
from palm.ports.host import Host, Timer
from palm.ports.transport import Arrival, Arrived, Undeliverable
from palm.wire.codec import MAX_ITEMS, Codec
from palm.wire.control import encode_control


class Instrument(Protocol):
    """Sees every step of a node, in both worlds. Must not change what it sees."""

    def step(self, now: int, event: Event, effects: list[Effect]) -> None: ...

    def begins(self, header: Header, sequence: int, attempt: int) -> None:
        """User code is about to run for one message. May be called on the thread that runs it."""
        ...

    def marks(self, name: str, header: Header | None, sequence: int) -> None:
        """User code came to a place that it has a name for, with the message at hand where there is one. May be called
        on the thread that runs it."""
        ...


class Driver:
    """`perform_own` gets the effects that are not about links: the owner of the node knows what they mean."""

    def __init__(
        self,
        host: Host,
        node: Node,
        perform_own: Callable[[Effect], None],
        instrument: Instrument | None = None,
    ) -> None:
        self._host = host
        self._node = node
        self._perform_own = perform_own
        self._instrument = instrument
        self._codec = Codec()
        self._inbox: deque[Event] = deque()
        # What is to go to each peer: batches by header, in order of first use; control words before them.
        self._outbox: dict[Peer, dict[Header, Batch]] = {}
        self._said: tuple[Control | None, Frame] = (None, (b"",))
        self._stepping = False
        self._scheduled = False
        self._timer: Timer | None = None
        self._timer_at = 0
        self._closed = False

    def start(self) -> None:
        self._host.transport.start(self._arrive)

    def close(self) -> None:
        """Nothing that happens from now on reaches the node."""
        self._closed = True
        self._inbox.clear()
        if self._timer is not None:
            self._timer.cancel()

    @property
    def is_open(self) -> bool:
        return not self._closed

    def post(self, event: Event) -> None:
        """Give the node an event, soon. On the host's thread."""
        self._inbox.append(event)
        if not self._stepping and not self._scheduled and not self._closed:
            self._scheduled = True
            self._host.call_soon(self._scheduled_step)

    def post_now(self, event: Event) -> None:
        """Give the node an event before this returns; for those who are called by the host, not by an effect."""
        self._inbox.append(event)
        if not self._stepping:
            self._step()

    # -- in -----------------------------------------------------------------------------------------------------------

    def _arrive(self, arrivals: list[Arrival]) -> None:
        inbox = self._inbox
        for arrival in arrivals:
            peer = arrival.peer
            if isinstance(arrival, Arrived):
                for frame in arrival.frames:
                    self._decode(peer, frame)
                    if len(frame) == 2 and not self._stepping:
                        # Nothing is gathered with a large payload: what comes of it goes while the next is read.
                        self._step()
            else:
                inbox.extend(self._bounced(arrival))
        if not self._stepping:
            self._step()

    def _decode(self, peer: Peer, frame: Frame) -> None:
        try:
            said = self._codec.decode(frame)
        except BadFrame:
            self._inbox.append(Malformed(peer))
            return
        if isinstance(said, list):
            for batch in said:
                self._inbox.append(Received(peer, batch))
        else:
            self._inbox.append(Heard(peer, said))

    def _bounced(self, given_back: Undeliverable) -> list[Event]:
        events: list[Event] = []
        for frame in given_back.frames:
            said = self._codec.decode(frame)
            if isinstance(said, list):
                events += [Bounced(given_back.peer, batch, given_back.reason) for batch in said]
        return events

    # -- a step -------------------------------------------------------------------------------------------------------

    def _scheduled_step(self) -> None:
        self._scheduled = False
        if not self._stepping:
            self._step()

    def _timer_fired(self) -> None:
        self._timer = None
        self._inbox.append(Tick())
        if not self._stepping:
            self._step()

    def _step(self) -> None:
        self._stepping = True
        inbox, node, now = self._inbox, self._node, self._host.now()
        try:
            while inbox and not self._closed:
                event = inbox.popleft()
                effects = node.handle(event, now)
                if self._instrument is not None:
                    self._instrument.step(now, event, effects)
                for effect in effects:
                    self._perform(effect)
            self._flush()
        finally:
            self._stepping = False  # a user's signal handler may raise anywhere, when a caller runs the loop
        self._arm(now)

    def _arm(self, now: int) -> None:
        deadline = self._node.deadline
        if deadline is None or self._closed:
            return
        if self._timer is not None:
            # A timer that comes too early is cheap; moving it with each message is not.
            if self._timer_at <= deadline:
                return
            self._timer.cancel()
        self._timer_at = max(deadline, now)
        self._timer = self._host.call_at(self._timer_at, self._timer_fired)

    # -- out ----------------------------------------------------------------------------------------------------------

    def _perform(self, effect: Effect) -> None:
        if isinstance(effect, Send):
            self._send(effect.peer, effect.batch)
        elif isinstance(effect, Tell):
            self._host.transport.send(effect.peer, self._frame_of(effect.control))
        elif isinstance(effect, Dial):
            self._host.transport.connect(effect.peer, effect.address)
        elif isinstance(effect, HangUp):
            self._outbox.pop(effect.peer, None)
            self._host.transport.disconnect(effect.peer)
        else:
            self._perform_own(effect)

    def _frame_of(self, control: Control) -> Frame:
        """A heartbeat says one word to all links."""
        said, frame = self._said
        if control is not said:
            frame = (encode_control(control),)
            self._said = control, frame
        return frame

    def _send(self, peer: Peer, batch: Batch) -> None:
        waiting = self._outbox.get(peer)
        if waiting is None:
            waiting = self._outbox[peer] = {}
        first = waiting.get(batch.header)
        if first is None:
            waiting[batch.header] = batch
        elif first.remaining != batch.remaining:
            # One run has one deadline: what is before it goes first.
            self._flush_peer(peer)
            self._outbox[peer] = {batch.header: batch}
        else:
            _append(first, batch)
            batch = first
        if len(batch) >= MAX_ITEMS:
            # A frame is full: the far side can work on it while we go on.
            self._flush_peer(peer)

    def _flush(self) -> None:
        while self._outbox:
            self._flush_peer(next(iter(self._outbox)))

    def _flush_peer(self, peer: Peer) -> None:
        batches = self._outbox.pop(peer)
        send = self._host.transport.send
        for frame in self._codec.encode(batches.values()):
            send(peer, frame)


def _append(first: Batch, more: Batch) -> None:
    """Put `more` behind `first`; columns that only one of them has are filled in."""
    if first.attempts is not None or more.attempts is not None:
        first.attempts = (first.attempts or [1] * len(first)) + (more.attempts or [1] * len(more))
    if first.statuses is not None or more.statuses is not None:
        first.statuses = (first.statuses or [0] * len(first)) + (more.statuses or [0] * len(more))
    first.watermark = max(first.watermark, more.watermark)
    first.sequences += more.sequences
    first.payloads += more.payloads
