"""The token that a simulated process shows the registry, by the rules of `palm.net.etcd.token`.

One that is refused is replaced, by one question whoever asks; a password that is refused is not shown again so soon.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from palm.errors import AuthRefused
from palm.sim.etcd import values as v
from palm.sim.kernel import NANOSECONDS, Future

REFUSAL_KEPT_NS = 30 * NANOSECONDS


class Token:
    """`authenticate(within_ns)` asks the registry; it raises EtcdRefused where no token is needed."""

    __slots__ = ("_asking", "_authenticate", "_now", "_refusal", "_refused_at", "used", "value")

    def __init__(self, used: bool, now: Callable[[], int], authenticate: Callable[[int], Awaitable[str]]) -> None:
        self.used = used
        """There are credentials, so a token that is refused can be replaced."""
        self.value: str | None = None if used else ""
        self._now = now
        self._authenticate = authenticate
        self._asking: Future[None] | None = None
        self._refusal: AuthRefused | None = None
        self._refused_at = 0

    async def get(self, within_ns: int, stale: str | None = None) -> str:
        """A token other than `stale`; the empty string where none is needed. Raises AuthRefused."""
        while self.value is None or self.value == stale:
            if not self.used:
                return ""
            if self._asking is not None:
                await self._asking
                continue
            self._asking = Future()
            try:
                self.value = await self._ask(within_ns)
            finally:
                asking, self._asking = self._asking, None
                asking.set(None)
        return self.value

    async def _ask(self, within_ns: int) -> str:
        if self._refusal is not None and self._now() < self._refused_at + REFUSAL_KEPT_NS:
            raise AuthRefused(str(self._refusal))
        try:
            return await self._authenticate(within_ns)
        except v.EtcdRefused:
            return ""
        except AuthRefused as refusal:
            self._refusal, self._refused_at = refusal, self._now()
            raise
