"""A whole server instance on a real port, under bytes that no peer of PALM's would send: it counts them, and serves
on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from palm import Client
from palm.core.message import Batch, Header, Hello, JobId, Peer
from palm.core.route import parse_route
from palm.gateway.registry import EmbeddedRegistry
from palm.net.etcd.settings import EtcdSettings
from palm.net.host import NetHost
from palm.net.peer import new_peer
from palm.net.registry import EtcdRegistry
from palm.net.transport import ZmqTransport
from palm.runtime.serving import Serving
from palm.wire.codec import Codec
from palm.wire.control import encode_control
from palm.wire.frame import Body, pack


@dataclass
class Running:
    """A server in a thread of this process, and its registry."""

    serving: Serving
    address: str
    etcd: str


@contextmanager
def running_server() -> Iterator[Running]:
    started = threading.Event()
    found: list[Running] = []
    stop: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def main() -> None:
        registry = EmbeddedRegistry()
        port = await registry.start("127.0.0.1", 0)
        etcd = f"127.0.0.1:{port}"
        host = NetHost("here", ZmqTransport(new_peer()), EtcdRegistry(EtcdSettings(endpoints=(etcd,))))
        serving = Serving(host, "target", {"echo": lambda message: message})
        address = await serving.start()
        found.append(Running(serving, address, etcd))
        end = asyncio.Event()
        stop.append((asyncio.get_running_loop(), end))
        started.set()
        await end.wait()
        await serving.aclose()
        await registry.aclose()

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    assert started.wait(20), "the server started"
    try:
        yield found[0]
    finally:
        loop, end = stop[0]
        loop.call_soon_threadsafe(end.set)
        thread.join(20)


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with running_server() as server:
        yield server


@pytest.fixture(scope="module")
def attacker(running: Running) -> Iterator[zmq.Socket[bytes]]:
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.set(zmq.ROUTING_ID, b"attacker-0123456789")
    socket.set(zmq.LINGER, 0)
    socket.connect(running.address)
    yield socket
    context.destroy(0)


@pytest.fixture(scope="module")
def client(running: Running) -> Iterator[Client]:
    with Client(running.etcd, timeout=20) as client:
        yield client


def _true_frames(running: Running) -> list[bytes]:
    """Frames that the server would take, to be spoiled."""
    me = Peer("attacker-0123456789")
    header = Header(JobId(me, 1, 1), parse_route("target.echo"), 0)
    frames = list(Codec().encode([Batch(header, 0, [0, 1, 2], [b"a", b"b" * 300, b""])]))
    hello = encode_control(Hello(1, running.serving.node.peer, "palm", "attacker"))
    return [frames[0][0], hello]


def _bad_frames(running: Running) -> int:
    return running.serving.node.counters.bad_frames


bodies = st.one_of(
    st.binary(max_size=200),
    st.tuples(st.sampled_from(list(Body)), st.binary(max_size=200)).map(lambda body: pack(*body)),
)


@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=bodies, cut=st.integers(0, 400), flip=st.integers(0, 4000), kind=st.sampled_from(["random", "cut", "flip"]))
def test_random_truncated_and_flipped_frames_do_not_stop_a_server(
    running: Running, attacker: zmq.Socket[bytes], body: bytes, cut: int, flip: int, kind: str
) -> None:
    """Whatever bytes come as a frame, the server takes the next one."""
    true = _true_frames(running)[flip % 2]
    if kind == "cut":
        body = true[: cut % len(true)]
    elif kind == "flip":
        spoiled = bytearray(true)
        spoiled[flip % len(true)] ^= 1 << (flip % 8)
        body = bytes(spoiled)
    attacker.send(body)


def test_a_server_counts_what_it_dropped_and_serves_on(
    running: Running, attacker: zmq.Socket[bytes], client: Client
) -> None:
    """After thousands of bad frames a good client is served, and each bad frame was counted."""
    before = _bad_frames(running)
    for n in range(3000):
        attacker.send(b"PM" + bytes([n % 256]) * (n % 40))
    answered = client.call("target.echo", b"still here")  # behind the attack in the server's own order of reading
    for _ in range(200):
        if _bad_frames(running) - before == 3000:
            break
        client.call("target.echo", b"?")  # each answer means that the server has read on
    assert answered == b"still here"
    assert _bad_frames(running) - before == 3000
