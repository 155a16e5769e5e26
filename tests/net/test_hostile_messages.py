"""Well-formed ZeroMQ from peers that keep no rule of PALM's: parts, routing ids and socket types of any kind."""

from __future__ import annotations

import re
from typing import Iterator

import pytest
import zmq
from hypothesis import example, given, settings
from hypothesis import strategies as st

from palm.ports.transport import Arrived, Frame, Peer
from tests.support.zmq_world import Siege, new_peer

Parts = list[bytes]
messages = st.lists(st.lists(st.binary(max_size=100), min_size=1, max_size=7), min_size=1, max_size=20)
routing_ids = st.one_of(st.binary(min_size=1, max_size=255), st.from_regex(rb"[A-Za-z0-9_-]{10,70}\n?", fullmatch=True))
END: Parts = [b"the last message"]


@pytest.fixture(scope="module")
def siege() -> Iterator[Siege]:
    with Siege() as siege:
        yield siege


@pytest.fixture(scope="module")
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    with zmq.Context() as context:
        yield context


def stranger(
    context: zmq.Context[zmq.Socket[bytes]], siege: Siege, routing_id: bytes, kind: int = zmq.DEALER
) -> zmq.Socket[bytes]:
    socket = context.socket(kind)
    socket.linger = 0
    socket.routing_id = routing_id
    socket.reconnect_ivl = -1
    socket.connect(f"tcp://127.0.0.1:{siege.port}")
    return socket


def frames_of(sent: list[Parts]) -> list[Frame]:
    """What of it is frames: messages of one or two parts."""
    return [tuple(parts) for parts in sent if len(parts) <= 2]  # type: ignore[misc]  # the length is checked


@settings(max_examples=1000, deadline=None)
@given(sent=messages)
@example(sent=[[b""], [b"", b""], [b""] * 3, [b"x"], [b""] * 200, [b"y", b"z"]])
def test_a_listener_takes_frames_of_one_or_two_parts_only(
    siege: Siege, context: zmq.Context[zmq.Socket[bytes]], sent: list[Parts]
) -> None:
    """Whatever part counts a peer mixes: its one- and two-part messages arrive in order, each other one is counted."""
    siege.heard()
    bad_before, peer = siege.bad_frames, new_peer("mixer")
    with stranger(context, siege, peer.encode()) as socket:
        for parts in [*sent, END]:
            socket.send_multipart(parts)
        expected = frames_of([*sent, END])
        got: list[Frame] = []

        def all_there() -> bool:
            got.extend(f for a in siege.heard() if isinstance(a, Arrived) and a.peer == peer for f in a.frames)
            return len(got) >= len(expected)

        siege.run_until(all_there)
        siege.good_is_served()
        assert got == expected
        assert siege.bad_frames - bad_before == len(sent) + 1 - len(expected)


@settings(max_examples=600, deadline=None)
@given(sent=messages)
def test_a_dialer_takes_frames_of_one_or_two_parts_only(
    siege: Siege, context: zmq.Context[zmq.Socket[bytes]], sent: list[Parts]
) -> None:
    """The same when it is the peer that we dialed who keeps no rules."""
    member, peer = siege.good, new_peer("bad-server")
    bad_before = member.transport.counters.bad_frames
    with context.socket(zmq.ROUTER) as router:
        router.linger = 0
        port = router.bind_to_random_port("tcp://127.0.0.1")
        siege.runner.run(dial(siege, peer, port))
        assert siege.run_until(lambda: bool(router.poll(0)))
        routing_id, _ = router.recv_multipart()
        member.inbox.arrivals.clear()
        for parts in [*sent, END]:
            router.send_multipart([routing_id, *parts])
        expected = frames_of([*sent, END])
        siege.run_until(lambda: len(member.inbox.received(peer)) >= len(expected))
        assert member.inbox.received(peer) == expected
        assert member.transport.counters.bad_frames - bad_before == len(sent) + 1 - len(expected)
        siege.good_is_served()
        siege.runner.run(hang_up(siege, peer))


async def dial(siege: Siege, peer: Peer, port: int) -> None:
    siege.good.transport.connect(peer, f"tcp://127.0.0.1:{port}")
    siege.good.transport.send(peer, (b"hello",))


async def hang_up(siege: Siege, peer: Peer) -> None:
    siege.good.transport.disconnect(peer)


@settings(max_examples=1000, deadline=None)
@given(routing_id=routing_ids)
@example(routing_id=b"exactly-16-bytes")
@example(routing_id=b"only-15-bytes--")
@example(routing_id=b"x" * 65)
@example(routing_id=b"ends-with-newline\n")
def test_only_a_peer_id_is_a_routing_id(
    siege: Siege, context: zmq.Context[zmq.Socket[bytes]], routing_id: bytes
) -> None:
    """Frames from a routing id that is no Peer are counted and dropped, and those from one that is arrive under it."""
    if routing_id[0] == 0:  # reserved: ZeroMQ itself refuses to set it, and makes such ids for peers without one
        routing_id = b"\xff" + routing_id[1:]
    siege.heard()
    bad_before = siege.bad_frames
    valid = re.fullmatch(rb"[A-Za-z0-9_-]{16,64}", routing_id) is not None
    with stranger(context, siege, routing_id) as socket:
        socket.send_multipart([b"hello", b"payload"])
        heard = []

        def ended() -> bool:
            heard.extend(siege.heard())
            return bool(heard) or siege.bad_frames > bad_before

        assert siege.run_until(ended)
        siege.good_is_served()
    if valid:
        assert heard == [Arrived(Peer(routing_id.decode()), [(b"hello", b"payload")])]
    assert siege.bad_frames - bad_before == (0 if valid else 1)


def test_two_hundred_thousand_parts_are_dropped_in_slices(
    siege: Siege, context: zmq.Context[zmq.Socket[bytes]]
) -> None:
    """A message of 200,000 empty parts is one bad frame, and the loop turns between slices: timers get their turn."""
    siege.heard()
    parts, bad_before, peer = 200_000, siege.bad_frames, new_peer("hydra")
    turns = 0

    def count_turns_while_it_is_dropped() -> None:
        nonlocal turns
        if not siege.server.inbox.received(peer):
            turns += siege.bad_frames > bad_before
            loop.call_soon(count_turns_while_it_is_dropped)

    loop = siege.runner.get_loop()
    with stranger(context, siege, peer.encode()) as socket:
        socket.send_multipart([b""] * parts)
        socket.send(b"after it")
        loop.call_soon(count_turns_while_it_is_dropped)
        assert siege.run_until(lambda: bool(siege.server.inbox.received(peer)))
    assert turns >= 50
    assert siege.bad_frames == bad_before + 1
    assert siege.server.inbox.received(peer) == [(b"after it",)]
    siege.good_is_served()


def test_a_part_over_the_limit_never_arrives(siege: Siege, context: zmq.Context[zmq.Socket[bytes]]) -> None:
    """Who sends more than `max_frame_bytes` in one part is cut off; up to the limit it arrives."""
    siege.heard()
    peer, limit = new_peer("too-large"), siege.world.max_frame_bytes
    with stranger(context, siege, peer.encode()) as socket:
        socket.send(bytes(limit))
        assert siege.run_until(lambda: bool(siege.server.inbox.received(peer)))
        monitor = socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        socket.send(bytes(limit + 1))
        assert siege.run_until(lambda: bool(monitor.poll(0)))
        socket.disable_monitor()
        monitor.close(0)
    siege.good_is_served()
    assert siege.server.inbox.received(peer) == [(bytes(limit),)]


@pytest.mark.parametrize("kind", [zmq.REQ, zmq.ROUTER], ids=["REQ", "ROUTER"])
def test_other_socket_types_do_not_desynchronise(
    siege: Siege, context: zmq.Context[zmq.Socket[bytes]], kind: int
) -> None:
    """A REQ adds an empty part of its own, a ROUTER can say nothing at first; neither confuses the listener."""
    siege.heard()
    peer = new_peer("odd-type")
    with stranger(context, siege, peer.encode(), kind) as socket:
        if kind == zmq.REQ:
            socket.send(b"question")
            assert siege.run_until(lambda: bool(siege.server.inbox.received(peer)))
            assert siege.server.inbox.received(peer) == [(b"", b"question")]
        for _ in range(10):
            siege.good_is_served()


def test_a_new_connection_under_a_living_id_is_heard(siege: Siege, context: zmq.Context[zmq.Socket[bytes]]) -> None:
    """A peer that is back before its old connection's end was noticed is the one to talk to, in both directions."""
    peer = new_peer("back-again")
    with stranger(context, siege, peer.encode()) as old:
        old.send(b"first life of the link")
        assert siege.run_until(lambda: bool(siege.server.inbox.received(peer)))
        with stranger(context, siege, peer.encode()) as new:
            new.send(b"second")
            assert siege.run_until(lambda: (b"second",) in siege.server.inbox.received(peer))
            siege.server.transport.send(peer, (b"answer",))
            assert siege.run_until(lambda: bool(new.poll(0)))
            assert new.recv() == b"answer" and not old.poll(0)
    siege.good_is_served()


def test_a_thief_of_an_id_is_forgotten_when_it_leaves(siege: Siege, context: zmq.Context[zmq.Socket[bytes]]) -> None:
    """Who knows the good peer's id can disturb it (only CURVE prevents that), but no longer than it stays."""
    with stranger(context, siege, siege.good.peer.encode()) as thief:
        thief.send(b"it is me")
        assert siege.run_until(lambda: (b"it is me",) in siege.server.inbox.received(siege.good.peer))
    siege.good.inbox.arrivals.clear()

    def served_again() -> bool:
        siege.good.transport.send(siege.server.peer, (b"and now?",))
        return (b"and now?",) in siege.good.inbox.received(siege.server.peer)

    assert siege.run_until(served_again)
    siege.heard()
