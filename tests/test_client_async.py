"""`AsyncClient` against real server processes: the same semantics as `Client`, on the caller's event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from palm import (
    AsyncClient,
    HandlerFailed,
    JobCancelled,
    NoSuchFunction,
    NoSuchServer,
    PayloadTooLarge,
    RegistryUnavailable,
    WaitTimeout,
)
from palm.errors import ClientClosed
from tests.support.aio import in_loop
from tests.support.cluster import Cluster, cluster
from tests.support.etcd import free_ports

NUMBERS = [b"%d" % number for number in range(1000)]


@pytest.fixture(scope="module")
def letters() -> Iterator[Cluster]:
    with cluster() as made:
        made.serve()
        made.serve("--name", "other")
        yield made


async def trickle(payloads: list[bytes]) -> AsyncIterator[bytes]:
    """An async source that gives way now and then."""
    for place, payload in enumerate(payloads):
        if place % 100 == 0:
            await asyncio.sleep(0.001)
        yield payload


@in_loop
async def test_a_call_returns_its_result(letters: Cluster) -> None:
    """`await client.call(...)`."""
    async with AsyncClient(letters.endpoint) as client:
        assert await client.call("letters.shout", b"x") == b"X"


@in_loop
async def test_calls_run_beside_each_other(letters: Cluster) -> None:
    """A hundred coroutines that wait half a second take no minute, and each gets its own answer."""
    async with AsyncClient(letters.endpoint) as client:
        begin = time.monotonic()
        payloads = [b"0.5" + b"0" * place for place in range(100)]
        assert await asyncio.gather(*(client.call("letters.doze", payload) for payload in payloads)) == payloads
        assert time.monotonic() - begin < 15


@in_loop
async def test_a_job_streams_from_an_async_source(letters: Cluster) -> None:
    """`client.job` and `async for ... in client.submit()`, in order, over two stages."""
    async with AsyncClient(letters.endpoint) as client:
        job = client.job(trickle(NUMBERS), ["letters.echo", "other.echo"], ordered=True)
        assert [result async for result in client.submit()] == NUMBERS
        assert tuple(job.ledger) == (1000, 1000, 0, 0, 0, 0)


@in_loop
async def test_a_plain_source_may_block(letters: Cluster) -> None:
    """It is read beside the loop: other coroutines go on meanwhile."""
    beats: list[float] = []

    def source() -> Iterator[bytes]:
        for number in range(5):
            time.sleep(0.1)
            yield b"%d" % number

    async def beat() -> None:
        while True:
            beats.append(time.monotonic())
            await asyncio.sleep(0.01)

    async with AsyncClient(letters.endpoint) as client:
        beating = asyncio.create_task(beat())
        assert sorted([result async for result in client.map(source(), "letters.echo")]) == NUMBERS[:5]
        beating.cancel()
    assert len(beats) > 10


@in_loop
async def test_results_stream_while_an_async_source_still_runs(letters: Cluster) -> None:
    """The source gives the next message only when the answer to the one before is there."""
    answered = asyncio.Semaphore(1)

    async def source() -> AsyncIterator[bytes]:
        for number in range(20):
            await answered.acquire()
            yield b"%d" % number

    async with AsyncClient(letters.endpoint, timeout=20) as client:
        async for _ in client.map(source(), "letters.echo"):
            answered.release()


@in_loop
async def test_other_tasks_get_their_turn_while_results_pour_in(letters: Cluster) -> None:
    """A reader that is never kept waiting does not keep the loop."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with AsyncClient(letters.endpoint) as client:
        counting = asyncio.create_task(count())
        received = [result async for result in client.map(NUMBERS * 10, "letters.echo")]
        counting.cancel()
    assert len(received) == 10_000 and turns > 10_000 // 128


@in_loop
async def test_a_source_that_raises_ends_what_was_sent_and_then_says_so(letters: Cluster) -> None:
    """All that was sent is delivered; then the caller gets the original exception."""

    async def source() -> AsyncIterator[bytes]:
        for payload in NUMBERS[:300]:
            yield payload
        raise LookupError("the source is broken")

    async with AsyncClient(letters.endpoint) as client:
        job = client.job(source(), "letters.echo")
        received: list[bytes] = []
        with pytest.raises(LookupError, match="the source is broken"):
            async for result in client.submit():
                received.append(result)
        assert sorted(received) == sorted(NUMBERS[:300])
        assert tuple(job.ledger) == (300, 300, 0, 0, 0, 0)


@in_loop
async def test_errors_are_those_of_the_client(letters: Cluster) -> None:
    """User code, payloads, names, time: the same types and texts."""
    async with AsyncClient(letters.endpoint, max_payload_bytes=1000) as client:
        with pytest.raises(HandlerFailed, match="raised KeyError: 'x'"):
            await client.call("letters.fail", b"x")
        with pytest.raises(PayloadTooLarge):
            await client.call("letters.echo", bytes(1001))
        with pytest.raises(PayloadTooLarge):
            _ = [result async for result in client.map(trickle([bytes(1001)]), "letters.echo")]
        with pytest.raises(TypeError, match="bytes are needed"):
            await client.call("letters.echo", "text")  # type: ignore[arg-type]  # that is the point
        with pytest.raises(NoSuchFunction, match="did you mean 'echo'"):
            await client.call("letters.ecko", b"x")
        with pytest.raises(NoSuchServer, match="did you mean 'letters'"):
            await client.call("leters.echo", b"x", timeout=0.5)
        with pytest.raises(WaitTimeout, match="no answer from letters.doze within 0.5 s"):
            await client.call("letters.doze", b"20", timeout=0.5)
        with pytest.raises(WaitTimeout, match="no result within 0.5 s"):
            await anext(client.map([b"20"], "letters.doze", timeout=0.5))


@in_loop
async def test_errors_modes_are_those_of_the_client(letters: Cluster) -> None:
    """'raise' goes on after it raised, 'yield' and 'skip' do as they say."""
    async with AsyncClient(letters.endpoint) as client:
        raising = client.map(NUMBERS[:3], "letters.odd", ordered=True)
        assert await anext(raising) == b"0"
        with pytest.raises(HandlerFailed, match="1 is odd"):
            await anext(raising)
        assert await anext(raising) == b"2"
        yielded = [each async for each in client.map(NUMBERS[:2], "letters.odd", ordered=True, errors="yield")]
        assert [type(each) for each in yielded] == [bytes, HandlerFailed]
        assert [each async for each in client.map(NUMBERS[:2], "letters.odd", errors="skip")] == [b"0"]


@in_loop
async def test_a_cancelled_wait_loses_no_result(letters: Cluster) -> None:
    """`asyncio.timeout` around `anext`: the result comes with a later `anext`."""
    async with AsyncClient(letters.endpoint) as client:
        results = client.map([b"1"], "letters.doze")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await anext(results)
        assert await anext(results) == b"1"


@in_loop
async def test_a_cancelled_call_is_forgotten(letters: Cluster) -> None:
    """The client goes on, and the late answer bothers nobody."""
    async with AsyncClient(letters.endpoint) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await client.call("letters.doze", b"1")
        assert await client.call("letters.doze", b"1.5") == b"1.5"


@in_loop
async def test_an_async_source_is_closed_with_its_job(letters: Cluster) -> None:
    """What a source holds open is let go when the client goes in the middle of the job."""
    closed = asyncio.Event()

    async def source() -> AsyncIterator[bytes]:
        try:
            yield b"x"
            await asyncio.sleep(3600)
        finally:
            closed.set()

    async with AsyncClient(letters.endpoint) as client:
        assert await anext(client.map(source(), "letters.echo")) == b"x"
    async with asyncio.timeout(10):
        await closed.wait()


@in_loop
async def test_a_cancelled_job_ends(letters: Cluster) -> None:
    """What is in flight ends as cancelled, and the ledger adds up."""
    async with AsyncClient(letters.endpoint) as client:
        job = client.job([b"0", b"30"], "letters.doze", errors="yield")
        results = client.submit()
        assert await anext(results) == b"0"
        job.cancel()
        assert [type(each).__name__ async for each in results] == [JobCancelled.__name__]
        assert tuple(job.ledger) == (2, 1, 1, 0, 0, 0)


@in_loop
async def test_a_client_closed_under_a_call_lets_it_go(letters: Cluster) -> None:
    """An error, not silence."""
    async with AsyncClient(letters.endpoint) as client:
        calling = asyncio.create_task(client.call("letters.doze", b"60"))
        await client.call("letters.echo", b"x")
        await client.aclose()
        with pytest.raises((JobCancelled, ClientClosed)):
            await calling
        with pytest.raises(ClientClosed):
            await client.call("letters.echo", b"x")


@in_loop
async def test_no_registry_is_said_within_the_timeout() -> None:
    """The endpoint that was tried, and the way out."""
    endpoint = f"127.0.0.1:{free_ports(1)[0]}"
    begin = time.monotonic()
    with pytest.raises(RegistryUnavailable, match=f"{endpoint}.*palm registry"):
        async with AsyncClient(endpoint, timeout=1):
            pass
    assert time.monotonic() - begin < 5


@in_loop
async def test_many_tasks_connect_a_client_once(letters: Cluster) -> None:
    """The first use connects; uses at the same time wait for that."""
    client = AsyncClient(letters.endpoint)
    assert await asyncio.gather(*(client.call("letters.echo", b"x") for _ in range(20))) == [b"x"] * 20
    await client.aclose()


@in_loop
async def test_a_survey_tells_who_lives(letters: Cluster) -> None:
    """Each instance with its own word about itself."""
    async with AsyncClient(letters.endpoint) as client:
        standings = await client.survey()
    assert [standing.instance.server for standing in standings] == ["letters", "other"]
    assert all(standing.pong is not None and standing.rate is not None for standing in standings)
