"""What every registry adapter must do when members of the registry fail, in checks that use nothing but the port.

Run each of `MEMBER_CHECKS` against a `MembersWorld` of three members that are all well; a check leaves them so. They
wait by `world.sleep` only. Times are those that users are promised: a member that is dead or silent costs a part of a
call, and never a lease.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Protocol

from palm.errors import Compacted, Indefinite, RegistryError, RegistryTimeout, RegistryUnavailable
from palm.ports.registry import Compare, LeaseId, Put, Registry, Revision, Watch

TTL_S = 4
ELECTION_S = 4.0
"""Etcd's members wait 1 to 2 s for a leader, and may vote twice."""


class MembersWorld(Protocol):
    """Three members. `prefix` ends with `/`, is this check's own, and begins empty."""

    @property
    def registry(self) -> Registry: ...

    @property
    def prefix(self) -> str: ...

    @property
    def call_s(self) -> float:
        """How long a call of `registry` may take."""
        ...

    def now(self) -> float:
        """Seconds, of whatever clock `sleep` uses."""
        ...

    async def sleep(self, seconds: float) -> None: ...

    async def leader(self) -> int:
        """The number of the member that leads."""
        ...

    async def kill(self, member: int) -> None: ...

    async def restart(self, member: int) -> None:
        """Start one that was killed, on its data, and wait until it serves."""
        ...

    async def freeze(self, member: int) -> None: ...

    async def thaw(self, member: int) -> None: ...

    async def compact(self, revision: Revision) -> None:
        """Drop all history below `revision`, by a member that is well."""
        ...


MemberCheck = Callable[[MembersWorld], Awaitable[None]]


async def check_a_dead_member_is_left_and_taken_again(world: MembersWorld) -> None:
    """Each member in turn is killed: calls go on within an election, a watch misses nothing, and when two have been
    dead before the third is, they are asked as if nothing had been."""
    lease = await world.registry.grant(TTL_S)
    watch, revisions = await _watched(world)
    for member in range(3):
        await world.kill(member)
        await _serves(world, lease.id, revisions)
        await world.restart(member)
        await _serves(world, lease.id, revisions)
    await _saw(watch, revisions)
    await world.registry.revoke(lease.id)


async def check_a_frozen_leader_is_left(world: MembersWorld) -> None:
    """Connections to it stand, and nothing comes: calls go on elsewhere, a watch sees what is written there while it is
    frozen, and the lease is kept."""
    lease = await world.registry.grant(TTL_S)
    watch, revisions = await _watched(world)
    member = await world.leader()
    await world.freeze(member)
    try:
        await _serves(world, lease.id, revisions)
        await _saw(watch, revisions, close=False)
        await _serves(world, lease.id, revisions)
    finally:
        await world.thaw(member)
    await _serves(world, lease.id, revisions)
    await _saw(watch, revisions)
    await world.registry.revoke(lease.id)


async def check_leases_begin_anew_with_a_leader(world: MembersWorld) -> None:
    """A lease that nobody renews, most of it gone when the leader dies, lasts its whole time again under the next one;
    then it ends."""
    lease = await world.registry.grant(TTL_S)
    await world.registry.put(world.prefix + "k", b"", lease.id)
    granted_at = world.now()
    await world.sleep(TTL_S - 1.0)
    member = await world.leader()
    await world.kill(member)
    try:
        await world.sleep(max(0.0, granted_at + TTL_S + 1.0 - world.now()))
        assert len((await world.registry.get(world.prefix)).records) == 1, "it ended as if nothing had happened"
        waited_from = world.now()
        while (await world.registry.get(world.prefix)).records:
            assert world.now() < waited_from + ELECTION_S + TTL_S + 6.0, "it does not end any more"
            await world.sleep(0.25)
    finally:
        await world.restart(member)


async def check_without_quorum_nothing_is_decided(world: MembersWorld) -> None:
    """Two of three are dead for longer than a lease: every call ends within its time with an error that says so, no
    lease ends, and a watch goes on where it was when they are back."""
    lease = await world.registry.grant(2)
    await world.registry.put(world.prefix + "leased", b"", lease.id)
    watch, revisions = await _watched(world)
    dead = [member for member in range(3) if member != await world.leader()]
    for member in dead:
        await world.kill(member)
    try:
        for call in (
            world.registry.put(world.prefix + "k", b"none"),
            world.registry.get(world.prefix),
            world.registry.transact([Compare(key=world.prefix + "t", target="version")], [Put(key="t", value=b"")]),
        ):
            began = world.now()
            error = await _error(call)
            assert isinstance(error, RegistryTimeout | RegistryUnavailable | Indefinite), repr(error)
            assert world.now() - began < world.call_s + 0.5, f"{error} after {world.now() - began:.1f} s"
    finally:
        for member in dead:
            await world.restart(member)
    names = [record.key.removeprefix(world.prefix) for record in (await world.registry.get(world.prefix)).records]
    assert "leased" in names, "a lease ended while nobody led"
    # What was asked for without a quorum may have been kept, and done since: a put is not taken back.
    revisions.append(await _put(world, b"last"))
    await _saw(watch, revisions)


async def check_an_unanswered_transaction_is_told_as_such(world: MembersWorld) -> None:
    """The leader is frozen as it is asked: what comes back is the answer, or `Indefinite` where it may have been
    applied; and what is there afterwards agrees with what was said."""
    key = world.prefix + "k"
    await world.registry.get(world.prefix)  # so that there is a connection
    member = await world.leader()
    await world.freeze(member)
    try:
        try:
            done = await world.registry.transact([Compare(key=key, target="version")], [Put(key=key, value=b"mine")])
        except RegistryError as error:
            may_be, must_be = isinstance(error, Indefinite), False
        else:
            may_be = must_be = done.succeeded
    finally:
        await world.thaw(member)
    await world.sleep(ELECTION_S)
    there = (await world.registry.get(world.prefix)).records
    assert len(there) <= int(may_be) and len(there) >= int(must_be), f"{there}, and {may_be=} {must_be=}"


async def check_a_slow_watch_over_a_compaction_has_no_gap(world: MembersWorld) -> None:
    """While a member is frozen history is made and compacted: a watch hands on all of it, or says `Compacted`; and then
    the listing has what it needs to go on."""
    watch, revisions = await _watched(world)
    member = await world.leader()
    await world.freeze(member)
    try:
        for number in range(5):
            revisions.append(await _put(world, b"%d" % number))
        await world.compact(revisions[-1])
    finally:
        await world.thaw(member)
    try:
        seen = await _next(watch, until=revisions[-1])
    except Compacted as error:
        assert error.compact_revision == revisions[-1]
        after = (await world.registry.get(world.prefix)).revision
    else:
        _nothing_is_missed(seen, revisions)
        after = revisions[-1]
    await watch.aclose()
    goes_on = world.registry.watch(world.prefix, after)
    await _saw(goes_on, [await _put(world, b"new")])


MEMBER_CHECKS: tuple[MemberCheck, ...] = tuple(
    check for name, check in list(globals().items()) if name.startswith("check_")
)
"""All of the above, in their order."""


# -- helpers -----------------------------------------------------------------------------------------------------------


async def _watched(world: MembersWorld) -> tuple[Watch, list[Revision]]:
    """A watch that has begun, and the revisions it is to hand on from now on."""
    first = await _put(world, b"")
    watch = world.registry.watch(world.prefix, Revision(first - 1))
    assert (await _next(watch, until=first))[0] == first
    return watch, []


async def _put(world: MembersWorld, value: bytes) -> Revision:
    """A write that is tried for as long as an election and a call may take. It may be applied more than once."""
    since = world.now()
    while True:
        try:
            return await world.registry.put(world.prefix + "k", value)
        except (RegistryTimeout, RegistryUnavailable):
            assert world.now() - since < ELECTION_S, "nobody takes a write"


async def _serves(world: MembersWorld, lease: LeaseId, revisions: list[Revision]) -> None:
    """A renewal is answered while the lease is good, each try within a quarter of it; then a write and its read are."""
    since = world.now()
    while True:
        began = world.now()
        try:
            await world.registry.keep_alive(lease)
            break
        except (RegistryTimeout, RegistryUnavailable):
            assert world.now() - began < TTL_S / 4 + 0.5, "a renewal waits for longer than a quarter of its lease"
            assert world.now() - since < ELECTION_S, "nobody renews the lease"
            await world.sleep(0.1)
    began = world.now()
    revisions.append(await _put(world, str(len(revisions)).encode()))
    assert (await world.registry.get(world.prefix)).revision >= revisions[-1]
    took_s = world.now() - began
    assert took_s < ELECTION_S + world.call_s, f"a put and a get took {took_s:.1f} s"


async def _saw(watch: Watch, revisions: list[Revision], *, close: bool = True) -> None:
    """Every revision once and in order. They are taken from the list."""
    _nothing_is_missed(await _next(watch, until=revisions[-1]), revisions)
    revisions.clear()
    if close:
        await watch.aclose()


def _nothing_is_missed(seen: list[Revision], revisions: list[Revision]) -> None:
    """All of them came, once and in order; a put that was repeated has made others beside them."""
    assert set(revisions) <= set(seen), f"{sorted(set(revisions) - set(seen))} did not come: {seen}"
    assert all(one < other for one, other in pairwise(seen)), f"doubled or out of order: {seen}"


async def _next(watch: Watch, until: int) -> list[Revision]:
    """The revisions that the watch hands on next, `until` the last of them."""
    seen: list[Revision] = []
    while not seen or seen[-1] < until:
        seen += [change.record.mod_revision for change in await anext(aiter(watch))]
    return seen


async def _error(call: Awaitable[object]) -> RegistryError:
    try:
        outcome = await call
    except RegistryError as error:
        return error
    raise AssertionError(f"without a quorum the answer was {outcome!r}")
