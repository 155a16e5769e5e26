"""The registry's suites on failing members and on users, on the simulated etcd."""

from __future__ import annotations

import pytest

from palm.errors import RegistryError
from palm.ports.registry import Registry, Revision
from palm.sim import registry as sim_registry
from palm.sim.draws import LogNormal
from palm.sim.kernel import NANOSECONDS
from palm.sim.network import Ends, Link
from palm.sim.registry import RegistrySettings
from palm.sim.registry_server import USER
from palm.sim.world import World
from palm.testing.conformance.registry_members import (
    MEMBER_CHECKS,
    MemberCheck,
    check_a_dead_member_is_left_and_taken_again,
)
from palm.testing.conformance.registry_users import USER_CHECKS, UserCheck
from tests.support.twin import twin

pytestmark = pytest.mark.conformance
LIMIT_NS = 600 * NANOSECONDS


class Simulated:
    """`MembersWorld` and `UsersWorld` in simulated time."""

    prefix = "/palm/conformance/"
    token_s = 2.0
    call_s = 5.0

    def __init__(self, seed: int, members: int) -> None:
        self.world = World(seed, registry_members=members)
        self.world.network.link(Ends("*", "*", True), Link(LogNormal(400_000, 3_000_000)))
        self.host = self.world.host("client")
        self.server = self.world.registry
        self._clients = 0

    def now(self) -> float:
        return self.world.kernel.now / NANOSECONDS

    async def sleep(self, seconds: float) -> None:
        await self.host.sleep(round(seconds * NANOSECONDS))

    async def compact(self, revision: Revision) -> None:
        self.server.compact(revision)

    async def leader(self) -> int:
        while self.server.members.leader is None:
            await self.sleep(0.05)
        return self.server.members.leader

    async def kill(self, member: int) -> None:
        self.server.crash(member)

    async def restart(self, member: int) -> None:
        self.server.restart(member)
        await self.leader()

    async def freeze(self, member: int) -> None:
        self.server.members.freeze(member, "frozen")

    async def thaw(self, member: int) -> None:
        self.server.members.thaw(member)


class SimMembers(Simulated):
    def __init__(self, seed: int) -> None:
        super().__init__(seed, 3)
        self.registry = self.host.registry


class SimUsers(Simulated):
    def __init__(self, seed: int) -> None:
        super().__init__(seed, 1)
        self.server.want_password(round(self.token_s * NANOSECONDS))

    async def set_password(self, password: str) -> None:
        assert self.server.auth is not None
        self.server.auth.set_password(USER, password)

    def registry(self, user: str, password: str) -> Registry:
        self._clients += 1
        settings = RegistrySettings(user=user, password=password)
        return self.world.host(f"client-{self._clients}", registry=settings).registry


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("check", MEMBER_CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_simulated_registry_survives_its_members(check: MemberCheck, seed: int) -> None:
    """Each check holds, whichever member the client begins with and whoever is elected."""
    world = SimMembers(seed)

    async def run() -> None:
        await check(world)

    world.world.kernel.complete(run(), limit_ns=LIMIT_NS)


def test_a_client_that_stays_at_a_dead_member_is_found_out() -> None:
    """Without the line that goes on to the next member the first check does not hold."""
    world = SimMembers(1)

    async def run() -> None:
        with pytest.raises((AssertionError, RegistryError)):
            await check_a_dead_member_is_left_and_taken_again(world)

    with twin(sim_registry, "            self._at = (self._at + 1) % len(self._lines)\n", "            pass\n"):
        world.world.kernel.complete(run(), limit_ns=LIMIT_NS)


@pytest.mark.parametrize("check", USER_CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_simulated_registry_knows_its_users(check: UserCheck) -> None:
    """Each check holds."""
    world = SimUsers(7)

    async def run() -> None:
        await check(world)

    world.world.kernel.complete(run(), limit_ns=LIMIT_NS)
