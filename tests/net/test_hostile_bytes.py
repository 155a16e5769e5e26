"""Bytes that are no ZeroMQ, or nearly ZeroMQ, on the port of a transport: the good peer goes on being served."""

from __future__ import annotations

import socket
import struct
from typing import Iterator

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.zmq_world import Siege

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32)
"""What a ZMTP 3.1 peer without security says first."""


@pytest.fixture(scope="module")
def siege() -> Iterator[Siege]:
    with Siege() as siege:
        yield siege


def ready(socket_type: bytes, routing_id: bytes) -> bytes:
    """The command that ends the handshake."""
    body = b"\x05READY"
    for name, value in ((b"Socket-Type", socket_type), (b"Identity", routing_id)):
        body += bytes([len(name)]) + name + struct.pack(">I", len(value)) + value
    return b"\x04" + bytes([len(body)]) + body


def part(flags: int, body: bytes) -> bytes:
    """A ZMTP frame as its flags announce it: short or long, command or message, more or last."""
    size = struct.pack(">Q", len(body)) if flags & 2 else struct.pack(">B", len(body) % 256)
    return bytes([flags]) + size + body


def throw(siege: Siege, data: bytes) -> None:
    with socket.create_connection(("127.0.0.1", siege.port), timeout=5) as connection:
        try:
            connection.sendall(data)
        except ConnectionError:  # cut off in the middle of it: what it deserves
            pass


@settings(max_examples=1500, deadline=None)
@given(data=st.binary(max_size=3000))
def test_noise_on_the_port_changes_nothing(siege: Siege, data: bytes) -> None:
    """Random bytes reach nobody, and the good peer's next question is answered."""
    throw(siege, data)
    siege.good_is_served()
    assert siege.heard() == []


parts = st.builds(part, st.integers(0, 255), st.binary(max_size=300))
after_greeting = st.one_of(
    st.binary(max_size=200),
    st.lists(parts, max_size=8).map(b"".join),
    st.builds(
        lambda kind, routing_id, rest: ready(kind, routing_id) + b"".join(rest),
        st.sampled_from([b"DEALER", b"REQ", b"ROUTER", b"PUB", b"", b"NOTHING"]),
        st.binary(max_size=300),
        st.lists(parts, max_size=8),
    ),
)


@settings(max_examples=2500, deadline=None)
@given(rest=after_greeting, greeting=st.sampled_from([GREETING, GREETING[:10], GREETING[:40], GREETING[:63] + b"\1"]))
def test_near_zmtp_on_the_port_changes_nothing(siege: Siege, rest: bytes, greeting: bytes) -> None:
    """A peer that greets and then breaks the protocol, at any place, harms nobody but itself."""
    throw(siege, greeting + rest)
    siege.good_is_served()


@pytest.mark.parametrize("request_line", [b"GET / HTTP/1.1", b"PRI * HTTP/2.0", b"\x16\x03\x01\x02\x00\x01"])
def test_other_protocols_on_the_port_change_nothing(siege: Siege, request_line: bytes) -> None:
    """HTTP and TLS greetings are dropped; nothing is handed up for them."""
    for _ in range(20):
        throw(siege, request_line + b"\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + b"z" * 100_000)
        siege.good_is_served()
    assert siege.heard() == []


def test_silent_connections_are_closed_and_cost_nobody_else(siege: Siege) -> None:
    """Two hundred connections that never say a word are cut; the good peer is served all along."""
    silent = [socket.create_connection(("127.0.0.1", siege.port), timeout=10) for _ in range(200)]
    try:
        for _ in range(100):
            siege.good_is_served()
        for connection in silent:
            while connection.recv(1000):  # the server's greeting, then its end
                pass
    finally:
        for connection in silent:
            connection.close()
    siege.good_is_served()


def test_an_announced_giant_is_cut_off_before_it_takes_memory(siege: Siege) -> None:
    """A part that announces more than `max_frame_bytes` ends its connection; nothing is allocated for it."""
    process = psutil.Process()
    before = process.memory_info().rss
    for announced in (siege.world.max_frame_bytes + 1, 1 << 40, (1 << 63) - 1, (1 << 64) - 1):
        giant = GREETING + ready(b"DEALER", b"giant-" * 4) + b"\x02" + struct.pack(">Q", announced) + b"x" * 1000
        with socket.create_connection(("127.0.0.1", siege.port), timeout=10) as connection:
            connection.sendall(giant)
            try:
                while connection.recv(1000):
                    pass
            except ConnectionResetError:
                pass
        siege.good_is_served()
    assert siege.heard() == []
    assert process.memory_info().rss - before < 32 * 1024 * 1024


def test_a_siege_leaves_no_descriptors_behind() -> None:
    """After a thousand hostile connections, descriptors are as many as before them."""
    with Siege() as siege:
        before = psutil.Process().num_fds()
        for number in range(1000):
            throw(siege, (GREETING + ready(b"DEALER", b"visitor-%08d" % number))[: number % 150])
        assert siege.run_until(lambda: psutil.Process().num_fds() <= before), "connections are still open"
        siege.good_is_served()
