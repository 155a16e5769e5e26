"""Who is registered, as the fake etcd sees it."""

from __future__ import annotations

import pytest

from palm.sim.etcd import values as v
from palm.sim.observed import ObservedEtcd

KEY = b"/palm/x"
PUT = v.PutRequest(key=KEY, value=b"1")


@pytest.mark.parametrize("in_a_transaction", [False, True])
def test_a_record_is_told_of_at_once_however_it_was_written(in_a_transaction: bool) -> None:
    """Checks compare moments: what is told only with the next change would be late."""
    told: list[tuple[str, str]] = []
    etcd = ObservedEtcd("/palm/", lambda what, key: told.append((what, key)))
    if in_a_transaction:
        etcd.txn(v.TxnRequest(compare=(), success=(PUT,), failure=()), 0)
    else:
        etcd.put(PUT, 0)
    assert told == [("registered", KEY.decode())]
    etcd.delete_range(v.DeleteRequest(key=KEY), 1)
    assert told[1:] == [("deregistered", KEY.decode())]
