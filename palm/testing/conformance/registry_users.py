"""What every registry adapter must do about users, passwords and tokens, in checks that use nothing but the port.

The registry of a `UsersWorld` knows the user `palm` with the password `secret`, who may use keys under `/palm/`, and
forgets a token that nobody has used for `token_s`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from palm.errors import AuthRefused, RegistryError
from palm.ports.registry import Compare, Put, Registry, Revision, Watch

AT_ONCE_S = 3.0
"""A refusal is definite, and no reason to try for long."""


class UsersWorld(Protocol):
    """`prefix` is under `/palm/`, ends with `/`, and begins empty."""

    @property
    def prefix(self) -> str: ...

    @property
    def token_s(self) -> float: ...

    def registry(self, user: str, password: str) -> Registry:
        """A client of its own, closed by the world. No user: it shows nothing."""
        ...

    async def set_password(self, password: str) -> None:
        """Of the user `palm`, by somebody who may."""
        ...

    def now(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...


UserCheck = Callable[[UsersWorld], Awaitable[None]]


async def check_the_right_password_serves(world: UsersWorld) -> None:
    """Leases, writes, reads, transactions and watches, under the role's prefix."""
    registry = world.registry("palm", "secret")
    lease = await registry.grant(30)
    key = world.prefix + "k"
    first = await registry.put(key, b"1", lease.id)
    done = await registry.transact([Compare(key=key, target="version", value=1)], [Put(key=key, value=b"2")])
    assert done.succeeded and await registry.keep_alive(lease.id) == 30
    assert [record.value for record in (await registry.get(world.prefix)).records] == [b"2"]
    watch = registry.watch(world.prefix, Revision(first - 1))
    assert await _first(watch, 2) == [first, done.revision]
    await registry.revoke(lease.id)


async def check_a_wrong_password_is_refused(world: UsersWorld) -> None:
    """Every call and watch is `AuthRefused`, at once, and nobody is shown the password."""
    await _refused(world, world.registry("palm", "wrong-password"), world.prefix, lease_too=True)
    await _refused(world, world.registry("nobody", "wrong-password"), world.prefix, lease_too=True)


async def check_who_shows_nothing_is_refused(world: UsersWorld) -> None:
    """The same without a user."""
    await _refused(world, world.registry("", ""), world.prefix, lease_too=False)


async def check_keys_of_others_are_refused(world: UsersWorld) -> None:
    """What is not under the role's prefix is not this user's, nor is a prefix that only begins like it."""
    registry = world.registry("palm", "secret")
    for prefix in ("/other/", "/pal", "/"):
        await _refused(world, registry, prefix, lease_too=False)
    assert (await registry.get(world.prefix)).records == ()


async def check_a_token_that_is_forgotten_is_replaced_unseen(world: UsersWorld) -> None:
    """Idle for longer than a token lives: the next call works, whatever it is, and so does a watch."""
    registry = world.registry("palm", "secret")
    key = world.prefix + "k"
    lease = await registry.grant(60)
    first = await registry.put(key, b"1", lease.id)
    await world.sleep(2.5 * world.token_s)
    assert await registry.keep_alive(lease.id) == 60
    second = await registry.put(key, b"2", lease.id)
    await world.sleep(2.5 * world.token_s)
    watch = registry.watch(world.prefix, Revision(first - 1))
    assert await _first(watch, 2) == [first, second]
    await world.sleep(2.5 * world.token_s)
    done = await registry.transact([Compare(key=key, target="version", value=2)], [Put(key=key, value=b"3")])
    assert done.succeeded
    await registry.revoke((await registry.grant(60)).id)
    await registry.revoke(lease.id)


async def check_a_changed_password_ends_what_was_trusted(world: UsersWorld) -> None:
    """Who was served is refused from then on, for calls and new watches, and a new client too; once the password is
    what it was a new client is served."""
    registry = world.registry("palm", "secret")
    await registry.put(world.prefix + "k", b"1")
    await world.set_password("another")
    try:
        await _refused(world, registry, world.prefix, lease_too=True)
        await _refused(world, world.registry("palm", "secret"), world.prefix, lease_too=True)
        await world.registry("palm", "another").put(world.prefix + "k", b"2")
    finally:
        await world.set_password("secret")
    (record,) = (await world.registry("palm", "secret").get(world.prefix)).records
    assert record.value == b"2"


USER_CHECKS: tuple[UserCheck, ...] = tuple(
    check for name, check in list(globals().items()) if name.startswith("check_")
)
"""All of the above, in their order."""


# -- helpers -----------------------------------------------------------------------------------------------------------


async def _first(watch: Watch, count: int) -> list[Revision]:
    """The revisions of the first `count` changes; then it is closed."""
    seen: list[Revision] = []
    while len(seen) < count:
        seen += [change.record.mod_revision for change in await anext(aiter(watch))]
    await watch.aclose()
    return seen


async def _refused(world: UsersWorld, registry: Registry, prefix: str, *, lease_too: bool) -> None:
    """Every kind of request; `lease_too`: also one that is about no key."""
    key = prefix + "k"
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: registry.put(key, b""),
        lambda: registry.get(prefix),
        lambda: registry.delete(key),
        lambda: registry.transact([], [Put(key=key, value=b"")]),
        lambda: registry.transact([Compare(key=key, target="version")], []),
        lambda: anext(aiter(registry.watch(prefix, Revision(0)))),
    ]
    if lease_too:
        calls.append(lambda: registry.grant(30))
    for number, call in enumerate(calls):
        began = world.now()
        try:
            outcome = await call()
        except RegistryError as error:
            assert type(error) is AuthRefused, f"call {number} of {prefix!r}: {error!r}"
            assert "wrong-password" not in str(error), "the password is shown to nobody"
        else:
            raise AssertionError(f"call {number} of {prefix!r} was answered: {outcome!r}")
        assert world.now() - began < AT_ONCE_S, f"call {number} took {world.now() - began:.1f} s"
