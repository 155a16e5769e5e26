"""Opening, closing and settings of the real transport."""

from __future__ import annotations

import asyncio
import gc
import os
import threading

import psutil
import pytest

from palm.errors import BadRequest
from palm.net.transport import TransportSettings, ZmqTransport
from palm.ports.transport import Frame, Peer
from palm.testing.conformance.transport import Inbox, echo_with, linked
from tests.support.zmq_world import ZmqWorld, new_peer


def test_fifty_lives_in_a_row_leave_nothing_behind() -> None:
    """Descriptors and threads are as many after fifty pairs that talked, large payload included, as after the first."""

    async def live() -> None:
        async with ZmqWorld() as world:
            server, client = await linked(world)
            server.inbox.react = echo_with(server)
            question: Frame = (b"question", bytes(100_000))
            client.transport.send(server.peer, question)
            client.transport.connect(new_peer("nobody"), world.reserve())
            client.transport.send(new_peer("unknown"), (b"back",))
            assert await world.run_until(lambda: client.inbox.received() == [question], 5)

    def held() -> tuple[int, int]:
        return psutil.Process().num_fds(), psutil.Process().num_threads()

    async def lives() -> None:
        await live()  # the first large payload starts pyzmq's collector thread, which stays for the process's life
        before = held()
        for _ in range(50):
            await live()
        assert held() == before

    asyncio.run(lives())


def test_closing_is_quick_with_peers_that_are_gone() -> None:
    """Without linger, `aclose` takes no time for what can never be sent: nobody is there for any of twenty links."""

    async def run() -> float:
        async with ZmqWorld() as world:
            member = await world.member("client")
            for number in range(20):
                peer = new_peer(f"gone-{number}")
                member.transport.connect(peer, world.reserve())
                member.transport.send(peer, (b"held", bytes(1_000_000)))
            start = asyncio.get_running_loop().time()
            await member.transport.aclose()
            assert len(member.inbox.returned(reason="closed")) == 20
            return asyncio.get_running_loop().time() - start

    assert asyncio.run(run()) < 1.0


def test_two_closers_both_wait_for_the_end() -> None:
    """A second `aclose` during the first returns when everything is let go, not before."""

    async def run() -> None:
        before = psutil.Process().num_fds()
        transport = ZmqTransport(new_peer("closing"))
        transport.start(Inbox())
        transport.bind()
        await asyncio.gather(transport.aclose(), transport.aclose())
        assert psutil.Process().num_fds() == before
        assert "zmq-term" not in {thread.name for thread in threading.enumerate()}

    asyncio.run(run())


def test_a_transport_that_never_started_opens_nothing() -> None:
    """Making and closing one costs no descriptor."""

    async def run() -> None:
        before = psutil.Process().num_fds()
        transport = ZmqTransport(new_peer("unborn"))
        assert psutil.Process().num_fds() == before
        await transport.aclose()

    asyncio.run(run())


def test_a_transport_that_was_forgotten_holds_nobody_up() -> None:
    """One that is dropped without `aclose`, as after an exception, never blocks the garbage collector: it warns."""

    async def forget() -> None:
        transport = ZmqTransport(new_peer("forgotten"))
        transport.start(Inbox())
        transport.bind()
        transport.connect(new_peer("nobody"), "tcp://127.0.0.1:1")

    with pytest.warns(ResourceWarning, match="without aclose"):
        asyncio.run(forget())
        gc.collect()


def test_the_advertised_address_is_what_others_dial() -> None:
    """A listener on all interfaces tells the address it was given, with the port that the system chose."""

    async def run() -> None:
        async with ZmqWorld() as world:
            settings = TransportSettings(bind_host="0.0.0.0", advertise_host="127.0.0.1")
            listener, inbox = ZmqTransport(new_peer("everywhere"), settings), Inbox()
            listener.start(inbox)
            address = listener.bind()
            assert address.startswith("tcp://127.0.0.1:") and address == listener.bind()
            client = await world.member("client")
            client.transport.connect(listener.peer, address)
            client.transport.send(listener.peer, (b"hello",))
            assert await world.run_until(lambda: inbox.received() == [(b"hello",)], 5)
            await listener.aclose()

    asyncio.run(run())


@pytest.mark.parametrize("wildcard", ["*", "0.0.0.0", "::"])
def test_a_wildcard_is_not_advertised(wildcard: str) -> None:
    """An address that nobody can dial is refused at once, with the way out."""
    with pytest.raises(BadRequest, match="advertise_host"):
        TransportSettings(bind_host=wildcard)


def test_a_bind_that_fails_says_where() -> None:
    """The OSError names the endpoint, and the transport is still usable."""

    async def run() -> None:
        transport = ZmqTransport(new_peer("homeless"), TransportSettings(bind_host="192.0.2.1"))
        transport.start(Inbox())
        with pytest.raises(OSError, match=r"cannot listen on tcp://192\.0\.2\.1:"):
            transport.bind()
        await transport.aclose()

    asyncio.run(run())


def test_a_forked_child_cannot_send() -> None:
    """A child's inherited sockets would take frames that never leave; it is told so instead."""

    async def run() -> int:
        async with ZmqWorld() as world:
            server, client = await linked(world)
            child = os.fork()
            if child == 0:
                try:
                    client.transport.send(server.peer, (b"from the child",))
                except AssertionError:
                    os._exit(7)
                os._exit(0)
            _, status = os.waitpid(child, 0)
            return os.waitstatus_to_exitcode(status)

    assert asyncio.run(run()) == 7


def test_a_burst_in_both_directions_strands_nothing() -> None:
    """ZeroMQ's descriptors tell once: with sends and arrivals mixed in every way, nothing is left asleep."""

    async def run() -> None:
        async with ZmqWorld() as world:
            server, client = await linked(world)
            server.inbox.react = echo_with(server)
            sent: list[Frame] = []
            for round_ in range(300):
                for number in range(round_ % 7 + 1):
                    sent.append((b"%d.%d" % (round_, number),))
                    client.transport.send(server.peer, sent[-1])
                if round_ % 3 == 0:
                    await asyncio.sleep(0)
                if round_ % 5 == 0:
                    server.transport.send(Peer("nobody-of-this-name"), (b"back",))
                if round_ % 11 == 0:
                    assert await world.run_until(lambda: len(client.inbox.received()) == len(sent), 5), (
                        "one is stranded"
                    )
            assert await world.run_until(lambda: len(client.inbox.received()) == len(sent), 5)
            assert client.inbox.received() == sent

    asyncio.run(run())
