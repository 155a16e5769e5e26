"""The real network for tests: a `World` of the transport's conformance suite on loopback, and a member under siege."""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from typing import Callable

from palm.net.transport import TransportSettings, ZmqTransport
from palm.ports.transport import Address, Arrival, Arrived, Frame, Peer
from palm.testing.conformance.transport import Inbox, Member


class ZmqWorld:
    """Use as `async with ZmqWorld() as world`; at the end every member is closed and every address let go."""

    connect_timeout_s = 1.0
    hold_frames = 600
    drain = 64
    max_frame_bytes = 3 * 1024 * 1024

    def __init__(self) -> None:
        self._members: list[Member] = []
        self._reserved: list[socket.socket] = []

    async def __aenter__(self) -> ZmqWorld:
        return self

    async def __aexit__(self, *_: object) -> None:
        for member in self._members:
            await member.transport.aclose()
        for reservation in self._reserved:
            reservation.close()

    async def member(self, name: str, at: Address | None = None) -> Member:
        transport = ZmqTransport(
            new_peer(name),
            TransportSettings(
                bind_port=int(at.rpartition(":")[2]) if at else 0,
                connect_timeout_s=self.connect_timeout_s,
                hold_frames=self.hold_frames,
                drain=self.drain,
                max_frame_bytes=self.max_frame_bytes,
            ),
        )
        member = Member(transport, Inbox())
        transport.start(member.inbox)
        self._members.append(member)
        return member

    def reserve(self) -> Address:
        # Bound and not listening: dialers are refused, nobody else is given the port, and a listener may share it.
        reservation = socket.socket()
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reservation.bind(("127.0.0.1", 0))
        self._reserved.append(reservation)
        return f"tcp://127.0.0.1:{reservation.getsockname()[1]}"

    async def crash(self, member: Member) -> None:
        await member.transport.aclose(linger_s=0.0)

    async def run_until(self, reached: Callable[[], bool], timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while not reached():
            if time.monotonic() >= deadline:
                return False
            await asyncio.sleep(0.001)
        return True

    async def sleep(self, duration_s: float) -> None:
        await asyncio.sleep(duration_s)

    def now(self) -> int:
        return time.monotonic_ns()


def new_peer(name: str) -> Peer:
    return Peer(f"{name}-{secrets.token_hex(8)}")


class Siege:
    """A listening member, a good peer that it echoes to, and a loop that runs only when asked: for hostile tests.

    Between two calls of `run` nothing is read, as when user code holds the thread. Use as a context manager.
    """

    def __enter__(self) -> Siege:
        self.runner = asyncio.Runner()
        self.world = ZmqWorld()
        self.server, self.good = self.runner.run(self._open())
        self.port = int(self.server.transport.bind().rpartition(":")[2])
        self._asked = 0
        self.good_is_served()
        return self

    def __exit__(self, *_: object) -> None:
        self.runner.run(self.world.__aexit__())
        self.runner.close()

    async def _open(self) -> tuple[Member, Member]:
        server, good = await self.world.member("server"), await self.world.member("good-peer")
        good.transport.connect(server.peer, server.transport.bind())

        def echo_good(arrival: Arrival) -> None:
            if isinstance(arrival, Arrived) and arrival.peer == good.peer:
                for frame in arrival.frames:
                    server.transport.send(good.peer, frame)

        server.inbox.react = echo_good
        return server, good

    def good_is_served(self) -> None:
        """The good peer asks once more, and gets its own question back, next."""
        self._asked += 1
        question: Frame = (b"question %d" % self._asked, b"with payload")
        self.good.inbox.arrivals.clear()
        self.good.transport.send(self.server.peer, question)
        assert self.run_until(lambda: bool(self.good.inbox.arrivals)), "the good peer got no answer in 10 s"
        assert self.good.inbox.arrivals == [Arrived(self.server.peer, [question])]

    def run_until(self, reached: Callable[[], bool], timeout_s: float = 10.0) -> bool:
        return self.runner.run(self.world.run_until(reached, timeout_s))

    def heard(self) -> list[Arrival]:
        """What came from others than the good peer since the last call, and forget it."""
        arrivals = [a for a in self.server.inbox.arrivals if a.peer != self.good.peer]
        self.server.inbox.arrivals.clear()
        return arrivals

    @property
    def bad_frames(self) -> int:
        return self.server.transport.counters.bad_frames
