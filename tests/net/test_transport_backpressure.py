"""Peers that do not read, or are frozen: what the real transport cannot hand over comes back, and others are served."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from typing import Awaitable, Callable

import zmq

from palm.net.transport import TransportSettings, ZmqTransport
from palm.ports.transport import Peer
from palm.testing.conformance.transport import Inbox, echo_with, linked
from tests.support.zmq_world import ZmqWorld, new_peer

KILOBYTE = bytes(1024)


def in_a_world(test: Callable[[ZmqWorld], Awaitable[None]]) -> None:
    async def run() -> None:
        async with ZmqWorld() as world:
            await test(world)

    asyncio.run(run())


def test_a_dialed_peer_that_does_not_read_gives_full() -> None:
    """The link is up and ZeroMQ's marks are reached: what it takes no more is held, then comes back as "full"."""

    async def test(world: ZmqWorld) -> None:
        with zmq.Context() as context, context.socket(zmq.ROUTER) as deaf:
            deaf.linger, deaf.rcvhwm = 0, 1
            port = deaf.bind_to_random_port("tcp://127.0.0.1")
            transport, inbox = short_of_room()
            peer = new_peer("deaf-server")
            transport.connect(peer, f"tcp://127.0.0.1:{port}")
            frames = [(b"%d" % number, bytes(65536)) for number in range(400)]
            for frame in frames:
                transport.send(peer, frame)
                await asyncio.sleep(0)
            assert await world.run_until(lambda: transport.counters.frames_sent + len(inbox.returned()) == 400, 5)
            sent = transport.counters.frames_sent
            assert len(inbox.returned(peer, "full")) == 400 - sent > 0
            waited = [int(frame[0]) for frame in inbox.arrivals[-1].frames]
            assert 0 < len(waited) <= 10 and waited == sorted(waited), "what was held came back out of order"
            await transport.aclose()

    in_a_world(test)


def short_of_room() -> tuple[ZmqTransport, Inbox]:
    inbox = Inbox()
    settings = TransportSettings(connect_timeout_s=0.3, hold_frames=10, high_water_frames=5)
    transport = ZmqTransport(new_peer("short-of-room"), settings)
    transport.start(inbox)
    return transport, inbox


def test_a_dialer_that_does_not_read_gives_full_and_others_are_served() -> None:
    """A listener's frames for a deaf dialer come back at once when its pipe is full; the next peer gets its answers."""

    async def test(world: ZmqWorld) -> None:
        server, good = await linked(world)
        server.inbox.react = echo_with(server)
        with zmq.Context() as context, context.socket(zmq.DEALER) as deaf:
            deaf.linger, deaf.rcvhwm, deaf.routing_id = 0, 1, b"deaf-and-never-reads"
            deaf.connect(server.transport.bind())
            deaf.send(b"hello")
            peer = Peer("deaf-and-never-reads")
            assert await world.run_until(lambda: bool(server.inbox.received(peer)), 5)
            for _ in range(40_000):
                server.transport.send(peer, (KILOBYTE,))
            assert await world.run_until(lambda: bool(server.inbox.returned(peer, "full")), 5)
            assert server.inbox.returned() == server.inbox.returned(peer, "full")
            good.transport.send(server.peer, (b"still served?",))
            assert await world.run_until(lambda: good.inbox.received() == [(b"still served?",)], 5)

    in_a_world(test)


FROZEN_SERVER = """
import asyncio
from palm.net.transport import ZmqTransport
from palm.ports.transport import Arrived, Peer

async def serve():
    transport = ZmqTransport(Peer("server-to-be-frozen"))
    def echo(arrivals):
        for arrival in arrivals:
            if isinstance(arrival, Arrived):
                for frame in arrival.frames:
                    transport.send(arrival.peer, frame)
    transport.start(echo)
    print(transport.bind(), flush=True)
    await asyncio.Event().wait()

asyncio.run(serve())
"""


def test_a_frozen_peer_is_noticed_and_found_again() -> None:
    """A stopped process keeps its connection: heartbeats find out within 2.5 s, then frames come back as "unreachable";
    when it goes on, the link is up again by itself."""
    process = subprocess.Popen([sys.executable, "-c", FROZEN_SERVER], stdout=subprocess.PIPE, text=True)

    async def test(world: ZmqWorld) -> None:
        assert process.stdout is not None
        address, client, peer = (
            process.stdout.readline().strip(),
            await world.member("client"),
            Peer("server-to-be-frozen"),
        )
        client.transport.connect(peer, address)
        client.transport.send(peer, (b"up",))
        assert await world.run_until(lambda: client.inbox.received() == [(b"up",)], 5)
        os.kill(process.pid, signal.SIGSTOP)
        frozen_at = time.monotonic()
        while not client.inbox.returned(peer, "unreachable"):
            client.transport.send(peer, (b"into the ice",))
            await asyncio.sleep(0.05)
            assert time.monotonic() - frozen_at < 2.5 + world.connect_timeout_s + 1.0, "not noticed"
        os.kill(process.pid, signal.SIGCONT)
        thawed_at = time.monotonic()
        while (b"thawed",) not in client.inbox.received():
            client.transport.send(peer, (b"thawed",))
            await asyncio.sleep(0.05)
            assert time.monotonic() - thawed_at < 10, "not found again"

    try:
        in_a_world(test)
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
