"""The executable half of the registry port: what every adapter must do, in checks that use nothing but the port.

Run each of `CHECKS` against a `World` of your own, with a prefix that nobody else uses. The checks wait only by
`world.sleep`, so they run in simulated time too; a registry that never answers is for the runner's own timeout. What is
checked is what the port's text promises, and where that text says "in etcd's own terms", what etcd 3.4 and 3.5 both do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal, Protocol

from palm.errors import Compacted, LeaseLost, RegistryError, RegistryRefused
from palm.ports.registry import (
    NO_LEASE,
    Change,
    Compare,
    Delete,
    Get,
    Kind,
    LeaseId,
    Operation,
    Put,
    Record,
    Registry,
    Revision,
    Watch,
)

OPERATIONS_MAX = 128  # etcd's --max-txn-ops
LEASE_TTL_S_MAX = 9_000_000_000
EXPIRY_SLACK_S = 6.0  # etcd looks for expired leases twice a second and deletes them through its log


class World(Protocol):
    """Where the checks run. `prefix` ends with `/`, is this check's own, and begins empty."""

    @property
    def registry(self) -> Registry: ...

    @property
    def prefix(self) -> str: ...

    async def compact(self, revision: Revision) -> None:
        """Drop all history below `revision`, as etcd's KV.Compact does."""
        ...

    async def sleep(self, seconds: float) -> None: ...


Check = Callable[[World], Awaitable[None]]


# -- one key ----------------------------------------------------------------------------------------------------------


async def check_a_put_is_listed(world: World) -> None:
    """What was put is listed, with the revision that the put returned."""
    key = world.prefix + "one"
    revision = await world.registry.put(key, b"value")
    listing = await world.registry.get(world.prefix)
    assert listing.records == (
        Record(key=key, value=b"value", create_revision=revision, mod_revision=revision, version=1, lease=NO_LEASE),
    )
    assert listing.revision >= revision


async def check_an_empty_prefix_lists_nothing(world: World) -> None:
    """A prefix without keys gives no records, and a revision to watch from."""
    listing = await world.registry.get(world.prefix)
    assert listing.records == ()
    assert listing.revision >= 1


async def check_versions_count_puts_since_creation(world: World) -> None:
    """Each put raises version and mod_revision; create_revision stays until the key is deleted and made again."""
    key = world.prefix + "k"
    first = await world.registry.put(key, b"1")
    second = await world.registry.put(key, b"2")
    assert second > first
    record = await _only(world)
    assert (record.version, record.create_revision, record.mod_revision, record.value) == (2, first, second, b"2")
    assert await world.registry.delete(key) == 1
    third = await world.registry.put(key, b"3")
    record = await _only(world)
    assert third > second + 1, "the delete has a revision of its own"
    assert (record.version, record.create_revision, record.mod_revision, record.value) == (1, third, third, b"3")


async def check_delete_says_how_many_there_were(world: World) -> None:
    """1 for a key that was there, 0 for one that was not; the latter makes no revision."""
    key = world.prefix + "k"
    await world.registry.put(key, b"")
    assert await world.registry.delete(key) == 1
    before = (await world.registry.get(world.prefix)).revision
    assert await world.registry.delete(key) == 0
    listing = await world.registry.get(world.prefix)
    assert listing.records == ()
    assert listing.revision == before


async def check_delete_takes_one_key_only(world: World) -> None:
    """Keys that begin with the deleted key stay."""
    for name in ("a", "a/b", "ab"):
        await world.registry.put(world.prefix + name, b"")
    assert await world.registry.delete(world.prefix + "a") == 1
    assert await _names(world) == ["a/b", "ab"]


async def check_values_are_any_bytes(world: World) -> None:
    """Empty, all 256 bytes, and a mebibyte come back as they were."""
    for value in (b"", bytes(range(256)), b"\x00", b"x" * 2**20):
        await world.registry.put(world.prefix + "k", value)
        assert (await _only(world)).value == value


async def check_values_that_are_too_big_are_refused(world: World) -> None:
    """Three million bytes: `RegistryRefused`, and what was there stays."""
    key = world.prefix + "k"
    await world.registry.put(key, b"small")
    await _raises(RegistryRefused, world.registry.put(key, b"x" * 3_000_000))
    await _raises(RegistryRefused, world.registry.transact([], [Put(key=key, value=b"x" * 3_000_000)]))
    assert (await _only(world)).value == b"small"


async def check_every_key_is_legal(world: World) -> None:
    """Dots, NUL, newline, slashes, ten kilobytes, two normal forms of one letter: all are keys, and all differ."""
    names = ["..", ".", "/", "//", "\x00", "\n", " ", "a b", "\u202eabc", "é", "e\u0301", "\U0001f600", "k" * 10_000]
    for name in names:
        await world.registry.put(world.prefix + name, name.encode())
    listing = await world.registry.get(world.prefix)
    assert {record.key for record in listing.records} == {world.prefix + name for name in names}
    assert all(record.key == world.prefix + record.value.decode() for record in listing.records)
    for name in names:
        assert await world.registry.delete(world.prefix + name) == 1
    assert await _names(world) == []


async def check_wrong_types_are_type_errors(world: World) -> None:
    """Keys are non-empty str and values bytes; nothing else reaches the registry."""
    registry: Any = world.registry  # wrong on purpose: the types would not let it pass
    key = world.prefix + "k"
    for wrong in (None, "", b"key", 7):
        await _raises(TypeError, _called(lambda w=wrong: registry.put(w, b"")))
        await _raises(TypeError, _called(lambda w=wrong: registry.delete(w)))
        await _raises(TypeError, _called(lambda w=wrong: registry.transact([], [Put(key=w, value=b"")])))
        await _raises(TypeError, _called(lambda w=wrong: registry.transact([], [Delete(key=w)])))
        await _raises(TypeError, _called(lambda w=wrong: registry.transact([Compare(key=w, target="version")], [])))
    for wrong in (None, b"key", 7):
        await _raises(TypeError, _called(lambda w=wrong: registry.get(w)))
        await _raises(TypeError, _called(lambda w=wrong: anext(registry.watch(w, Revision(0)))))
    values: tuple[Any, ...] = (None, "value", 7, bytearray(b"v"))
    for value in values:
        await _raises(TypeError, _called(lambda v=value: registry.put(key, v)))
        await _raises(TypeError, _called(lambda v=value: registry.transact([], [Put(key=key, value=v)])))
    compared: tuple[Any, ...] = (
        ("version", b"1"), ("mod", "1"), ("create", None), ("lease", b""), ("value", 1), ("value", "x")
    )
    for target, value in compared:
        guard = Compare(key=key, target=target, value=value)
        await _raises(TypeError, _called(lambda g=guard: registry.transact([g], [])))
    assert await _names(world) == []


# -- listings ---------------------------------------------------------------------------------------------------------


async def check_listings_are_in_byte_order(world: World) -> None:
    """Records come in ascending order of their keys' UTF-8 bytes, whatever the order of the puts."""
    names = ["b", "a", "\U0001f600", "\uffff", "é", "Z", "a/b", "a0", "aa", "~"]
    for name in names:
        await world.registry.put(world.prefix + name, b"")
    assert await _names(world) == sorted(names, key=lambda name: name.encode())


async def check_a_prefix_takes_no_neighbours(world: World) -> None:
    """`a/` is not `a`, `ab`, `a0` or `A/`; a prefix that ends within a name takes all names that begin so."""
    for name in ("a", "a/", "a/1", "a/2/3", "a0", "ab", "abc", "A/1", "b"):
        await world.registry.put(world.prefix + name, b"")
    assert await _names(world, "a/") == ["a/", "a/1", "a/2/3"]
    assert await _names(world, "ab") == ["ab", "abc"]
    assert await _names(world, "c") == []


async def check_large_listings_are_whole(world: World) -> None:
    """2,500 keys, more than a page, come at one revision and in order."""
    names = [f"{number:05}" for number in range(2_500)]
    await _put_many(world, names)
    listing = await world.registry.get(world.prefix)
    assert [record.key for record in listing.records] == [world.prefix + name for name in names]
    assert listing.revision >= max(record.mod_revision for record in listing.records)


async def check_large_values_are_listed(world: World) -> None:
    """Forty values of 300 kB, which no single answer of 4 MiB holds, are listed whole."""
    for number in range(40):
        await world.registry.put(f"{world.prefix}{number:02}", bytes([number]) * 300_000)
    listing = await world.registry.get(world.prefix)
    assert [record.value[0] for record in listing.records] == list(range(40))
    assert all(len(record.value) == 300_000 for record in listing.records)


# -- transactions -----------------------------------------------------------------------------------------------------


async def check_transactions_create_only_once(world: World) -> None:
    """`version = 0` holds while there is no key: of two that create, the second runs its other branch."""
    key = world.prefix + "k"
    absent = Compare(key=key, target="version", value=0)
    first = await world.registry.transact([absent], [Put(key=key, value=b"first")], [Get(key=key)])
    second = await world.registry.transact([absent], [Put(key=key, value=b"second")], [Get(key=key)])
    assert first.succeeded and first.responses == (None,)
    assert not second.succeeded
    assert second.responses == ((await _only(world),),)
    assert (await _only(world)).value == b"first"
    assert (await _only(world)).mod_revision == first.revision


async def check_transactions_compare_every_target(world: World) -> None:
    """Each target under each operator, against a value below, at and above what is there."""
    key = world.prefix + "k"
    lease = await world.registry.grant(60)
    await world.registry.put(key, b"1", lease.id)
    await world.registry.put(key, b"m", lease.id)
    there = await _only(world)
    numbers: list[tuple[Literal["version", "create", "mod", "lease"], int]] = [
        ("version", 2),
        ("create", there.create_revision),
        ("mod", there.mod_revision),
        ("lease", lease.id),
    ]
    for target, number in numbers:
        for value, actual_is in ((number - 1, ">"), (number, "="), (number + 1, "<")):
            await _compares(world, Compare(key=key, target=target, value=value), actual_is)
    for text, actual_is in ((b"l", ">"), (b"m", "="), (b"mm", "<"), (b"", ">"), (b"\xff", "<")):
        await _compares(world, Compare(key=key, target="value", value=text), actual_is)
    await world.registry.revoke(lease.id)


async def check_transactions_compare_a_missing_key(world: World) -> None:
    """Its numbers are all 0; of its value nothing is true, not even that it differs."""
    key = world.prefix + "none"
    targets: tuple[Literal["version", "create", "mod", "lease"], ...] = ("version", "create", "mod", "lease")
    for target in targets:
        await _compares(world, Compare(key=key, target=target, value=0), "=")
        await _compares(world, Compare(key=key, target=target, value=1), "<")
    operators: tuple[Literal["=", "!=", ">", "<"], ...] = ("=", "!=", ">", "<")
    for operator in operators:
        guard = Compare(key=key, target="value", operator=operator, value=b"")
        assert not (await world.registry.transact([guard], [])).succeeded, guard


async def check_transactions_need_all_their_guards(world: World) -> None:
    """One guard that fails among those that hold runs the other branch; no guard at all runs the first."""
    key = world.prefix + "k"
    await world.registry.put(key, b"")
    holds = Compare(key=key, target="version", value=1)
    fails = Compare(key=key, target="version", value=2)
    assert (await world.registry.transact([holds, holds], [])).succeeded
    assert not (await world.registry.transact([holds, fails], [])).succeeded
    assert (await world.registry.transact([], [])).succeeded


async def check_transactions_write_at_one_revision(world: World) -> None:
    """All writes of a branch bear the revision that is returned."""
    await world.registry.put(world.prefix + "old", b"")
    done = await world.registry.transact(
        [],
        [
            Put(key=world.prefix + "a", value=b"1"),
            Delete(key=world.prefix + "old"),
            Put(key=world.prefix + "b", value=b"2"),
        ],
    )
    assert done.responses == (None, 1, None)
    records = (await world.registry.get(world.prefix)).records
    assert [(record.key, record.mod_revision) for record in records] == [
        (world.prefix + "a", done.revision),
        (world.prefix + "b", done.revision),
    ]


async def check_transactions_run_in_order(world: World) -> None:
    """A `Get` sees what stands before it in its own transaction; a `Delete` of nothing counts 0."""
    key = world.prefix + "k"
    operations: list[Operation] = [
        Get(key=key),
        Delete(key=key),
        Put(key=world.prefix + "k2", value=b"2"),
        Get(key=world.prefix, prefix=True),
        Get(key=world.prefix + "k", prefix=False),
    ]
    done = await world.registry.transact([], operations)
    new = await _only(world)
    assert done.responses == ((), 0, None, (new,), ())


async def check_transactions_that_only_read_make_no_revision(world: World) -> None:
    """Their revision is that of the store."""
    revision = await world.registry.put(world.prefix + "k", b"")
    done = await world.registry.transact([], [Get(key=world.prefix, prefix=True)])
    assert done.revision == revision
    assert (await world.registry.get(world.prefix)).revision == revision


async def check_transactions_refuse_one_key_twice(world: World) -> None:
    """Two puts of one key, or a put and a delete of it, are refused, and nothing of the transaction is written."""
    key, other = world.prefix + "k", world.prefix + "other"
    put = Put(key=key, value=b"")
    seconds: tuple[Operation, ...] = (put, Delete(key=key))
    for second in seconds:
        await _raises(RegistryRefused, world.registry.transact([], [Put(key=other, value=b""), put, second]))
    assert await _names(world) == []


async def check_transactions_hold_128_operations(world: World) -> None:
    """128 are taken, 129 are refused whole."""
    operations = [Put(key=f"{world.prefix}{number:03}", value=b"") for number in range(OPERATIONS_MAX + 1)]
    await _raises(RegistryRefused, world.registry.transact([], operations))
    assert await _names(world) == []
    done = await world.registry.transact([], operations[:OPERATIONS_MAX])
    assert len(done.responses) == OPERATIONS_MAX
    assert len(await _names(world)) == OPERATIONS_MAX


async def check_transactions_refuse_a_lost_lease_whole(world: World) -> None:
    """A put under an unknown lease raises `LeaseLost`, and the writes beside it do not happen."""
    lease = await _gone_lease(world)
    operations = [Put(key=world.prefix + "a", value=b""), Put(key=world.prefix + "b", value=b"", lease=lease)]
    await _raises(LeaseLost, world.registry.transact([], operations))
    assert await _names(world) == []


# -- leases -----------------------------------------------------------------------------------------------------------


async def check_leases_are_granted(world: World) -> None:
    """Ids are positive and differ; the ttl is at least what was asked for."""
    leases = [await world.registry.grant(ttl_s) for ttl_s in (5, 5, 60)]
    assert len({lease.id for lease in leases}) == 3
    assert all(lease.id > 0 for lease in leases)
    assert [lease.ttl_s for lease in leases] == [5, 5, 60]
    short = await world.registry.grant(1)
    assert short.ttl_s >= 1
    for lease in [*leases, short]:
        await world.registry.revoke(lease.id)


async def check_leases_that_are_too_long_are_refused(world: World) -> None:
    """etcd's limit is nine billion seconds."""
    await _raises(RegistryRefused, world.registry.grant(LEASE_TTL_S_MAX + 1))


async def check_keys_show_their_lease(world: World) -> None:
    """A put with a lease binds the key to it, one with another moves it, one without frees it."""
    one, two = await world.registry.grant(60), await world.registry.grant(60)
    key = world.prefix + "k"
    for lease in (one.id, two.id, NO_LEASE, one.id):
        await world.registry.put(key, b"", lease)
        assert (await _only(world)).lease == lease
    await world.registry.transact([], [Put(key=key, value=b"", lease=two.id)])
    assert (await _only(world)).lease == two.id
    await world.registry.revoke(one.id)
    assert await _names(world) == ["k"]
    await world.registry.revoke(two.id)
    assert await _names(world) == []


async def check_revoking_deletes_in_one_revision(world: World) -> None:
    """All keys of the lease go at once, no other; a watch sees them in one item."""
    lease = await world.registry.grant(60)
    await world.registry.put(world.prefix + "free", b"")
    for name in ("a", "b", "c"):
        await world.registry.put(world.prefix + name, b"", lease.id)
    after = (await world.registry.get(world.prefix)).revision
    await world.registry.revoke(lease.id)
    assert await _names(world) == ["free"]
    (batch,) = await _items(world, after, 3)
    assert sorted(change.record.key for change in batch) == [world.prefix + name for name in ("a", "b", "c")]
    assert {(change.kind, change.record.mod_revision) for change in batch} == {(Kind.DELETE, after + 1)}


async def check_a_revoked_lease_is_lost(world: World) -> None:
    """Renewing it, revoking it again and putting under it raise `LeaseLost`, and nothing is written."""
    lease = await _gone_lease(world)
    await _raises(LeaseLost, world.registry.keep_alive(lease))
    await _raises(LeaseLost, world.registry.revoke(lease))
    await _raises(LeaseLost, world.registry.put(world.prefix + "k", b"", lease))
    assert await _names(world) == []


async def check_an_unknown_lease_is_lost(world: World) -> None:
    """An id that was never granted is treated as one that has gone."""
    unknown = LeaseId(0x7EAD_BEEF)
    await _raises(LeaseLost, world.registry.keep_alive(unknown))
    await _raises(LeaseLost, world.registry.revoke(unknown))
    await _raises(LeaseLost, world.registry.put(world.prefix + "k", b"", unknown))


async def check_a_lease_runs_out(world: World) -> None:
    """Not renewed, it holds its keys for its ttl and not much longer; they go in one revision, and it is lost."""
    lease = await world.registry.grant(2)
    for name in ("a", "b"):
        await world.registry.put(world.prefix + name, b"", lease.id)
    after = (await world.registry.get(world.prefix)).revision
    await world.sleep(0.5 * lease.ttl_s)
    assert await _names(world) == ["a", "b"], "the lease ran out early"
    await _gone_within(world, 0.5 * lease.ttl_s + EXPIRY_SLACK_S)
    (batch,) = await _items(world, after, 2)
    assert {(change.kind, change.record.mod_revision) for change in batch} == {(Kind.DELETE, after + 1)}
    await _raises(LeaseLost, world.registry.keep_alive(lease.id))
    await _raises(LeaseLost, world.registry.put(world.prefix + "a", b"", lease.id))


async def check_renewals_keep_a_lease(world: World) -> None:
    """Renewed, it outlives three of its ttls; left alone then, it runs out. Each renewal says the ttl granted anew."""
    lease = await world.registry.grant(2)
    await world.registry.put(world.prefix + "k", b"", lease.id)
    for _ in range(9):
        await world.sleep(lease.ttl_s / 3)
        assert await world.registry.keep_alive(lease.id) == lease.ttl_s
    assert await _names(world) == ["k"]
    await _gone_within(world, lease.ttl_s + EXPIRY_SLACK_S)


async def check_a_lease_outlives_its_keys(world: World) -> None:
    """Deleting the last key by hand leaves the lease; it can be used for another."""
    lease = await world.registry.grant(60)
    key = world.prefix + "k"
    await world.registry.put(key, b"", lease.id)
    await world.registry.delete(key)
    assert await world.registry.keep_alive(lease.id) == lease.ttl_s
    await world.registry.put(key, b"again", lease.id)
    await world.registry.revoke(lease.id)
    assert await _names(world) == []


# -- watches ----------------------------------------------------------------------------------------------------------


async def check_a_watch_shows_what_happens(world: World) -> None:
    """Puts and deletes come as they are made, with the records as they then were."""
    key = world.prefix + "k"
    after = (await world.registry.get(world.prefix)).revision
    watch = world.registry.watch(world.prefix, after)
    created = await world.registry.put(key, b"1")
    assert await _changes(watch, 1) == [_put(key, b"1", created, created, 1)]
    changed = await world.registry.put(key, b"2")
    assert await _changes(watch, 1) == [_put(key, b"2", created, changed, 2)]
    await world.registry.delete(key)
    (deleted,) = await _changes(watch, 1)
    assert deleted.kind is Kind.DELETE
    assert (deleted.record.key, deleted.record.value, deleted.record.version) == (key, b"", 0)
    assert deleted.record.mod_revision == changed + 1
    await watch.aclose()


async def check_a_watch_begins_in_the_past(world: World) -> None:
    """All changes above `after` come, that at `after` does not, and what is overwritten or deleted since comes too."""
    key = world.prefix + "k"
    revisions = [await world.registry.put(key, str(number).encode()) for number in range(4)]
    await world.registry.delete(key)
    recreated = await world.registry.put(key, b"new")
    for skipped, after in enumerate(revisions):
        watch = world.registry.watch(world.prefix, after)
        changes = await _changes(watch, 5 - skipped)
        await watch.aclose()
        expected = [*revisions[skipped + 1 :], recreated - 1, recreated]
        assert [change.record.mod_revision for change in changes] == expected
        assert [change.kind for change in changes][-2:] == [Kind.DELETE, Kind.PUT]
        assert changes[-1] == _put(key, b"new", recreated, recreated, 1)


async def check_a_watch_sees_its_prefix_only(world: World) -> None:
    """Neighbours do not show, before or after."""
    after = (await world.registry.get(world.prefix)).revision
    for name in ("a/1", "a", "ab", "a0", "A/1", "a/2"):
        await world.registry.put(world.prefix + name, b"")
    watch = world.registry.watch(world.prefix + "a/", after)
    changes = await _changes(watch, 2)
    await world.registry.put(world.prefix + "b", b"")
    await world.registry.put(world.prefix + "a/3", b"")
    changes += await _changes(watch, 1)
    await watch.aclose()
    assert [change.record.key for change in changes] == [world.prefix + name for name in ("a/1", "a/2", "a/3")]


async def check_a_watch_gives_whole_revisions(world: World) -> None:
    """What one transaction wrote is never spread over two items; nor does an item lack a part of a revision."""
    after = (await world.registry.get(world.prefix)).revision
    watch = world.registry.watch(world.prefix, after)
    for turn in range(20):
        puts = [Put(key=f"{world.prefix}{number:03}", value=str(turn).encode()) for number in range(50)]
        await world.registry.transact([], puts)
    items: list[tuple[Change, ...]] = []
    while sum(map(len, items)) < 20 * 50:
        items.append(await anext(aiter(watch)))
    await watch.aclose()
    assert all(len(item) % 50 == 0 for item in items)
    revisions = [change.record.mod_revision for item in items for change in item]
    assert revisions == [after + 1 + turn for turn in range(20) for _ in range(50)]


async def check_large_revisions_stay_whole(world: World) -> None:
    """Revisions of a megabyte each, which etcd sends in fragments when it catches up, come whole and in order."""
    after = (await world.registry.get(world.prefix)).revision
    for turn in range(6):
        value = bytes([turn]) * 100_000
        await world.registry.transact([], [Put(key=f"{world.prefix}{number}", value=value) for number in range(10)])
    watch = world.registry.watch(world.prefix, after)
    items: list[tuple[Change, ...]] = []
    while sum(map(len, items)) < 60:
        items.append(await anext(aiter(watch)))
    await watch.aclose()
    assert all(len(item) % 10 == 0 for item in items)
    seen = [(change.record.mod_revision, change.record.value[:1]) for item in items for change in item]
    assert seen == [(after + 1 + turn, bytes([turn])) for turn in range(6) for _ in range(10)]


async def check_a_watch_misses_nothing_of_many(world: World) -> None:
    """3,000 changes, made while the watch is read only now and then, come once each and in order."""
    after = (await world.registry.get(world.prefix)).revision
    watch = world.registry.watch(world.prefix, after)
    await world.registry.put(world.prefix + "begin", b"")
    await _changes(watch, 1)
    written = await _put_many(world, [f"{number:05}" for number in range(3_000)])
    changes = await _changes(watch, 3_000)
    await watch.aclose()
    assert [(change.record.key, change.record.mod_revision) for change in changes] == written


async def check_a_watch_goes_on_where_another_ended(world: World) -> None:
    """A new watch after the last revision delivered repeats nothing and skips nothing."""
    after = (await world.registry.get(world.prefix)).revision
    keys = [f"{world.prefix}{number}" for number in range(10)]
    for key in keys:
        await world.registry.put(key, b"")
    seen: list[str] = []
    while len(seen) < 10:
        watch = world.registry.watch(world.prefix, after)
        item = await anext(aiter(watch))
        await watch.aclose()
        seen += [change.record.key for change in item]
        after = item[-1].record.mod_revision
    assert seen == keys


async def check_watches_do_not_disturb_each_other(world: World) -> None:
    """Two of one prefix both see all; closing one leaves the other."""
    after = (await world.registry.get(world.prefix)).revision
    one, two = world.registry.watch(world.prefix, after), world.registry.watch(world.prefix, after)
    await world.registry.put(world.prefix + "k", b"1")
    assert await _changes(one, 1) == await _changes(two, 1)
    await one.aclose()
    await world.registry.put(world.prefix + "k", b"2")
    assert [change.record.value for change in await _changes(two, 1)] == [b"2"]
    await two.aclose()


async def check_a_watch_closes(world: World) -> None:
    """Closed, its iteration ends; closing it twice, or before it was read, is harmless."""
    watch = world.registry.watch(world.prefix, Revision(0))
    await world.registry.put(world.prefix + "k", b"")
    await _changes(watch, 1)
    await watch.aclose()
    await watch.aclose()
    assert [item async for item in watch] == []
    unread = world.registry.watch(world.prefix, Revision(0))
    await unread.aclose()
    assert [item async for item in unread] == []


async def check_a_quiet_watch_stays(world: World) -> None:
    """After a while in which nothing happened it shows the next change."""
    after = (await world.registry.get(world.prefix)).revision
    watch = world.registry.watch(world.prefix, after)
    first = await world.registry.put(world.prefix + "k", b"1")
    await _changes(watch, 1)
    await world.sleep(5.0)
    second = await world.registry.put(world.prefix + "k", b"2")
    assert await _changes(watch, 1) == [_put(world.prefix + "k", b"2", first, second, 2)]
    await watch.aclose()


# -- compaction -------------------------------------------------------------------------------------------------------


async def check_a_compacted_place_is_told(world: World) -> None:
    """A watch from before the compaction raises `Compacted` with its revision; list, and watch from there."""
    key = world.prefix + "k"
    first = await world.registry.put(key, b"1")
    for number in range(5):
        last = await world.registry.put(key, str(number).encode())
    await world.compact(last)
    for after in (Revision(0), first):
        watch = world.registry.watch(world.prefix, after)
        error = await _raises(Compacted, _called(lambda w=watch: anext(aiter(w))))
        assert isinstance(error, Compacted)
        assert error.compact_revision == last
        assert [item async for item in watch] == [], "a watch that has raised is over"
        await watch.aclose()
    listing = await world.registry.get(world.prefix)
    assert [record.value for record in listing.records] == [b"4"]
    watch = world.registry.watch(world.prefix, listing.revision)
    new = await world.registry.put(key, b"new")
    assert [change.record.mod_revision for change in await _changes(watch, 1)] == [new]
    await watch.aclose()


async def check_a_watch_may_begin_at_the_compaction(world: World) -> None:
    """The compacted revision itself is still there."""
    key = world.prefix + "k"
    before = await world.registry.put(key, b"1")
    at = await world.registry.put(key, b"2")
    later = await world.registry.put(key, b"3")
    await world.compact(at)
    watch = world.registry.watch(world.prefix, before)
    assert [change.record.mod_revision for change in await _changes(watch, 2)] == [at, later]
    await watch.aclose()


async def check_compaction_leaves_the_up_to_date_alone(world: World) -> None:
    """A watch that has seen all goes on; listings and versions are as they were."""
    key = world.prefix + "k"
    after = (await world.registry.get(world.prefix)).revision
    watch = world.registry.watch(world.prefix, after)
    await world.registry.put(key, b"1")
    last = await world.registry.put(key, b"2")
    await _changes(watch, 2)
    listed = (await world.registry.get(world.prefix)).records
    await world.compact(last)
    assert (await world.registry.get(world.prefix)).records == listed
    new = await world.registry.put(key, b"3")
    (change,) = await _changes(watch, 1)
    assert (change.record.mod_revision, change.record.version) == (new, 3)
    await watch.aclose()


CHECKS: tuple[Check, ...] = tuple(check for name, check in list(globals().items()) if name.startswith("check_"))
"""All of the above, in their order."""


# -- helpers ----------------------------------------------------------------------------------------------------------


async def _only(world: World) -> Record:
    (record,) = (await world.registry.get(world.prefix)).records
    return record


async def _names(world: World, under: str = "") -> list[str]:
    listing = await world.registry.get(world.prefix + under)
    return [record.key.removeprefix(world.prefix) for record in listing.records]


async def _changes(watch: Watch, count: int) -> list[Change]:
    """The next `count` changes, in as many items as they come; an item must not hold more than were asked for."""
    changes: list[Change] = []
    while len(changes) < count:
        changes += await anext(aiter(watch))
    assert len(changes) == count, f"{len(changes)} changes where {count} were made: {changes}"
    return changes


async def _items(world: World, after: Revision, count: int) -> list[tuple[Change, ...]]:
    """The items that a new watch gives until it has given `count` changes."""
    watch = world.registry.watch(world.prefix, after)
    items: list[tuple[Change, ...]] = []
    while sum(map(len, items)) < count:
        items.append(await anext(aiter(watch)))
    await watch.aclose()
    return items


async def _put_many(world: World, names: list[str]) -> list[tuple[str, Revision]]:
    """Put them, a hundred in each revision; the keys and their revisions."""
    written: list[tuple[str, Revision]] = []
    for at in range(0, len(names), 100):
        puts = [Put(key=world.prefix + name, value=b"") for name in names[at : at + 100]]
        done = await world.registry.transact([], puts)
        written += [(put.key, done.revision) for put in puts]
    return written


async def _compares(world: World, guard: Compare, actual_is: str) -> None:
    """`guard` under each operator, where the actual value stands in relation `actual_is` to the guard's."""
    truth = {"=": actual_is == "=", "!=": actual_is != "=", ">": actual_is == ">", "<": actual_is == "<"}
    operators: tuple[Literal["=", "!=", ">", "<"], ...] = ("=", "!=", ">", "<")
    for operator in operators:
        asked = Compare(key=guard.key, target=guard.target, operator=operator, value=guard.value)
        done = await world.registry.transact([asked], [Get(key=guard.key)], [])
        assert done.succeeded is truth[operator], asked
        assert len(done.responses) == (1 if done.succeeded else 0)


async def _gone_lease(world: World) -> LeaseId:
    lease = await world.registry.grant(60)
    await world.registry.revoke(lease.id)
    return lease.id


async def _gone_within(world: World, seconds: float) -> None:
    waited = 0.0
    while await _names(world):
        assert waited < seconds, f"the keys of a lease are still there after {seconds} s"
        await world.sleep(0.25)
        waited += 0.25


def _put(key: str, value: bytes, created: Revision, changed: Revision, version: int) -> Change:
    record = Record(key=key, value=value, create_revision=created, mod_revision=changed, version=version)
    return Change(kind=Kind.PUT, record=record)


async def _called(call: Callable[..., Awaitable[object]]) -> object:
    """So that what `call` raises before there is anything to await counts too."""
    return await call()


async def _raises(expected: type[Exception], call: Awaitable[object]) -> Exception:
    """The error, which must be of that class; of the registry's errors exactly that one."""
    try:
        outcome = await call
    except expected as error:
        assert not isinstance(error, RegistryError) or type(error) is expected or expected is RegistryError, repr(error)
        return error
    raise AssertionError(f"{expected.__name__} was not raised; the outcome was {outcome!r}")
