"""One server instance at work on a host: node, driver, user code, its record in the registry, and its view of the
others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Callable, Mapping

from palm.core.effect import Abandon, Drained, Effect, Follow, Invoke
from palm.core.event import DrainAsked
from palm.core.joins import Join
from palm.core.message import Instance
from palm.core.server import ServerNode
from palm.ports.host import Host
from palm.runtime.directory import Directory
from palm.runtime.drive import Driver, Instrument
from palm.runtime.invoke import MAX_PAYLOAD_BYTES, Function, Invoker
from palm.runtime.registration import LEASE_TTL_S, RENEW, Registration
from palm.wire.record import encode_instance, instance_key

POLL = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingSettings:
    cluster: str = "palm"
    kind: str = "RegisteredServer"
    join: Join = "arrival"
    consume: bool = False
    """These three are a server class's own: `palm.runtime.traits`."""
    lease_ttl_s: int = LEASE_TTL_S
    renew: int = RENEW
    max_in_flight: int = 16_384
    max_payload_bytes: int = MAX_PAYLOAD_BYTES
    drain_s: float = 30.0
    """How long a draining instance waits for what it has taken."""
    pid: int = 0


class Serving:
    def __init__(
        self,
        host: Host,
        name: str,
        functions: Mapping[str, Function],
        settings: ServingSettings = ServingSettings(),
        *,
        instrument: Instrument | None = None,
        log: Callable[[str], None] = lambda text: None,
    ) -> None:
        peer = host.transport.peer
        self.name = name
        self.host = host
        self.node = ServerNode(
            peer=peer,
            server=name,
            functions=tuple(functions),
            cluster=settings.cluster,
            max_in_flight=settings.max_in_flight,
            join=settings.join,
            now=host.now(),
        )
        self.driver = Driver(host, self.node, self._perform, instrument)
        self.directory = Directory(host, settings.cluster, self.driver.post, log=log)
        self.registration: Registration | None = None
        self._functions = functions
        self._settings = settings
        self._log = log
        self._drained = False
        self._record: Instance | None = None
        self._invoker = Invoker(
            host,
            server=name,
            peer=peer,
            functions=functions,
            post=self.driver.post_now,
            max_payload_bytes=settings.max_payload_bytes,
            begins=None if instrument is None else instrument.begins,
            consume=settings.consume,
        )

    async def start(self) -> str:
        """Bind, serve, register; the address. Raises OSError for the address, RegistryError for the registry."""
        settings, host = self._settings, self.host
        self.driver.start()
        address = host.transport.bind()
        self._record = Instance(
            server=self.name,
            peer=host.transport.peer,
            address=address,
            functions=tuple(self._functions),
            kind=settings.kind,
            host=host.name,
            pid=settings.pid,
            started_ms=host.wall() // 1_000_000,
        )
        self.registration = Registration(
            host,
            instance_key(settings.cluster, self.name, host.transport.peer),
            encode_instance(self._record),
            ttl_s=settings.lease_ttl_s,
            renew=settings.renew,
            log=self._log,
        )
        await self.registration.start()
        return address

    async def drain(self) -> bool:
        """Take nothing more, finish what was taken, and say so in the registry; False when `drain_s` was not enough."""
        self.driver.post(DrainAsked())
        if self.registration is not None and self._record is not None:
            await self.registration.update(encode_instance(replace(self._record, draining=True)))
        until = self.host.now() + int(self._settings.drain_s * 1e9)
        while not self._drained and self.host.now() < until:
            await self.host.sleep(POLL)
        return self._drained

    async def aclose(self, linger_s: float = 1.0) -> None:
        """Leave the registry, flush what is on its way out, and let go of everything."""
        await self.directory.aclose()
        if self.registration is not None:
            await self.registration.aclose()
        await self._invoker.aclose(0.0)
        self.driver.close()
        await self.host.transport.aclose(linger_s)
        await self.host.registry.aclose()

    def _perform(self, effect: Effect) -> None:
        if isinstance(effect, Invoke):
            self._invoker.invoke(effect)
        elif isinstance(effect, Follow):
            self.directory.follow(effect.server)
        elif isinstance(effect, Abandon):
            self._invoker.abandon(effect.job)
        elif isinstance(effect, Drained):
            self._drained = True
