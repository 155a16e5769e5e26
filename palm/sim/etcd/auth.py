"""etcd's authentication: users with passwords, the prefix each may use, and the simple tokens that stand for them.

It holds no keys and asks nobody: whoever serves requests asks it first. What it checks is what etcd 3.4 and 3.5 check,
and no more: renewing a lease needs no token there, and a watch with a token that is not known is denied, where any
other request is told that the token is invalid.
"""

from __future__ import annotations

from dataclasses import dataclass

from palm.sim.etcd.values import (
    FROM_KEY,
    DeleteRequest,
    EtcdRefused,
    PutRequest,
    RangeRequest,
    Refusal,
    TxnRequest,
    WatchRequest,
)

TOKEN_TTL_NS = 300_000_000_000
"""etcd's `--auth-token-ttl`: how long a token lives that nobody uses."""


@dataclass(slots=True)
class _User:
    password: str
    prefix: bytes
    """Empty: root, who may do everything."""


@dataclass(slots=True)
class _Token:
    user: str
    dies_at: int


class Auth:
    """Times are ns of the driver's clock. Methods raise EtcdRefused."""

    def __init__(self, token_ttl_ns: int = TOKEN_TTL_NS) -> None:
        self._ttl_ns = token_ttl_ns
        self._users: dict[str, _User] = {}
        self._tokens: dict[str, _Token] = {}
        self._given = 0

    def add_user(self, name: str, password: str, prefix: str = "") -> None:
        """A user who may read and write what begins with `prefix`; without one, everything."""
        self._users[name] = _User(password, prefix.encode())

    def set_password(self, name: str, password: str) -> None:
        """Whoever shows the old one from now on is refused, and so are the tokens it was given."""
        self._users[name].password = password
        self._tokens = {token: one for token, one in self._tokens.items() if one.user != name}

    def forget_tokens(self) -> None:
        """As a restart does."""
        self._tokens.clear()

    def authenticate(self, name: str, password: str, now: int) -> str:
        """A new token."""
        user = self._users.get(name)
        if user is None or user.password != password:
            raise EtcdRefused(Refusal.AUTH_FAILED)
        self._given += 1
        token = f"{name}.{self._given}"
        self._tokens[token] = _Token(name, now + self._ttl_ns)
        return token

    def check(self, token: str, method: str, arguments: tuple[object, ...], now: int) -> None:
        """Whether that request may be served. A token that is used lives longer."""
        if method == "lease_keep_alive":
            return
        user = self._user_of(token, now)
        if method == "watch" and user is None:
            raise EtcdRefused(Refusal.PERMISSION_DENIED if token else Refusal.NO_USER)
        if user is None and token:
            raise EtcdRefused(Refusal.INVALID_TOKEN)
        for argument in arguments:
            for key, end in _ranges(argument):
                if user is None:
                    raise EtcdRefused(Refusal.NO_USER)
                if not _within(user.prefix, key, end):
                    raise EtcdRefused(Refusal.PERMISSION_DENIED)

    def _user_of(self, token: str, now: int) -> _User | None:
        known = self._tokens.get(token)
        if known is None or known.dies_at <= now:
            return None
        known.dies_at = now + self._ttl_ns
        return self._users[known.user]


def _ranges(request: object) -> list[tuple[bytes, bytes]]:
    """Every range of keys that a request names."""
    match request:
        case RangeRequest() | DeleteRequest() | WatchRequest():
            return [(request.key, request.range_end)]
        case PutRequest():
            return [(request.key, b"")]
        case TxnRequest():
            ranges = [(guard.key, guard.range_end) for guard in request.compare]
            for operation in (*request.success, *request.failure):
                ranges += _ranges(operation)
            return ranges
    return []


def _within(prefix: bytes, key: bytes, end: bytes) -> bool:
    """All of a range begins with `prefix`."""
    if not prefix:
        return True
    after = prefix[:-1] + bytes([prefix[-1] + 1])
    return key.startswith(prefix) and end != FROM_KEY and (not end or end <= after)
