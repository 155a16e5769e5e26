"""The transport port on ZeroMQ: one ROUTER that listens, one DEALER for each peer that was dialed.

Runs inside an asyncio loop, but moves no frame through a task, a future or a queue: a readable socket calls the sink,
and `send` hands to the socket. What ZeroMQ would drop in silence is noticed (ROUTER_MANDATORY, IMMEDIATE, non-blocking
sends) and given back as `Undeliverable`. Options and their reasons are in `zmq_options`, waiting frames in `zmq_link`.
"""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Final, Literal, Sequence

import zmq

from palm.errors import PayloadTooLarge
from palm.net.zmq_channel import Channel
from palm.net.zmq_link import Link
from palm.net.zmq_options import Context, TransportSettings, new_context, set_common, set_listening
from palm.net.zmq_reader import FrameReader
from palm.ports.transport import Address, Frame, LinkState, Peer, Sink, TransportCounters, Undeliverable

__all__ = ["TransportSettings", "ZmqTransport"]

_ID_PART: Final = int(zmq.NOBLOCK | zmq.SNDMORE)
_Reason = Literal["unknown", "unreachable", "full", "closed"]


class ZmqTransport:
    """`palm.ports.transport.Transport` for the peer id `peer`, which no other life may have had.

    Nothing is opened before `start`. `bind` and `connect` raise OSError when the process is out of descriptors.
    """

    def __init__(self, peer: Peer, settings: TransportSettings | None = None) -> None:
        self.peer = peer
        self.counters = TransportCounters()
        self._settings = settings or TransportSettings()
        self._context: Context | None = None
        self._links: dict[Peer, Link] = {}
        self._router: Channel | None = None
        self._address: Address = ""
        self._refused: dict[tuple[Peer, _Reason], list[Frame]] = {}
        self._ended: asyncio.Future[None] | None = None
        self._flushed = asyncio.Event()

    def start(self, sink: Sink) -> None:
        assert self._context is None and self._ended is None, "a transport starts once"
        self._loop = asyncio.get_running_loop()
        self._sink = sink
        self._pid = os.getpid()
        self._context = new_context()

    def bind(self) -> Address:
        if self._router is None:
            self._router, self._address = self._listen()
        return self._address

    def connect(self, peer: Peer, address: Address) -> None:
        if self._ended is not None:
            return
        replaced = self._links.get(peer)
        if replaced is not None and replaced.address == address:
            return
        link = self._dial(peer, address)
        if replaced is not None:
            link.hold(replaced.close())
        self._links[peer] = link

    def disconnect(self, peer: Peer) -> None:
        link = self._links.pop(peer, None)
        if link is not None:
            link.close()
            self._refused = {key: frames for key, frames in self._refused.items() if key[0] != peer}

    def send(self, peer: Peer, frame: Frame) -> None:
        frame_bytes = len(frame[0]) if len(frame) == 1 else len(frame[0]) + len(frame[1])
        if frame_bytes > self._settings.max_frame_bytes:
            limit = self._settings.max_frame_bytes
            raise PayloadTooLarge(f"frame of {frame_bytes} bytes for {peer} exceeds {limit} (raise max_frame_bytes)")
        assert os.getpid() == self._pid, "ZeroMQ sockets do not survive a fork: spawn"
        if self._ended is not None:
            self._refuse(peer, [frame], "closed")
        elif (link := self._links.get(peer)) is not None:
            link.send(frame, frame_bytes)
        elif self._router is not None:
            self._route(self._router, peer, frame, frame_bytes)
        else:
            self._refuse(peer, [frame], "unknown")

    def link_state(self, peer: Peer) -> LinkState:
        link = self._links.get(peer)
        return "none" if link is None else "up" if link.is_up else "down"

    async def aclose(self, linger_s: float = 0.0) -> None:
        if self._ended is not None:
            await asyncio.shield(self._ended)
            return
        loop = asyncio.get_running_loop()
        self._ended = loop.create_future()
        deadline = loop.time() + linger_s
        try:
            await self._flush_held(deadline)
        finally:
            linger_ms = max(0, round(1000 * (deadline - loop.time()))) if linger_s else 0
            await self._let_go(linger_ms)
            self._ended.set_result(None)

    # -- sending ------------------------------------------------------------------------------------------------------

    def _route(self, router: Channel, peer: Peer, frame: Frame, frame_bytes: int) -> None:
        """Send over the link by which `peer` dialed us."""
        try:
            router.socket.send(peer.encode("ascii"), _ID_PART)
        except zmq.ZMQError as refusal:
            if refusal.errno not in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                raise
            router.look_later()
            self._refuse(peer, [frame], "full" if refusal.errno == zmq.EAGAIN else "unknown")
            return
        # Once the id was taken so are the parts; should the pipe end in between, the frame is lost with the link.
        taken = router.try_send(frame)
        assert taken, "a ROUTER that took the routing id refused the message"
        self.counters.frames_sent += 1
        self.counters.bytes_sent += frame_bytes

    def _refuse(self, peer: Peer, frames: Sequence[Frame], reason: _Reason) -> None:
        """Give back through the sink, soon: never from inside `send`."""
        if not self._refused:
            self._loop.call_soon(self._give_back)
        self._refused.setdefault((peer, reason), []).extend(frames)
        self.counters.undeliverable += len(frames)

    def _give_back(self) -> None:
        refused, self._refused = self._refused, {}
        if refused:
            self._sink([Undeliverable(peer, frames, reason) for (peer, reason), frames in refused.items()])

    # -- opening and closing ------------------------------------------------------------------------------------------

    def _listen(self) -> tuple[Channel, Address]:
        assert self._context is not None and self._ended is None, "bind after start and before aclose"
        settings = self._settings
        socket = self._context.socket(zmq.ROUTER)
        set_common(socket, settings)
        set_listening(socket)
        endpoint = f"tcp://{settings.bind_host}:{settings.bind_port or '*'}"
        try:
            socket.bind(endpoint)
        except zmq.ZMQError as refusal:
            socket.close(0)
            raise OSError(refusal.errno, f"cannot listen on {endpoint}: {refusal.strerror}") from refusal
        port = socket.get_string(zmq.LAST_ENDPOINT).rpartition(":")[2]
        channel = Channel(socket, FrameReader(socket, self.counters), settings.drain, self._sink)
        return channel, f"tcp://{settings.advertise_host or settings.bind_host}:{port}"

    def _dial(self, peer: Peer, address: Address) -> Link:
        assert self._context is not None, "connect after start"
        try:
            return Link(
                context=self._context,
                me=self.peer,
                peer=peer,
                address=address,
                settings=self._settings,
                counters=self.counters,
                sink=self._sink,
                give_back=self._refuse,
                on_empty=self._flushed.set,
            )
        except zmq.ZMQError as refusal:
            raise OSError(refusal.errno, f"cannot open a link to {peer}: {refusal.strerror}") from refusal

    async def _flush_held(self, deadline: float) -> None:
        while any(link.held for link in self._links.values()):
            left_s = deadline - asyncio.get_running_loop().time()
            if left_s <= 0:
                return
            self._flushed.clear()
            try:
                await asyncio.wait_for(self._flushed.wait(), left_s)
            except TimeoutError:
                return

    async def _let_go(self, linger_ms: int) -> None:
        for peer, link in self._links.items():
            held = [frame for _, frame in link.close(linger_ms)]
            if held:
                self._refuse(peer, held, "closed")
        self._links.clear()
        if self._router is not None:
            self._router.close(linger_ms)
        if self._context is not None:
            await _terminated(self._context)


async def _terminated(context: Context) -> None:
    """End the context; it waits for lingering sockets, on a thread of its own, so that the loop does not."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def terminate() -> None:
        context.term()
        loop.call_soon_threadsafe(done.set_result, None)

    thread = threading.Thread(target=terminate, name="zmq-term", daemon=True)
    thread.start()
    try:
        await asyncio.shield(done)
    finally:
        thread.join()  # when cancelled, too: at most the linger time
