"""Rules 6 to 9, 11 to 14: what calls do when connections, members and etcd itself fail, against real etcd."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from palm.errors import (
    Indefinite,
    RegistryError,
    RegistryRefused,
    RegistryTimeout,
    RegistryUnavailable,
)
from palm.net.registry import EtcdRegistry, EtcdSettings
from palm.ports.registry import Put, Revision
from tests.support.aio import in_loop, until
from tests.support.etcd import FLAVOURS, Cluster, etcd, free_ports
from tests.support.proxy import Proxy, proxy_to

PREFIX = "/palm/"


@pytest.fixture(scope="module", params=FLAVOURS)
def one(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Not stopped and not compacted by its tests."""
    with etcd(request.param) as cluster:
        yield cluster


@pytest.fixture
def proxy(one: Cluster) -> Iterator[Proxy]:
    with proxy_to(one.endpoints[0]) as proxy:
        yield proxy


@asynccontextmanager
async def opened(settings: EtcdSettings) -> AsyncIterator[EtcdRegistry]:
    registry = EtcdRegistry(settings)
    try:
        yield registry
    finally:
        await registry.aclose()


@in_loop
async def test_a_short_silence_ends_no_connection(one: Cluster, proxy: Proxy) -> None:
    """A call that had a tenth of a second fails alone; the connection, which others may use, stays."""
    async with opened(one.settings(endpoints=(proxy.endpoint,), timeout_s=0.1)) as hasty:
        await until(lambda: _answered(hasty), within_s=5)
        before = proxy.connections
        proxy.stall()
        with pytest.raises(RegistryTimeout):
            await hasty.get(PREFIX)
        proxy.resume()
        await until(lambda: _answered(hasty), within_s=5)
    assert proxy.connections == before


@in_loop
async def test_rule_06_a_channel_thrown_away_cancels_nobody(one: Cluster, proxy: Proxy) -> None:
    """A call that waits on a dead connection, when a watch finds that out, goes on over the new one."""
    async with opened(one.settings(endpoints=(proxy.endpoint,), probe_s=0.3, timeout_s=8)) as registry:
        watch = registry.watch(PREFIX, Revision(0))
        await registry.put(PREFIX + "k", b"")
        await anext(watch)
        proxy.stall(new_too=False)
        begun_at = time.monotonic()
        await registry.put(PREFIX + "k", b"late")
        assert 0.3 < time.monotonic() - begun_at < 3
    assert proxy.connections == 2


@in_loop
async def test_rule_06_a_real_cancel_is_one(one: Cluster, proxy: Proxy) -> None:
    """A cancelled task ends as cancelled, at once, and may still use the registry to clean up."""
    async with opened(one.settings(endpoints=(proxy.endpoint,), timeout_s=8)) as registry:
        lease = await registry.grant(60)
        begun, cleaned = asyncio.Event(), asyncio.Event()

        async def work() -> None:
            begun.set()
            try:
                await registry.get(PREFIX)
            finally:
                await registry.revoke(lease.id)
                cleaned.set()

        proxy.stall()
        task = asyncio.create_task(work())
        await begun.wait()
        await until(lambda: _true(proxy.held_bytes > 0), within_s=5)
        task.cancel()
        proxy.resume()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert cleaned.is_set()


async def _true(value: bool) -> bool:
    return value


@in_loop
async def test_rule_06_a_cancelled_task_that_cleans_up_survives_a_dead_connection(one: Cluster, proxy: Proxy) -> None:
    """Cancelled before, it is not taken for cancelled again when its last call's channel is thrown away."""
    async with opened(one.settings(endpoints=(proxy.endpoint,), probe_s=0.3, timeout_s=8)) as registry:
        watch = registry.watch(PREFIX, Revision(0))
        await registry.put(PREFIX + "k", b"")
        await anext(watch)
        begun, cleaned = asyncio.Event(), asyncio.Event()

        async def work() -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                proxy.stall(new_too=False)
                await registry.put(PREFIX + "k", b"cleaned up")
                cleaned.set()

        task = asyncio.create_task(work())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert cleaned.is_set()
    assert proxy.connections == 2


@in_loop
async def test_rule_07_every_call_has_a_deadline(one: Cluster, proxy: Proxy) -> None:
    """On a line that has gone dead each operation ends within its time, with an error that says so."""
    async with opened(one.settings(endpoints=(proxy.endpoint,), timeout_s=0.6)) as registry:
        lease = await registry.grant(4)
        calls: dict[str, Callable[[], Coroutine[Any, Any, object]]] = {
            "get": lambda: registry.get(PREFIX),
            "put": lambda: registry.put(PREFIX + "k", b""),
            "delete": lambda: registry.delete(PREFIX + "k"),
            "grant": lambda: registry.grant(5),
            "keep_alive": lambda: registry.keep_alive(lease.id),
            "revoke": lambda: registry.revoke(lease.id),
            "transact": lambda: registry.transact([], []),
        }
        proxy.stall()
        for name, call in calls.items():
            begun_at = time.monotonic()
            with pytest.raises(RegistryError) as told:
                await call()
            assert 0.5 < time.monotonic() - begun_at < 1.6, name
            assert not told.value.definite, name


@in_loop
async def test_rule_07_a_transaction_whose_answer_is_lost_is_indefinite(one: Cluster, proxy: Proxy) -> None:
    """It was applied, once; the error says that it may have been."""
    async with opened(one.settings(endpoints=(proxy.endpoint,), timeout_s=1)) as registry:
        await registry.get(PREFIX)
        proxy.hold_answers()
        with pytest.raises(Indefinite, match="may have been applied"):
            await registry.transact([], [Put(key=PREFIX + "t", value=b"mine")])
        (record,) = (await registry.get(PREFIX + "t")).records
        assert (record.value, record.version) == (b"mine", 1)
    assert proxy.held_bytes > 0, "the fault did not bite"


@in_loop
async def test_rule_07_a_put_whose_answer_is_lost_is_repeated(one: Cluster, proxy: Proxy) -> None:
    """The caller sees no error, and the key has two versions."""
    with proxy_to(one.endpoints[0]) as second:
        settings = one.settings(endpoints=(proxy.endpoint, second.endpoint), timeout_s=2)
        async with opened(settings) as registry:
            await registry.get(PREFIX)
            proxy.hold_answers()
            second.hold_answers()
            await registry.put(PREFIX + "p", b"")
            (record,) = (await registry.get(PREFIX + "p")).records
            assert record.version == 2


@in_loop
async def test_rule_07_a_revoke_whose_answer_is_lost_succeeds(one: Cluster, proxy: Proxy) -> None:
    """The second try finds no lease, because the first has ended it."""
    with proxy_to(one.endpoints[0]) as second:
        settings = one.settings(endpoints=(proxy.endpoint, second.endpoint), timeout_s=2)
        async with opened(settings) as registry:
            lease = await registry.grant(60)
            proxy.hold_answers()
            second.hold_answers()
            await registry.revoke(lease.id)


@in_loop
async def test_rule_07_a_transaction_that_was_not_sent_is_no_riddle() -> None:
    """Nobody listens: it certainly was not applied, so the error is not Indefinite."""
    (port,) = free_ports(1)
    async with opened(EtcdSettings(endpoints=(f"127.0.0.1:{port}",), timeout_s=0.5)) as registry:
        with pytest.raises(RegistryUnavailable):
            await registry.transact([], [Put(key=PREFIX + "k", value=b"")])


@in_loop
async def test_rule_08_calls_fail_over() -> None:
    """With one of three members killed, then one frozen in its place, every call is answered."""
    with etcd(members=3) as cluster:
        async with opened(cluster.settings()) as registry:
            for member in cluster.members:
                member.kill()
                await _serves(registry, 12)
                await asyncio.to_thread(member.restart)
                member.freeze()
                await _serves(registry, 12)
                member.thaw()
                await asyncio.to_thread(member.wait_ready)


async def _serves(registry: EtcdRegistry, puts: int) -> None:
    """Puts are answered within the deadline of one call each, an election included."""
    for number in range(puts):
        await registry.put(f"{PREFIX}{number}", b"")


@in_loop
async def test_rule_08_time_is_shared_among_the_members(one: Cluster, proxy: Proxy) -> None:
    """Two dead lines before a live one cost two shares of the time, not all of it."""
    with proxy_to(one.endpoints[0]) as other:
        settings = one.settings(endpoints=(proxy.endpoint, other.endpoint, one.endpoints[0]), timeout_s=3)
        proxy.stall()
        other.stall()
        async with opened(settings) as registry:
            begun_at = time.monotonic()
            await registry.put(PREFIX + "k", b"")
            assert time.monotonic() - begun_at < 2.6


@in_loop
async def test_rule_09_a_renewal_takes_a_quarter_of_the_lease_at_most(one: Cluster, proxy: Proxy) -> None:
    """On a dead line it ends after ttl/4, whatever `timeout_s` says."""
    async with opened(one.settings(endpoints=(proxy.endpoint,), timeout_s=30)) as registry:
        lease = await registry.grant(4)
        assert await registry.keep_alive(lease.id) == 4
        proxy.stall()
        begun_at = time.monotonic()
        with pytest.raises(RegistryError):
            await registry.keep_alive(lease.id)
        assert 0.9 < time.monotonic() - begun_at < 1.6


@in_loop
async def test_rule_09_renewals_go_round_the_endpoints(one: Cluster, proxy: Proxy) -> None:
    """A dead line costs a part of the quarter; the next endpoint renews in the same call, and is asked first after."""
    settings = one.settings(endpoints=(proxy.endpoint, one.endpoints[0]), timeout_s=30)
    async with opened(settings) as registry:
        lease = await registry.grant(8)
        proxy.stall()
        for _ in range(2):
            begun_at = time.monotonic()
            assert await registry.keep_alive(lease.id) == 8
            assert time.monotonic() - begun_at < 1.6
        assert time.monotonic() - begun_at < 0.5


@in_loop
async def test_rule_11_listings_of_any_size_come_in_pages(one: Cluster) -> None:
    """A page that is over 16 MiB is asked for again in smaller parts."""
    async with opened(one.settings()) as registry:
        for at in range(0, 900, 30):
            puts = [Put(key=f"{PREFIX}large/{number:04}", value=b"x" * 25_000) for number in range(at, at + 30)]
            await registry.transact([], puts)
        records = (await registry.get(PREFIX + "large/")).records
        assert [record.key for record in records] == [f"{PREFIX}large/{number:04}" for number in range(900)]
        assert sum(len(record.value) for record in records) > 16 * 2**20


@in_loop
async def test_rule_12_listings_are_linearizable() -> None:
    """What one member has confirmed is in the very next listing of every other: anti-entropy can rely on it."""
    with etcd(members=3) as cluster:
        async with (
            opened(cluster.settings(endpoints=cluster.endpoints[:1])) as writer,
            opened(cluster.settings(endpoints=cluster.endpoints[1:2])) as one,
            opened(cluster.settings(endpoints=cluster.endpoints[2:])) as two,
        ):
            for number in range(50):
                revision = await writer.put(PREFIX + "k", str(number).encode())
                for reader in (one, two):
                    listing = await reader.get(PREFIX)
                    assert (listing.records[0].mod_revision, listing.revision) == (revision, revision)


@in_loop
async def test_rule_13_a_forked_child_is_refused(one: Cluster) -> None:
    """It is told to be spawned instead; the parent's registry is unharmed."""
    async with opened(one.settings()) as registry:
        await registry.get(PREFIX)
        reads, writes = os.pipe()
        child = os.fork()
        if child == 0:
            text = b"served"
            try:
                registry.get(PREFIX).send(None)
            except RegistryRefused as error:
                text = str(error).encode()
            finally:
                os.write(writes, text)
                os._exit(0)
        os.waitpid(child, 0)
        assert b"spawn" in os.read(reads, 1000)
        os.close(reads)
        os.close(writes)
        await registry.get(PREFIX)


@in_loop
async def test_rule_13_calls_are_answered_soon_after_etcd_is_back() -> None:
    """Away for five seconds, in which grpc has backed off: the first answer comes within 2.5 s of its return."""
    with etcd() as cluster:
        async with opened(cluster.settings(timeout_s=1.0)) as registry:
            await registry.put(PREFIX + "k", b"")
            (member,) = cluster.members
            member.kill()
            for _ in range(5):
                with pytest.raises(RegistryUnavailable):
                    await registry.get(PREFIX)
            await asyncio.to_thread(member.restart)
            back_at = time.monotonic()
            await until(lambda: _answered(registry), within_s=10)
            assert time.monotonic() - back_at < 2.5


@in_loop
async def test_rule_13_connecting_is_tried_every_two_seconds(one: Cluster, proxy: Proxy) -> None:
    """However long etcd is away, no pause between two tries to connect is longer (grpc's default grows to minutes)."""
    async with opened(one.settings(endpoints=(proxy.endpoint,), timeout_s=1.0)) as registry:
        proxy.cut(refuse=True)
        asking = asyncio.create_task(_ask_for_ever(registry))
        pauses: list[float] = []
        tried, tried_at = 0, time.monotonic()
        while sum(pauses) < 10:
            while proxy.connections == tried:
                await asyncio.sleep(0.02)
            tried, now = proxy.connections, time.monotonic()
            pauses.append(now - tried_at)
            tried_at = now
        asking.cancel()
        await asyncio.wait({asking})
    assert max(pauses) < 2.6, pauses  # grpc adds up to a fifth


async def _ask_for_ever(registry: EtcdRegistry) -> None:
    while True:
        await _answered(registry)


async def _answered(registry: EtcdRegistry) -> bool:
    try:
        await registry.get(PREFIX)
    except (RegistryTimeout, RegistryUnavailable):
        return False
    return True


@in_loop
async def test_rule_14_unavailable_says_what_was_tried_and_what_to_do() -> None:
    """Endpoints with their causes, operation, time spent, way out; once, within the deadline."""
    endpoints = tuple(f"127.0.0.1:{port}" for port in free_ports(2))
    async with opened(EtcdSettings(endpoints=endpoints, timeout_s=0.7)) as registry:
        with pytest.raises(RegistryUnavailable) as told:
            await registry.put(PREFIX + "k", b"")
    text = str(told.value)
    for endpoint in endpoints:
        assert f"{endpoint} (connection refused)" in text
    assert "Put" in text
    assert "within 0.7 s" in text
    assert "PALM_ETCD" in text and "palm registry" in text
    assert len(text) < 400


@in_loop
async def test_rule_14_a_silent_endpoint_is_a_timeout(one: Cluster, proxy: Proxy) -> None:
    """Somebody was there and did not answer: another error, with another way out."""
    async with opened(one.settings(endpoints=(proxy.endpoint,), timeout_s=0.6)) as registry:
        await registry.get(PREFIX)
        proxy.stall()
        with pytest.raises(RegistryTimeout, match=f"Put within 0.6 s.*{proxy.endpoint} .no answer.*timeout_s"):
            await registry.put(PREFIX + "k", b"")


@in_loop
async def test_rule_14_a_refusal_names_the_limit(one: Cluster) -> None:
    """Too large a value: endpoint, operation, and etcd's option."""
    async with opened(one.settings()) as registry:
        with pytest.raises(RegistryRefused, match=f"{one.endpoints[0]} refused Put .*--max-request-bytes"):
            await registry.put(PREFIX + "k", b"x" * 1_600_000)


@in_loop
async def test_a_full_etcd_refuses_writes_and_says_how_to_go_on() -> None:
    """NOSPACE is definite and names its cure; reads and renewals go on."""
    with etcd(flags=[f"--quota-backend-bytes={16 * 2**20}"]) as cluster:
        async with opened(cluster.settings()) as registry:
            lease = await registry.grant(60)
            with pytest.raises(RegistryRefused, match="--quota-backend-bytes"):
                # etcd counts its size when it commits a batch, a tenth of a second late: more than 16 may pass.
                for number in range(300):
                    await registry.put(f"{PREFIX}{number}", b"x" * 1_000_000)
            assert await registry.keep_alive(lease.id) == 60
            assert (await registry.get(PREFIX)).records


@in_loop
async def test_a_closed_registry_says_so(one: Cluster) -> None:
    """Calls after `aclose` are refused; closing twice is harmless."""
    registry = EtcdRegistry(one.settings())
    await registry.get(PREFIX)
    await registry.aclose()
    await registry.aclose()
    with pytest.raises(RegistryUnavailable, match="closed"):
        await registry.get(PREFIX)


@in_loop
async def test_keys_in_bad_utf8_are_listed_and_can_be_deleted(one: Cluster) -> None:
    """A foreign key that is no text does not break a listing."""
    await asyncio.to_thread(one.etcdctl, "put", b"/palm/bad\xff".decode("utf-8", "surrogateescape"), "value")
    async with opened(one.settings()) as registry:
        (record,) = (await registry.get("/palm/bad")).records
        assert record.key == "/palm/bad\udcff"
        assert await registry.delete(record.key) == 1


@in_loop
async def test_status_tells_of_each_member(one: Cluster) -> None:
    """Version and leader of one that is up; of one that is down, why."""
    (port,) = free_ports(1)
    async with opened(one.settings(endpoints=(*one.endpoints, f"127.0.0.1:{port}"), timeout_s=0.5)) as registry:
        up, down = await registry.status()
    assert up.version in ("3.4.23", "3.5.1")
    assert up.member_id == up.leader_id != 0
    assert not up.trouble
    assert "connection refused" in down.trouble
