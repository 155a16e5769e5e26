"""etcd's authentication, pure: who may do what, and how long a token lives. Adapters are compared by conformance."""

from __future__ import annotations

import pytest

from palm.sim.etcd import values as v
from palm.sim.etcd.auth import Auth

S = 1_000_000_000


def known() -> Auth:
    auth = Auth(token_ttl_ns=3 * S)
    auth.add_user("palm", "secret", "/palm/")
    auth.add_user("root", "admin")
    return auth


def refusal(auth: Auth, token: str, method: str, *arguments: object, now: int = 0) -> v.Refusal | None:
    try:
        auth.check(token, method, arguments, now)
    except v.EtcdRefused as refused:
        return refused.refusal
    return None


@pytest.mark.parametrize(("user", "password"), [("palm", "wrong"), ("palm", ""), ("nobody", "secret"), ("", "")])
def test_only_the_right_password_gives_a_token(user: str, password: str) -> None:
    """Anything else is refused, in one and the same way."""
    auth = known()
    with pytest.raises(v.EtcdRefused) as refused:
        auth.authenticate(user, password, 0)
    assert refused.value.refusal is v.Refusal.AUTH_FAILED


@pytest.mark.parametrize(
    ("key", "end", "allowed"),
    [
        (b"/palm/k", b"", True),
        (b"/palm/", b"/palm0", True),
        (b"/palm/a", b"/palm/b", True),
        (b"/palm/", b"/palm1", False),
        (b"/palm", b"", False),
        (b"/other/k", b"", False),
        (b"/palm/", v.FROM_KEY, False),
    ],
)
def test_a_user_has_what_begins_with_its_prefix(key: bytes, end: bytes, allowed: bool) -> None:
    """Not a key more, in whatever kind of request; root has all."""
    auth = known()
    palm, root = auth.authenticate("palm", "secret", 0), auth.authenticate("root", "admin", 0)
    read = v.RangeRequest(key=key, range_end=end)
    requests: list[tuple[str, object]] = [
        ("range", read),
        ("delete_range", v.DeleteRequest(key=key, range_end=end)),
        ("watch", v.WatchRequest(key=key, range_end=end)),
        ("txn", v.TxnRequest(success=[read])),
        ("txn", v.TxnRequest(failure=[v.TxnRequest(compare=[v.Compare(key=key, range_end=end)])])),
    ]
    for method, request in requests:
        expected = None if allowed else v.Refusal.PERMISSION_DENIED
        assert refusal(auth, palm, method, request) is expected, method
        assert refusal(auth, root, method, request) is None, method


def test_a_token_lives_as_long_as_it_is_used() -> None:
    """Each use gives it its whole life again; once over it is not known, and a watch is denied."""
    auth = known()
    token, put = auth.authenticate("palm", "secret", 0), v.PutRequest(key=b"/palm/k")
    for now in (2 * S, 4 * S, 6 * S):
        assert refusal(auth, token, "put", put, now=now) is None
    assert refusal(auth, token, "put", put, now=9 * S) is v.Refusal.INVALID_TOKEN
    watch = v.WatchRequest(key=b"/palm/k")
    assert refusal(auth, token, "watch", watch, now=9 * S) is v.Refusal.PERMISSION_DENIED
    assert refusal(auth, token, "lease_keep_alive", 7, now=9 * S) is None


def test_a_new_password_ends_the_tokens_of_its_user() -> None:
    """And of nobody else; a restart ends all."""
    auth = known()
    palm, root = auth.authenticate("palm", "secret", 0), auth.authenticate("root", "admin", 0)
    put = v.PutRequest(key=b"/palm/k")
    auth.set_password("palm", "new")
    assert refusal(auth, palm, "put", put) is v.Refusal.INVALID_TOKEN and refusal(auth, root, "put", put) is None
    assert refusal(auth, auth.authenticate("palm", "new", 0), "put", put) is None
    auth.forget_tokens()
    assert refusal(auth, root, "put", put) is v.Refusal.INVALID_TOKEN


def test_who_shows_nothing_is_nobody() -> None:
    """Requests about keys want a name; a lease does not belong to a key."""
    auth = known()
    assert refusal(auth, "", "put", v.PutRequest(key=b"/palm/k")) is v.Refusal.NO_USER
    assert refusal(auth, "", "watch", v.WatchRequest(key=b"/palm/k")) is v.Refusal.NO_USER
    assert refusal(auth, "", "lease_grant", 5) is None
