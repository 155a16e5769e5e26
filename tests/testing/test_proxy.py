"""The TCP proxy of real runs: what each of its faults does to the bytes of a connection, and to its two ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from palm.testing.real.proxy import WAITING_MAX_BYTES, Proxy
from tests.support.aio import in_loop

WITHIN_S = 10.0


class Server:
    """Answers each line with itself; what it heard is kept."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.ends: list[str] = []
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while line := await reader.readline():
                self.heard.append(line)
                writer.write(line)
            self.ends.append("closed")
        except ConnectionResetError:
            self.ends.append("reset")
        finally:
            writer.close()


@asynccontextmanager
async def through_a_proxy() -> AsyncIterator[tuple[Server, Proxy]]:
    server = Server()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    proxy = Proxy(f"127.0.0.1:{listening.sockets[0].getsockname()[1]}")
    proxy.start()
    try:
        async with asyncio.timeout(WITHIN_S):
            yield server, proxy
    finally:
        await proxy.aclose()
        listening.close()


async def dial(proxy: Proxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = proxy.endpoint.rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        await asyncio.sleep(0.005)


async def echoed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: bytes) -> bytes:
    writer.write(line)
    return await reader.readline()


@in_loop
async def test_bytes_pass_unchanged_both_ways_and_the_end_follows_them() -> None:
    """More than any buffer holds, from a client that reads late; and what was said before the end arrives before it."""
    async with through_a_proxy() as (server, proxy):
        reader, writer = await dial(proxy)
        line = b"x" * 60_000 + b"\n"
        count = 8 * WAITING_MAX_BYTES // len(line)

        async def say() -> None:
            for _ in range(count):
                writer.write(line)
                await writer.drain()
            writer.write_eof()

        saying = asyncio.create_task(say())
        back = [await reader.readline() for _ in range(count)]
        await saying
        assert back == [line] * count and server.heard == back
        await until(lambda: server.ends == ["closed"])
        assert proxy.bytes_to_server == count * len(line)
        await until(lambda: proxy.open_connections == 0)


@in_loop
async def test_who_comes_before_the_start_waits() -> None:
    """An endpoint can be given away before anything runs there."""
    server = Server()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    proxy = Proxy(f"127.0.0.1:{listening.sockets[0].getsockname()[1]}")
    try:
        async with asyncio.timeout(WITHIN_S):
            reader, writer = await dial(proxy)
            writer.write(b"early\n")
            proxy.start()
            assert await reader.readline() == b"early\n"
    finally:
        await proxy.aclose()
        listening.close()


@in_loop
async def test_a_cut_is_a_reset_at_both_ends_and_the_next_connection_is_whole() -> None:
    """No end in good order, as from a machine that was restarted."""
    async with through_a_proxy() as (server, proxy):
        reader, writer = await dial(proxy)
        assert await echoed(reader, writer, b"one\n") == b"one\n"
        assert proxy.cut() == 1
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        await until(lambda: server.ends == ["reset"])
        assert await echoed(*await dial(proxy), b"two\n") == b"two\n"


@in_loop
async def test_a_refusal_lasts_until_it_is_ended() -> None:
    """Each new connection is reset as it comes."""
    async with through_a_proxy() as (server, proxy):
        proxy.cut(refuse=True)
        reader, writer = await dial(proxy)
        writer.write(b"one\n")
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        proxy.resume()
        assert await echoed(*await dial(proxy), b"two\n") == b"two\n"
        assert server.heard == [b"two\n"]


@in_loop
async def test_what_a_stall_holds_is_carried_when_it_ends() -> None:
    """Nothing is lost, as on a line that was dead for a while; also for who connects meanwhile."""
    async with through_a_proxy() as (server, proxy):
        first = await dial(proxy)
        assert await echoed(*first, b"one\n") == b"one\n"
        proxy.stall()
        first[1].write(b"two\n")
        second = await dial(proxy)
        second[1].write(b"three\n")
        await until(lambda: proxy.held_bytes == len(b"two\nthree\n"))
        assert server.heard == [b"one\n"]
        proxy.resume()
        assert [await first[0].readline(), await second[0].readline()] == [b"two\n", b"three\n"]


@in_loop
async def test_a_half_open_connection_says_nothing_ever_again_and_another_does() -> None:
    """As one whose other machine has gone: neither data nor an end comes, though the server has closed it."""
    async with through_a_proxy() as (server, proxy):
        reader, writer = await dial(proxy)
        assert await echoed(reader, writer, b"one\n") == b"one\n"
        proxy.stall(new_too=False)
        server.writers[0].close()
        writer.write(b"two\n")
        proxy.resume()
        assert await echoed(*await dial(proxy), b"three\n") == b"three\n"
        assert server.heard == [b"one\n", b"three\n"]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readexactly(1), 0.1)


@in_loop
async def test_held_answers_are_to_requests_that_arrived() -> None:
    """The server hears and answers; the client never learns of it on that connection."""
    async with through_a_proxy() as (server, proxy):
        reader, writer = await dial(proxy)
        assert await echoed(reader, writer, b"one\n") == b"one\n"
        proxy.hold_answers()
        writer.write(b"two\n")
        await until(lambda: proxy.held_bytes == len(b"two\n"))
        assert server.heard == [b"one\n", b"two\n"]
        assert await echoed(*await dial(proxy), b"three\n") == b"three\n"


@in_loop
async def test_a_connection_that_has_lost_an_answer_may_break_some_time_later() -> None:
    """Not before the answer was there to be lost."""
    async with through_a_proxy() as (server, proxy):
        reader, writer = await dial(proxy)
        assert await echoed(reader, writer, b"one\n") == b"one\n"
        proxy.hold_answers(break_after_s=0.05)
        writer.write(b"two\n")
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        assert server.heard == [b"one\n", b"two\n"] and proxy.held_bytes == len(b"two\n")


@in_loop
async def test_held_requests_never_arrive_and_their_connection_breaks() -> None:
    """The next connection is whole."""
    async with through_a_proxy() as (server, proxy):
        reader, writer = await dial(proxy)
        assert await echoed(reader, writer, b"one\n") == b"one\n"
        proxy.hold_requests(break_after_s=0.05)
        writer.write(b"two\n")
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        assert await echoed(*await dial(proxy), b"three\n") == b"three\n"
        assert server.heard == [b"one\n", b"three\n"]


@in_loop
async def test_a_lag_makes_answers_late_by_so_much_and_in_order() -> None:
    """Each by the lag, not one lag after another; its end brings at once what is late."""
    async with through_a_proxy() as (server, proxy):
        reader, writer = await dial(proxy)
        assert await echoed(reader, writer, b"zero\n") == b"zero\n"
        proxy.lag(0.3)
        begin = time.monotonic()
        for n in range(3):
            writer.write(b"%d\n" % n)
            await until(lambda wanted=n + 2: len(server.heard) == wanted)
        assert [await reader.readline() for _ in range(3)] == [b"0\n", b"1\n", b"2\n"]
        assert 0.3 <= time.monotonic() - begin < 0.85
        proxy.lag(60.0)
        writer.write(b"late\n")
        await until(lambda: proxy.late_bytes == len(b"0\n1\n2\nlate\n"))
        proxy.lag(0.0)
        assert await reader.readline() == b"late\n"


@in_loop
async def test_the_end_of_a_lag_lets_late_ends_through_as_well() -> None:
    """Several connections that are over but for what is late end in that moment, each behind its last word."""
    async with through_a_proxy() as (server, proxy):
        clients = [await dial(proxy) for _ in range(3)]
        for reader, writer in clients:
            assert await echoed(reader, writer, b"one\n") == b"one\n"
        proxy.lag(60.0)
        for _, writer in clients:
            writer.write(b"two\n")
            writer.write_eof()
        await until(lambda: server.ends == ["closed"] * 3 and proxy.late_bytes == 3 * len(b"two\n"))
        proxy.lag(0.0)
        assert [await reader.read() for reader, _ in clients] == [b"two\n"] * 3
        await until(lambda: proxy.open_connections == 0)


@in_loop
async def test_a_limit_resets_each_connection_after_so_many_bytes() -> None:
    """A stream that breaks in its middle, each time it is taken up again."""
    async with through_a_proxy() as (_, proxy):
        proxy.limit(8)
        for _ in range(2):
            reader, writer = await dial(proxy)
            assert await echoed(reader, writer, b"one\n") == b"one\n"
            with pytest.raises(ConnectionResetError):
                await echoed(reader, writer, b"two\n")
        assert proxy.cuts_by_limit == 2


@in_loop
async def test_nobody_behind_it_is_an_end_for_the_client() -> None:
    """As at a port where nobody listens."""
    gone = Proxy("127.0.0.1:9")
    gone.start()
    try:
        async with asyncio.timeout(WITHIN_S):
            reader, writer = await dial(gone)
            with pytest.raises(ConnectionResetError):
                await echoed(reader, writer, b"one\n")
    finally:
        await gone.aclose()
