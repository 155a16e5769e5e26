"""The fake etcd's leases: ttl, renewal, expiry, and what hangs on them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.sim.etcd.lessor import Lessor
from palm.sim.etcd.member import Etcd
from palm.sim.etcd.values import EtcdRefused, PutRequest, RangeRequest, Refusal, WatchRequest

SECOND = 1_000_000_000


def keys(etcd: Etcd, now: int) -> list[bytes]:
    return [kv.key for kv in etcd.range(RangeRequest(key=b"\0", range_end=b"\0"), now).kvs]


def test_lease_ends_at_its_ttl_and_not_before() -> None:
    """Its key lives until the last nanosecond, and is gone at the ttl, however late the tick comes."""
    etcd = Etcd()
    lease = etcd.lease_grant(5, 0).id
    etcd.put(PutRequest(key=b"k", lease=lease), 0)
    assert keys(etcd, 5 * SECOND - 1) == [b"k"]
    assert etcd.deadline == 5 * SECOND
    assert keys(etcd, 5 * SECOND) == []
    assert etcd.lease_ttl(lease, 5 * SECOND).ttl_s == -1


def test_expiry_deletes_all_keys_of_a_lease_in_one_revision() -> None:
    """A watcher never sees half of an instance's records go."""
    etcd = Etcd()
    lease = etcd.lease_grant(5, 0).id
    for key in (b"c", b"a", b"b"):
        etcd.put(PutRequest(key=key, lease=lease), 0)
    stream = etcd.watch_open(0)
    etcd.watch_create(stream, WatchRequest(key=b"a", range_end=b"z"), 0)
    etcd.watch_take(stream)
    etcd.tick(5 * SECOND)
    (answer,) = etcd.watch_take(stream)
    assert [(event.kv.key, event.kv.mod_revision, event.kv.deleted) for event in answer.events] == [
        (b"a", 5, True),
        (b"b", 5, True),
        (b"c", 5, True),
    ]


def test_renewal_starts_the_ttl_anew() -> None:
    """The old end passes without effect, and the new one counts from the renewal."""
    etcd = Etcd()
    lease = etcd.lease_grant(5, 0).id
    assert etcd.lease_keep_alive(lease, 3 * SECOND).ttl_s == 5
    etcd.tick(5 * SECOND)
    assert etcd.lease_ttl(lease, 5 * SECOND).ttl_s == 3
    etcd.tick(8 * SECOND)
    assert etcd.lease_keep_alive(lease, 8 * SECOND).ttl_s == 0


def test_key_follows_its_last_put_from_lease_to_lease() -> None:
    """A put without a lease, or under another, takes the key away from the old one."""
    etcd = Etcd()
    first, second = etcd.lease_grant(5, 0).id, etcd.lease_grant(60, 0).id
    for key in (b"moved", b"freed", b"kept"):
        etcd.put(PutRequest(key=key, lease=first), 0)
    etcd.put(PutRequest(key=b"moved", lease=second), 0)
    etcd.put(PutRequest(key=b"freed"), 0)
    assert etcd.lease_ttl(first, 0, keys=True).keys == (b"kept",)
    assert etcd.lease_ttl(second, 0, keys=True).keys == (b"moved",)
    assert keys(etcd, 5 * SECOND) == [b"freed", b"moved"]


def test_revoking_deletes_the_keys_at_once_and_only_once() -> None:
    """The second time there is no such lease; without keys there is no revision."""
    etcd = Etcd()
    lease, bare = etcd.lease_grant(5, 0).id, etcd.lease_grant(5, 0).id
    etcd.put(PutRequest(key=b"k", lease=lease), 0)
    assert etcd.lease_revoke(lease, 0).revision == 3
    assert etcd.lease_revoke(bare, 0).revision == 3
    with pytest.raises(EtcdRefused) as caught:
        etcd.lease_revoke(lease, 0)
    assert caught.value.refusal is Refusal.LEASE_NOT_FOUND


@pytest.mark.parametrize(("asked_s", "granted_s"), [(-1, 2), (0, 2), (1, 2), (2, 2), (3, 3)])
def test_least_ttl_is_two_seconds(asked_s: int, granted_s: int) -> None:
    """etcd grants one and a half election timeouts at least, in whole seconds; seen with 3.4.23 and 3.5.1."""
    assert Etcd().lease_grant(asked_s, 0).ttl_s == granted_s


def test_lease_of_a_taken_id_or_a_huge_ttl_is_refused() -> None:
    """Definite answers, under etcd's own names."""
    etcd = Etcd()
    etcd.lease_grant(5, 0, id=7)
    with pytest.raises(EtcdRefused, match="lease already exists"):
        etcd.lease_grant(5, 0, id=7)
    with pytest.raises(EtcdRefused, match="too large lease TTL"):
        etcd.lease_grant(9_000_000_001, 0)


def test_leases_do_not_end_while_nobody_leads_and_start_over_with_a_new_leader() -> None:
    """Why a lease can outlive its ttl twice over when etcd restarts: RELIABILITY.md has the figures."""
    etcd = Etcd()
    lease = etcd.lease_grant(6, 0).id
    etcd.put(PutRequest(key=b"k", lease=lease), 0)
    etcd.demote()
    assert etcd.deadline is None
    assert keys(etcd, 20 * SECOND) == [b"k"]
    etcd.promote(20 * SECOND, extend=SECOND)
    assert etcd.deadline == 27 * SECOND
    assert keys(etcd, 27 * SECOND) == []


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), max_size=300))
def test_next_expiry_is_always_the_earliest_end(steps: list[tuple[int, int]]) -> None:
    """However often leases are renewed or revoked; nothing is due before it, and something is at it."""
    lessor = Lessor(first=1)
    ends: dict[int, int] = {}
    now = 0
    for id, verb in steps:
        now += SECOND // 2
        for over in lessor.due(now):
            assert ends.pop(over) <= now
            lessor.revoke(over)
        if verb == 0 and id + 1 in ends:
            lessor.revoke(id + 1)
            del ends[id + 1]
        elif id + 1 in ends:
            ends[id + 1] = now + lessor.renew(id + 1, now) * SECOND
        else:
            _, ttl_s = lessor.grant(2 + id, now, id=id + 1)
            ends[id + 1] = now + ttl_s * SECOND
        assert lessor.next_expiry == min(ends.values(), default=None)
        assert lessor.ids() == tuple(sorted(ends, key=lambda id: (ends[id], id)))
