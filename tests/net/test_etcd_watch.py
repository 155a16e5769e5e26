"""Rules 2 to 5: watches that outlive cut, stalled and dead connections, members and compactions, against real etcd."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import grpc
import grpc.aio
import pytest

from palm.errors import Compacted, RegistryUnavailable
from palm.net.registry import EtcdRegistry, EtcdSettings
from palm.ports.registry import Change, Put, Revision, Watch
from palm.wire import etcd as wire
from tests.support.aio import in_loop
from tests.support.etcd import FLAVOURS, Cluster, Flavour, etcd
from tests.support.proxy import Proxy, proxy_to

PREFIX = "/palm/"
PROBE_S = 0.5  # a quarter of the real one, so that tests are short; all bounds below are multiples of it


@pytest.fixture(scope="module", params=FLAVOURS)
def one(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Not stopped and not compacted by its tests."""
    with etcd(request.param) as cluster:
        yield cluster


@asynccontextmanager
async def opened(settings: EtcdSettings) -> AsyncIterator[EtcdRegistry]:
    registry = EtcdRegistry(settings)
    try:
        yield registry
    finally:
        await registry.aclose()


async def changes(watch: Watch, count: int, within_s: float = 20.0) -> list[Change]:
    got: list[Change] = []
    async with asyncio.timeout(within_s):
        while len(got) < count:
            got += await anext(aiter(watch))
    return got


async def write(registry: EtcdRegistry, count: int) -> list[tuple[str, int]]:
    """`count` puts, fifty in each revision; keys and their revisions."""
    written: list[tuple[str, int]] = []
    for at in range(0, count, 50):
        puts = [Put(key=f"{PREFIX}{number:05}", value=b"") for number in range(at, at + 50)]
        revision = (await registry.transact([], puts)).revision
        written += [(put.key, revision) for put in puts]
    return written


def seen(got: list[Change]) -> list[tuple[str, int]]:
    return [(change.record.key, change.record.mod_revision) for change in got]


@pytest.mark.timeout(180)
@in_loop
async def test_rule_02_a_watch_cut_in_mid_catch_up_is_exact(one: Cluster) -> None:
    """6,000 events of the past over a connection that is reset after each 450 kB come once each, in order.

    etcd catches up by a thousand revisions in one answer, here 300 kB: the second answer of each connection is torn.
    """
    async with opened(one.settings()) as writer:
        after = (await writer.get(PREFIX)).revision
        written: list[tuple[str, int]] = []
        for _ in range(60):
            keys = [f"{PREFIX}{number:02}" for number in range(100)]
            revisions = await asyncio.gather(*(writer.put(key, b"x" * 220) for key in keys))
            written += sorted(zip(keys, revisions, strict=True), key=lambda put: put[1])
    with proxy_to(one.endpoints[0]) as proxy:
        proxy.limit(450_000)
        async with opened(one.settings(endpoints=(proxy.endpoint,))) as registry:
            watch = registry.watch(PREFIX, after)
            assert seen(await changes(watch, 6_000, within_s=60)) == written
        assert proxy.cuts_by_limit >= 5, "the fault did not bite"


@in_loop
async def test_rule_02_a_watch_resumes_after_its_server_was_killed() -> None:
    """kill -9, writes by nobody, restart, writes: nothing lost, nothing twice, and within seconds."""
    with etcd("debian") as cluster:
        async with opened(cluster.settings(probe_s=PROBE_S)) as registry:
            after = (await registry.get(PREFIX)).revision
            watch = registry.watch(PREFIX, after)
            written = await write(registry, 500)
            assert seen(await changes(watch, 500)) == written
            await asyncio.to_thread(cluster.members[0].restart)
            more = await write(registry, 500)
            assert seen(await changes(watch, 500, within_s=5)) == more


@in_loop
async def test_rule_03_a_watch_from_a_listing_misses_nothing() -> None:
    """Cut off while a hundred changes are made and compacted, it says so; listing and watching from there goes on."""
    with etcd() as cluster, proxy_to(cluster.endpoints[0]) as proxy:
        async with (
            opened(cluster.settings()) as near,
            opened(cluster.settings(endpoints=(proxy.endpoint,), probe_s=PROBE_S)) as far,
        ):
            await near.put(PREFIX + "gone", b"")
            watch = far.watch(PREFIX, Revision(0))
            await changes(watch, 1)
            proxy.stall()
            await near.delete(PREFIX + "gone")
            await write(near, 100)
            last = await near.put(PREFIX + "last", b"")
            await asyncio.to_thread(cluster.compact, last)
            proxy.cut()
            proxy.resume()
            healed_at = time.monotonic()
            with pytest.raises(Compacted) as told:
                await changes(watch, 1)
            assert told.value.compact_revision == last
            listing = await far.get(PREFIX)
            assert time.monotonic() - healed_at < 5
            assert PREFIX + "gone" not in {record.key for record in listing.records}
            resumed = far.watch(PREFIX, listing.revision)
            new = await near.put(PREFIX + "new", b"")
            assert seen(await changes(resumed, 1)) == [(PREFIX + "new", new)]


@in_loop
async def test_rule_04_a_frozen_member_is_left() -> None:
    """The member that serves the watch is stopped by SIGSTOP: within two probes and a reconnect another serves it."""
    with etcd(members=3) as cluster:
        proxies = [Proxy(endpoint) for endpoint in cluster.endpoints]
        try:
            settings = cluster.settings(endpoints=tuple(proxy.endpoint for proxy in proxies), probe_s=PROBE_S)
            async with opened(settings) as registry, opened(cluster.settings()) as writer:
                after = (await writer.get(PREFIX)).revision
                watch = registry.watch(PREFIX, after)
                await writer.put(PREFIX + "a", b"")
                await changes(watch, 1)
                (served,) = [place for place, proxy in enumerate(proxies) if proxy.connections]
                cluster.members[served].freeze()
                try:
                    frozen_at = time.monotonic()
                    revision = await writer.put(PREFIX + "b", b"")
                    ((key, at),) = seen(await changes(watch, 1, within_s=10))
                    # An answer that the election took with it makes the put go out once more, at a later revision.
                    assert key == PREFIX + "b" and after + 1 < at <= revision
                    assert time.monotonic() - frozen_at < 2 * PROBE_S + 6, "an election may be part of it"
                finally:
                    cluster.members[served].thaw()
        finally:
            for proxy in proxies:
                proxy.close()


@in_loop
async def test_rule_04_a_quiet_watch_keeps_its_stream(one: Cluster) -> None:
    """Silence that is answered when asked is no fault: in eight probes nothing is connected anew."""
    with proxy_to(one.endpoints[0]) as proxy:
        async with opened(one.settings(endpoints=(proxy.endpoint,), probe_s=PROBE_S)) as registry:
            first = await registry.put(PREFIX + "quiet", b"")
            watch = registry.watch(PREFIX + "quiet", Revision(first - 1))
            await changes(watch, 1)
            before = one.members[0].calls("Watch")
            await asyncio.sleep(8 * PROBE_S)
            second = await registry.put(PREFIX + "quiet", b"")
            assert seen(await changes(watch, 1)) == [(PREFIX + "quiet", second)]
            assert one.members[0].calls("Watch") == before, "a stream was ended"
        assert proxy.connections == 1


class MuteServer:
    """An etcd that leaves progress requests unanswered, as 3.4.25-30 and 3.5.8-12 do; with `reads` it answers reads."""

    def __init__(self, *, reads: bool) -> None:
        self.streams = 0
        self.reads_asked = 0
        self._reads = reads
        self._server = grpc.aio.server()
        self.endpoint = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        kv = grpc.unary_unary_rpc_method_handler(self._range, wire.RANGE.parse_request, wire.RANGE.serialize)
        watch = grpc.stream_stream_rpc_method_handler(self._watch, wire.WATCH.parse_request, wire.WATCH.serialize)
        self._server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(wire.RANGE.service, {wire.RANGE.name: kv}),
                grpc.method_handlers_generic_handler(wire.WATCH.service, {wire.WATCH.name: watch}),
            )
        )

    async def __aenter__(self) -> MuteServer:
        await self._server.start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._server.stop(None)

    async def _range(self, request: wire.RangeRequest, context: object) -> wire.RangeResponse:
        self.reads_asked += 1
        if not self._reads:
            await asyncio.Event().wait()
        return wire.RangeResponse(header=wire.ResponseHeader(cluster_id=1, revision=100))

    async def _watch(
        self, requests: AsyncIterator[wire.WatchRequest], context: object
    ) -> AsyncIterator[wire.WatchResponse]:
        self.streams += 1
        number = self.streams
        async for request in requests:
            if request.HasField("create_request"):
                header = wire.ResponseHeader(cluster_id=1, revision=100)
                yield wire.WatchResponse(header=header, created=True)
                key = request.create_request.key + str(number).encode()
                kv = wire.KeyValue(key=key, mod_revision=request.create_request.start_revision, version=1)
                yield wire.WatchResponse(header=header, events=[wire.Event(kv=kv)])


@in_loop
async def test_rule_04_a_server_that_answers_no_progress_is_kept_while_it_answers_reads() -> None:
    """Asked by a read on the same channel, it shows that it lives, and the stream stays."""
    async with MuteServer(reads=True) as server:
        async with opened(EtcdSettings(endpoints=(server.endpoint,), probe_s=0.2)) as registry:
            watch = registry.watch(PREFIX, Revision(10))
            await changes(watch, 1)
            await asyncio.sleep(2)
        assert server.reads_asked >= 3
        assert server.streams == 1


@in_loop
async def test_rule_04_a_server_that_answers_nothing_is_left() -> None:
    """No progress and no read within two probes: the watch is made anew, from what was delivered."""
    async with MuteServer(reads=False) as server:
        async with opened(EtcdSettings(endpoints=(server.endpoint,), probe_s=0.2)) as registry:
            watch = registry.watch(PREFIX, Revision(10))
            begun_at = time.monotonic()
            got = await changes(watch, 2)
            assert seen(got) == [(PREFIX + "1", 11), (PREFIX + "2", 12)]
            assert 0.4 <= time.monotonic() - begun_at < 3
        assert server.streams == 2


@in_loop
async def test_rule_05_a_dead_connection_is_replaced_by_a_new_one(one: Cluster) -> None:
    """The line goes dead without a reset: within two probes and a little the watch goes on, over a new connection."""
    with proxy_to(one.endpoints[0]) as proxy:
        async with (
            opened(one.settings(endpoints=(proxy.endpoint,), probe_s=PROBE_S)) as registry,
            opened(one.settings()) as writer,
        ):
            after = (await writer.get(PREFIX)).revision
            watch = registry.watch(PREFIX, after)
            await writer.put(PREFIX + "a", b"")
            await changes(watch, 1)
            proxy.stall(new_too=False)
            dead_at = time.monotonic()
            revision = await writer.put(PREFIX + "b", b"")
            assert seen(await changes(watch, 1)) == [(PREFIX + "b", revision)]
            assert PROBE_S < time.monotonic() - dead_at < 2 * PROBE_S + 1.5
        assert proxy.held_bytes > 0, "the fault did not bite"
        assert proxy.connections == 2


@in_loop
async def test_rule_05_calls_leave_a_dead_connection_too(one: Cluster) -> None:
    """A call that gets no answer throws the channel away, so that the next one is answered over a new connection."""
    with proxy_to(one.endpoints[0]) as proxy:
        async with opened(one.settings(endpoints=(proxy.endpoint,), timeout_s=1.0)) as registry:
            await registry.get(PREFIX)
            proxy.stall(new_too=False)
            with pytest.raises(Exception, match="no answer"):
                await registry.get(PREFIX)
            begun_at = time.monotonic()
            await registry.get(PREFIX)
            assert time.monotonic() - begun_at < 0.5
        assert proxy.connections == 2


@in_loop
async def test_rule_05_two_registries_of_one_process_share_no_connection(one: Cluster) -> None:
    """Else throwing one's channel away would leave the other's dead connection in use."""
    with proxy_to(one.endpoints[0]) as proxy:
        settings = one.settings(endpoints=(proxy.endpoint,))
        async with opened(settings) as first, opened(settings) as second:
            await first.get(PREFIX)
            await second.get(PREFIX)
        assert proxy.connections == 2


@pytest.mark.parametrize("flavour", FLAVOURS)
@in_loop
async def test_rule_08_a_member_without_quorum_ends_the_watch(flavour: Flavour) -> None:
    """The other two members are killed: the third ends the stream by itself; once they are back the watch goes on."""
    with etcd(flavour, members=3) as cluster:
        left, *others = cluster.members
        async with opened(cluster.settings(endpoints=(left.endpoint,), probe_s=PROBE_S, timeout_s=1)) as registry:
            after = (await registry.get(PREFIX)).revision
            watch = registry.watch(PREFIX, after)
            written = await write(registry, 100)
            assert seen(await changes(watch, 100)) == written
            for member in others:
                member.kill()
            async with asyncio.timeout(10):
                while not left.calls("Watch"):
                    await asyncio.sleep(0.2)
            with pytest.raises(RegistryUnavailable, match="no leader.*bring the others back"):
                await registry.get(PREFIX)
            for member in others:
                member.start()
            for member in cluster.members:
                await asyncio.to_thread(member.wait_ready)
            healed_at = time.monotonic()
            written = await write(registry, 100)
            assert seen(await changes(watch, 100)) == written
            assert time.monotonic() - healed_at < 3


@in_loop
async def test_another_store_behind_the_same_address_is_told() -> None:
    """etcd lost its data: revisions begin anew, so the place to resume from is gone."""
    with etcd() as cluster:
        async with opened(cluster.settings(probe_s=PROBE_S)) as registry:
            watch = registry.watch(PREFIX, (await registry.get(PREFIX)).revision)
            await write(registry, 500)
            await changes(watch, 500)
            (member,) = cluster.members
            member.kill()
            member.forget()
            await asyncio.to_thread(member.restart)
            with pytest.raises(Compacted, match="another store"):
                await changes(watch, 1)
            assert (await registry.get(PREFIX)).records == ()


@in_loop
async def test_a_cancelled_reader_loses_nothing(one: Cluster) -> None:
    """Readers that give up waiting, again and again, take nothing with them."""
    async with opened(one.settings()) as registry:
        watch = registry.watch(PREFIX, (await registry.get(PREFIX)).revision)
        writing = asyncio.create_task(write(registry, 2_000))
        got: list[Change] = []
        while len(got) < 2_000:
            try:
                async with asyncio.timeout(0.0005):
                    got += await anext(watch)
            except TimeoutError:
                await asyncio.sleep(0)
        assert seen(got) == await writing


@in_loop
async def test_closing_a_watch_ends_a_reader_that_waits(one: Cluster) -> None:
    """Its iteration ends; nothing is raised."""
    async with opened(one.settings()) as registry:
        watch = registry.watch(PREFIX + "never/", Revision(0))

        async def read() -> list[tuple[Change, ...]]:
            return [item async for item in watch]

        reading = asyncio.create_task(read())
        await asyncio.sleep(0.1)
        await watch.aclose()
        async with asyncio.timeout(1):
            assert await reading == []
