"""Keeps one record in the registry under a lease, for as long as its owner lives, whatever happens to the registry.

The lease is renewed every `renew`; when the registry says that it is gone, the record is written once under a new one.
While the registry is away nothing stops: the owner works on and comes back by itself. A renewal is judged on the local
monotonic clock, counted from its sending (RELIABILITY.md, rule 9).
"""

from __future__ import annotations

from typing import Callable

from palm.errors import LeaseLost, RegistryError
from palm.ports.host import Host, Task
from palm.ports.registry import Lease, LeaseId, Revision

LEASE_TTL_S = 5
RENEW = 1_500_000_000
RETRY = 300_000_000
RETURN_JITTER = 1_000_000_000
"""Two hundred instances that lost their leases together come back spread over this time (ns)."""


class Registration:
    def __init__(
        self,
        host: Host,
        key: str,
        value: bytes,
        *,
        ttl_s: int = LEASE_TTL_S,
        renew: int = RENEW,
        log: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.key = key
        self.value = value
        self.revision = Revision(0)
        self.registrations = 0
        self.valid_until = 0
        """Host time at which the lease may have run out, as far as is known here."""
        self._host = host
        self._ttl_s = ttl_s
        self._renew = renew
        self._log = log
        self.on_renewed: Callable[[], None] = lambda: None
        """Called when `lease` or `valid_until` has changed."""
        self._written = b""
        self._lease: Lease | None = None
        self._task: Task | None = None

    async def start(self) -> Revision:
        """Register, and keep it up from now on. Raises a RegistryError when the first try fails."""
        await self._register()
        self._task = self._host.spawn(self._keep(), f"registration {self.key}")
        return self.revision

    @property
    def lease(self) -> LeaseId | None:
        """Under which the record is written; None while there is none."""
        return None if self._lease is None else self._lease.id

    async def update(self, value: bytes) -> None:
        """Change the record. When the registry is away the new value goes out once it is back."""
        self.value = value
        if self._lease is not None:
            try:
                await self._write(self._lease)
            except RegistryError as error:
                self._log(f"record {self.key} was not updated: {error}")

    async def aclose(self) -> None:
        """Take the record away at once, where the registry can be reached; else its lease runs out."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        lease, self._lease = self._lease, None
        if lease is not None:
            try:
                await self._host.registry.revoke(lease.id)
            except RegistryError as error:
                self._log(f"record {self.key} is left to its lease of {lease.ttl_s} s: {error}")

    async def _register(self) -> None:
        sent = self._host.now()
        lease = await self._host.registry.grant(self._ttl_s)
        self.revision = await self._write(lease)
        self._lease = lease
        self.registrations += 1
        self.valid_until = sent + lease.ttl_s * 1_000_000_000
        self.on_renewed()

    async def _write(self, lease: Lease) -> Revision:
        value = self.value
        try:
            revision = await self._host.registry.put(self.key, value, lease.id)
        except RegistryError:
            # It may have been applied, even after a newer one that was answered: what is there must be written again.
            self._written = b""
            raise
        self._written = value
        return revision

    async def _keep(self) -> None:
        host = self._host
        round_number = 0
        while True:
            await host.sleep(self._renew if self._lease is not None else RETRY)
            round_number += 1
            lease = self._lease
            try:
                if lease is not None:
                    sent = host.now()
                    ttl_s = await host.registry.keep_alive(lease.id)
                    self.valid_until = sent + ttl_s * 1_000_000_000
                    self.on_renewed()
                    if self._written != self.value:
                        await self._write(lease)
                else:
                    await self._register()
                    self._log(f"registered {self.key} again")
            except LeaseLost:
                self._lease = None
                self.on_renewed()
                self._log(f"the lease of {self.key} was lost")
                await host.sleep(host.draw("return-jitter", round_number).randrange(RETURN_JITTER))
            except RegistryError as error:
                self._log(f"registry: {error}")
