"""The token that stands for user and password in each call.

etcd forgets simple tokens when it restarts or after `--auth-token-ttl`; whoever is told so gives the stale token back
here and gets a new one. Many callers are told at once: one of them asks, the others wait for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from palm.errors import AuthRefused
from palm.net.etcd.answers import AuthDisabled
from palm.net.etcd.settings import EtcdSettings

REFUSAL_KEPT_S = 30.0  # etcd spends 0.1 s of CPU on each password; a refused one is not shown to it again so soon

Authenticate = Callable[[str, str, float], Awaitable[str]]


class Token:
    """`authenticate(user, password, within_s)` asks etcd; it raises `AuthDisabled` where no token is needed."""

    def __init__(self, settings: EtcdSettings, authenticate: Authenticate) -> None:
        self._settings = settings
        self._authenticate = authenticate
        self._value: str | None = None if settings.user else ""
        self._refusal: AuthRefused | None = None
        self._refused_at = 0.0
        self._asking = asyncio.Lock()

    @property
    def used(self) -> bool:
        """There are credentials, so a token that is refused can be replaced."""
        return bool(self._settings.user)

    async def get(self, within_s: float, stale: str | None = None) -> str:
        """A token other than `stale`; the empty string where none is needed. Raises `AuthRefused`."""
        if self._value is not None and self._value != stale:
            return self._value
        if not self.used:
            return ""
        async with self._asking:
            if self._value is None or self._value == stale:
                self._value = await self._ask(within_s)
            return self._value

    async def _ask(self, within_s: float) -> str:
        if self._refusal is not None and time.monotonic() < self._refused_at + REFUSAL_KEPT_S:
            raise AuthRefused(str(self._refusal))
        try:
            return await self._authenticate(self._settings.user, self._settings.password, within_s)
        except AuthDisabled:
            return ""
        except AuthRefused as refusal:
            self._refusal, self._refused_at = refusal, time.monotonic()
            raise
