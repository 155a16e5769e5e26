"""Keeps one record in the registry under a lease, for as long as its owner lives, whatever happens to the registry.

The record of a server's instance goes in together with its kind, in one transaction: two kinds under one name, started
in one moment, are one and a refusal. The lease is renewed every `renew`; when the registry says that it is gone, the
record is written once under a new one. While the registry is away nothing stops: the owner works on and comes back by
itself. A renewal is judged on the local monotonic clock, counted from its sending (RELIABILITY.md, rule 9).
"""

from __future__ import annotations

from typing import Callable

from palm.core.message import Instance
from palm.errors import Indefinite, LeaseLost, NameTaken, RegistryError
from palm.ports.host import Host, Task
from palm.ports.registry import Committed, Compare, Get, Lease, LeaseId, Put, Record, Revision
from palm.wire.record import decode_instance, instances_prefix, kind_key

LEASE_TTL_S = 5
RENEW = 1_500_000_000
RETRY = 300_000_000
RETURN_JITTER = 1_000_000_000
"""Two hundred instances that lost their leases together come back spread over this time (ns)."""


REPEATS = 5
"""How often a transaction whose answer was lost is sent: whatever it did, doing it again is harmless."""


class Registration:
    """`claims`: the instance that the record shows; its server's name must be free, or of its kind."""

    def __init__(
        self,
        host: Host,
        key: str,
        value: bytes,
        *,
        ttl_s: int = LEASE_TTL_S,
        renew: int = RENEW,
        log: Callable[[str], None] = lambda text: None,
        claims: tuple[str, Instance] | None = None,
    ) -> None:
        """`claims` is the cluster and the instance."""
        self._claims = claims
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
        """Register, and keep it up from now on. Raises a RegistryError when the first try fails, NameTaken where the
        name is another kind's."""
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
        if self._claims is None:
            self.revision = await self._write(lease)
        else:
            self.revision = await self._claim(lease, *self._claims)
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

    async def _claim(self, lease: Lease, cluster: str, instance: Instance) -> Revision:
        """Write the record where the name is free or of its kind.

        Each registration writes the kind anew, under its own lease: so the key lives as long as the last one, and
        whoever found the name free finds out that it is not any more.
        """
        value, kind = self.value, instance.kind.encode()
        key = kind_key(cluster, instance.server)
        puts = [Put(key=key, value=kind, lease=lease.id), Put(key=self.key, value=value, lease=lease.id)]
        looks = [Get(key=key), Get(key=instances_prefix(cluster, instance.server), prefix=True)]
        guard = Compare(key=key, target="value", value=kind)
        while True:
            answer = await self._transact(guard, puts, looks)
            if answer.succeeded:
                self._written = value
                return answer.revision
            holder, others = answer.responses
            assert isinstance(holder, tuple) and isinstance(others, tuple), "a Get answers with records"
            other = _of_another_kind(others, instance)
            if other is not None:
                await self._give_back(lease)
                raise _name_taken(instance, other, self._ttl_s)
            if not holder:
                guard = Compare(key=key, target="version", value=0)
            elif holder[0].value == kind:
                guard = Compare(key=key, target="value", value=kind)  # however many come in this moment
            else:
                guard = Compare(key=key, target="mod", value=holder[0].mod_revision)

    async def _transact(self, guard: Compare, puts: list[Put], looks: list[Get]) -> Committed:
        for _ in range(REPEATS - 1):
            try:
                return await self._host.registry.transact([guard], puts, looks)
            except Indefinite as error:
                self._log(f"registry: {error}")
        return await self._host.registry.transact([guard], puts, looks)

    async def _give_back(self, lease: Lease) -> None:
        try:
            await self._host.registry.revoke(lease.id)
        except RegistryError as error:
            self._log(f"a lease of {lease.ttl_s} s is left to itself: {error}")

    async def _keep(self) -> None:
        host = self._host
        round_number = 0
        pause = self._renew
        while True:
            await host.sleep(pause if self._lease is not None else RETRY)
            round_number += 1
            lease = self._lease
            pause = self._renew
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
            except NameTaken as error:
                # Another kind came while the lease was lost. Who is linked goes on; nobody new will come.
                self._log(str(error))
                await host.sleep(self._renew)
            except RegistryError as error:
                self._log(f"registry: {error}")
                # An election in the registry, and then another, may leave but a moment in which a lease can be renewed.
                pause = min(RETRY, self._renew)


def _of_another_kind(records: tuple[Record, ...], instance: Instance) -> Instance | None:
    """The first of the others, by age, that is not of this instance's kind."""
    others = [decode_instance(record.key, record.value) for record in records]
    strangers = [other for other in others if other is not None and other.kind != instance.kind]
    return min(strangers, key=lambda other: (other.started_ms, other.peer), default=None)


def _name_taken(instance: Instance, other: Instance, ttl_s: int) -> NameTaken:
    return NameTaken(
        f"{instance.server!r} is a {other.kind}: {other.peer} on {other.host or other.address} (pid {other.pid}) "
        f"serves {', '.join(other.functions)} under that name; this is a {instance.kind}. Choose another name, or let "
        f"them leave first (palm drain {instance.server}; one that died is gone after {ttl_s} s)"
    )
