"""The registry's suites on failing members and on users, on real etcd processes: three, and one with passwords."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from palm.errors import RegistryError
from palm.net.etcd import channel
from palm.net.registry import EtcdRegistry
from palm.ports.registry import Registry, Revision
from palm.testing.conformance.registry_members import (
    MEMBER_CHECKS,
    MemberCheck,
    check_a_dead_member_is_left_and_taken_again,
)
from palm.testing.conformance.registry_users import USER_CHECKS, UserCheck
from palm.wire import etcd as wire
from tests.support.aio import in_loop
from tests.support.etcd import ROOT_PASSWORD, Cluster, call, etcd, etcd_with_auth
from tests.support.twin import twin

pytestmark = pytest.mark.conformance
TOKEN_S = 1


class RealClock:
    def now(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class RealMembers(RealClock):
    """`palm.testing.conformance.registry_members.MembersWorld`."""

    call_s = 3.0

    def __init__(self, cluster: Cluster, prefix: str) -> None:
        self._cluster = cluster
        self._dead: set[int] = set()
        self._frozen: set[int] = set()
        self.registry = EtcdRegistry(cluster.settings(timeout_s=self.call_s))
        self.prefix = prefix

    async def leader(self) -> int:
        while True:
            for number in self._well:
                endpoint = self._cluster.endpoints[number]
                status = await asyncio.to_thread(call, endpoint, wire.STATUS, wire.StatusRequest())
                if status.leader == status.header.member_id:
                    return number
            await asyncio.sleep(0.05)

    async def kill(self, member: int) -> None:
        self._cluster.members[member].kill()
        self._dead.add(member)

    async def restart(self, member: int) -> None:
        self._cluster.members[member].start()
        self._dead.discard(member)
        if not self._dead:
            for one in self._cluster.members:
                await asyncio.to_thread(one.wait_ready)

    async def freeze(self, member: int) -> None:
        self._cluster.members[member].freeze()
        self._frozen.add(member)

    async def thaw(self, member: int) -> None:
        self._cluster.members[member].thaw()
        self._frozen.discard(member)

    async def compact(self, revision: Revision) -> None:
        request = wire.CompactionRequest(revision=revision, physical=True)
        await asyncio.to_thread(call, self._cluster.endpoints[self._well[0]], wire.COMPACT, request)

    async def aclose(self) -> None:
        """All are well again, also after a check that failed."""
        await self.registry.aclose()
        for member in sorted(self._dead):
            await self.restart(member)

    @property
    def _well(self) -> list[int]:
        return [number for number in range(3) if number not in self._dead | self._frozen]


class RealUsers(RealClock):
    """`palm.testing.conformance.registry_users.UsersWorld`."""

    token_s = float(TOKEN_S)

    def __init__(self, cluster: Cluster, prefix: str) -> None:
        self._cluster = cluster
        self.prefix = prefix
        self.opened: list[EtcdRegistry] = []

    async def set_password(self, password: str) -> None:
        words = ("user", "passwd", "palm", "--interactive=false")
        root = f"root:{ROOT_PASSWORD}"
        await asyncio.to_thread(self._cluster.etcdctl, *words, user=root, stdin=f"{password}\n")

    def registry(self, user: str, password: str) -> Registry:
        registry = EtcdRegistry(self._cluster.settings(user=user, password=password))
        self.opened.append(registry)
        return registry


@pytest.fixture(scope="module")
def three() -> Iterator[Cluster]:
    """Of the older version: it has more of the faults that a client must live with."""
    with etcd("debian", members=3) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def guarded() -> Iterator[Cluster]:
    with etcd_with_auth("wheel", flags=[f"--auth-token-ttl={TOKEN_S}"]) as cluster:
        yield cluster


@pytest.mark.parametrize("check", MEMBER_CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@in_loop
async def test_real_etcd_survives_its_members(three: Cluster, check: MemberCheck) -> None:
    """Three real members through EtcdRegistry do what the simulated ones do."""
    world = RealMembers(three, f"/palm/{check.__name__}/")
    try:
        async with asyncio.timeout(90):
            await world.leader()  # the check before may have left them in an election
            await check(world)
    finally:
        await world.aclose()


@in_loop
async def test_a_client_that_stays_at_a_dead_member_is_found_out(three: Cluster) -> None:
    """Without the line that goes on to the next endpoint the first check does not hold."""
    world = RealMembers(three, "/palm/twin/")
    try:
        with twin(channel, "            self._next = (self._next + 1) % len(self)\n", "            pass\n"):
            async with asyncio.timeout(90):
                with pytest.raises((AssertionError, RegistryError)):
                    await check_a_dead_member_is_left_and_taken_again(world)
    finally:
        await world.aclose()


@pytest.mark.parametrize("check", USER_CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@in_loop
async def test_real_etcd_knows_its_users(guarded: Cluster, check: UserCheck) -> None:
    """A real etcd with authentication refuses and forgets as the simulated one does."""
    world = RealUsers(guarded, f"/palm/{check.__name__}/")
    try:
        async with asyncio.timeout(60):
            await check(world)
    finally:
        for registry in world.opened:
            await registry.aclose()
