"""The registry's adapter on real etcds in containers that are killed, frozen and restarted under it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from palm.net.etcd.settings import EtcdSettings
from palm.net.registry import EtcdRegistry
from palm.ports.registry import Registry, Revision
from palm.testing.conformance.registry import CHECKS, Check
from tests.support.chaos import ACTIONS, Action, play, script
from tests.support.containers import Event, Member, etcd_members
from tests.support.witness import (
    LAST,
    LeaseKeeper,
    Writer,
    cancelled,
    differences,
    together,
    unkept,
    watch_to_the_end,
)

pytestmark = pytest.mark.containers

# CI runs all of it; the variable is for an impatient developer.
CHAOS_S = float(os.environ.get("PALM_CHAOS_S", "90"))
CHAOS_SEEDS = (11,)
CATCH_UP_S = 60.0
FROM_THE_FIRST = Revision(0)
# Over twice `probe_s`: a freeze this long is taken for a dead connection.
FAULT_S = 6.0
LEASE_TTL_S = 20


def registry_at(members: Sequence[Member]) -> Registry:
    return EtcdRegistry(EtcdSettings(endpoints=tuple(member.endpoint for member in members), timeout_s=3.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainedWorld:
    """A conformance world on one member."""

    member: Member
    registry: Registry
    prefix: str

    async def compact(self, revision: Revision) -> None:
        await asyncio.to_thread(self.member.etcdctl, "compact", str(revision))

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@pytest.fixture(scope="module")
def lasting_member() -> Iterator[Member]:
    """One etcd for all checks; each has a prefix of its own."""
    with etcd_members("solo") as (member,):
        yield member


@pytest.mark.conformance
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_etcd_in_a_container_keeps_the_port(lasting_member: Member, check: Check) -> None:
    """An etcd behind a container's mapped port does what the registry port promises."""

    async def checked() -> None:
        registry = registry_at([lasting_member])
        try:
            async with asyncio.timeout(60):
                await check(ContainedWorld(member=lasting_member, registry=registry, prefix=f"{check.__name__}/"))
        finally:
            await registry.aclose()

    asyncio.run(checked())


def strike(action: Action, member: Member) -> None:
    match action:
        case "kill":
            member.kill()
            time.sleep(FAULT_S)
            member.start()
        case "pause":
            member.pause()
            time.sleep(FAULT_S)
            member.unpause()
        case "restart":
            member.restart()
    member.wait_healthy()


@pytest.mark.parametrize("action", ACTIONS)
def test_watch_and_lease_survive_what_happens_to_etcd(action: Action) -> None:
    """An etcd that is killed, frozen or restarted under a watch and a lease: each event once, in order; lease kept."""

    async def under_load(member: Member) -> tuple[list[Event], Writer]:
        registry, prefix, seen = registry_at([member]), "load/", list[Event]()
        writer = Writer(registry=registry, prefix=prefix)
        keeper = await LeaseKeeper.begin(registry, "held/one", LEASE_TTL_S)
        watching = asyncio.create_task(watch_to_the_end(registry, prefix, FROM_THE_FIRST, seen))
        running = [asyncio.create_task(writer.run()), asyncio.create_task(keeper.run())]
        await writer.confirm_more(100, within_s=30)
        await asyncio.to_thread(strike, action, member)
        await writer.confirm_more(100, within_s=30)
        await writer.finish(within_s=30)
        async with asyncio.timeout(CATCH_UP_S):
            await watching
        await registry.keep_alive(keeper.lease.id)
        held = await registry.get("held/")
        assert [(record.key, record.lease, record.version) for record in held.records] == [
            ("held/one", keeper.lease.id, 1)
        ]
        await cancelled(*running)
        await registry.aclose()
        return seen, writer

    with etcd_members("solo") as (member,):
        seen, writer = asyncio.run(under_load(member))
        history = member.history("load/", "load/" + LAST)
    assert differences(history, seen) == []
    assert unkept(history, writer.confirmed) == []


@pytest.mark.timeout(CHAOS_S + 240)
@pytest.mark.parametrize("seed", CHAOS_SEEDS)
def test_no_watch_event_is_lost_doubled_or_out_of_order_under_chaos(seed: int) -> None:
    """Three members, killed, frozen and restarted in turn: every watcher sees etcd's own history, write for write."""
    prefix = "load/"

    async def under_chaos(members: Sequence[Member]) -> tuple[dict[str, list[Event]], Writer, LeaseKeeper]:
        writing, keeping = registry_at(members), registry_at(members)
        # Each watcher begins at another member, so that every member's end is somebody's end.
        rotations = [registry_at([*members[turn:], *members[:turn]]) for turn in range(len(members))]
        late = registry_at(members)
        seen: dict[str, list[Event]] = {name: [] for name in [*(member.name for member in members), "late"]}
        writer = Writer(registry=writing, prefix=prefix)
        keeper = await LeaseKeeper.begin(keeping, "held/one", LEASE_TTL_S)

        async def watch_late() -> None:
            await asyncio.sleep(CHAOS_S / 2)
            await watch_to_the_end(late, prefix, FROM_THE_FIRST, seen["late"])

        watching = [
            watch_to_the_end(registry, prefix, FROM_THE_FIRST, events)
            for registry, events in zip(rotations, seen.values(), strict=False)
        ]
        watchers = asyncio.create_task(together([*watching, watch_late()], CHAOS_S + 180))
        running = [asyncio.create_task(writer.run()), asyncio.create_task(keeper.run())]
        played = await play(script(seed, len(members), CHAOS_S), members, CHAOS_S)
        assert {action for action, _ in played.bitten} == set(ACTIONS)
        assert played.took_s >= CHAOS_S
        await writer.confirm_more(50, within_s=30)
        await writer.finish(within_s=30)
        async with asyncio.timeout(CATCH_UP_S):
            await watchers
        await keeping.keep_alive(keeper.lease.id)
        held = await keeping.get("held/")
        assert [(record.key, record.version) for record in held.records] == [("held/one", 1)]
        await cancelled(*running)
        for registry in (writing, keeping, late, *rotations):
            await registry.aclose()
        return seen, writer, keeper

    with etcd_members("one", "two", "three") as members:
        term = members[0].term
        seen, writer, keeper = asyncio.run(under_chaos(members))
        history = members[0].history(prefix, prefix + LAST)
        print(
            f"{len(history)} events, {len(writer.confirmed)} confirmed, {writer.failed} failed, "
            f"{keeper.renewed} renewals, {members[0].term - term} elections"
        )
        assert members[0].term > term or CHAOS_S < 90, "no leader was struck: the script did not bite"
    assert {name: differences(history, events)[:10] for name, events in seen.items()} == dict.fromkeys(seen, [])
    assert unkept(history, writer.confirmed) == []
