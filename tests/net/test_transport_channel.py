"""A channel and the edge-triggered descriptor of its socket."""

from __future__ import annotations

import asyncio
import select
from typing import Awaitable, Callable

import zmq

from palm.net.zmq_channel import Channel
from palm.net.zmq_reader import FrameReader
from palm.ports.transport import Arrived, TransportCounters
from palm.testing.conformance.transport import Inbox
from tests.support.zmq_world import ZmqWorld, new_peer

Body = Callable[[Channel, zmq.Socket[bytes], Inbox], Awaitable[None]]
PEER = new_peer("far-end")


def with_a_channel(body: Body) -> None:
    """Run `body` with a channel on a dialing socket, the ROUTER at its far end, and the channel's sink."""

    async def run() -> None:
        with zmq.Context() as context, context.socket(zmq.ROUTER) as far, context.socket(zmq.DEALER) as near:
            far.linger = near.linger = 0
            near.routing_id = b"near"
            near.connect(f"tcp://127.0.0.1:{far.bind_to_random_port('tcp://127.0.0.1')}")
            near.send(b"hello")
            far.recv_multipart()
            inbox = Inbox()
            channel = Channel(near, FrameReader(near, TransportCounters(), dialed=PEER), 4, inbox)
            await body(channel, far, inbox)
            channel.close()

    asyncio.run(run())


def test_an_arrival_whose_signal_was_eaten_by_a_send_is_not_left_asleep() -> None:
    """`send` may take the descriptor's only signal away; what arrived is handed up all the same."""

    async def body(channel: Channel, far: zmq.Socket[bytes], inbox: Inbox) -> None:
        await asyncio.sleep(0)
        far.send_multipart([b"near", b"arrives"])
        readable, _, _ = select.select([channel.socket.fileno()], [], [], 5)
        assert readable, "it never arrived"
        while select.select([channel.socket.fileno()], [], [], 0)[0]:
            channel.try_send((b"eats the signal",))
        assert await ZmqWorld().run_until(lambda: bool(inbox.arrivals), 2)
        assert inbox.arrivals == [Arrived(PEER, [(b"arrives",)])]

    with_a_channel(body)


def test_callbacks_run_between_drains() -> None:
    """However fast frames come in, other callbacks of the loop get their turn between drains."""

    async def body(channel: Channel, far: zmq.Socket[bytes], inbox: Inbox) -> None:
        loop, drains_seen, sent = asyncio.get_running_loop(), [0], 200

        def send_two_more_and_look() -> None:
            nonlocal sent
            drains_seen.append(len(inbox.batches))
            if sent < 1000:
                for _ in range(2):
                    far.send_multipart([b"near", b"%d" % sent])
                    sent += 1
                loop.call_soon(send_two_more_and_look)

        for number in range(sent):
            far.send_multipart([b"near", b"%d" % number])
        loop.call_soon(send_two_more_and_look)
        assert await ZmqWorld().run_until(lambda: len(inbox.received()) == 1000, 5)
        assert inbox.received() == [(b"%d" % number,) for number in range(1000)]
        assert max(inbox.batches) <= 4
        between_turns = [after - before for before, after in zip(drains_seen, drains_seen[1:], strict=False)]
        # Two, when the socket was read dry and told of a new arrival in one turn of the loop.
        assert max(between_turns) <= 2, "drains without a turn for others"

    with_a_channel(body)


def test_a_sink_that_raises_leaves_the_rest_to_be_read() -> None:
    """An exception from the sink is the loop's to report; what arrives afterwards, and what was left, still comes."""

    async def body(channel: Channel, far: zmq.Socket[bytes], inbox: Inbox) -> None:
        reported: list[str] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(str(context["exception"])))

        def fail_once(_: object) -> None:
            if not reported:
                inbox.inside = False
                raise ValueError("a bug in the sink")

        inbox.react = fail_once
        for number in range(10):
            far.send_multipart([b"near", b"%d" % number])
        assert await ZmqWorld().run_until(lambda: len(inbox.received()) == 10, 5)
        assert reported == ["a bug in the sink"]

    with_a_channel(body)
