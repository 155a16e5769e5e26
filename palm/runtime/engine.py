"""A client at work on a host: node, driver, its record in the registry, its view of the servers, and its jobs' sinks.

Everything here belongs to the host's thread. `palm.client` puts a face on it for callers; the simulator's loads use it
as it is.
"""

from __future__ import annotations

from typing import Callable, Protocol

from palm.core.client import ClientNode
from palm.core.effect import Deliver, Demand, Effect, Ended, Follow, Ready
from palm.core.event import Cancelled, Offered, Opened, SourceEnded, Taken
from palm.core.message import Instance, Payload
from palm.core.route import Route
from palm.errors import PalmError
from palm.observe.ledger import Ledger
from palm.ports.host import Host
from palm.runtime.directory import Directory
from palm.runtime.drive import Driver, Instrument
from palm.runtime.registration import LEASE_TTL_S, RENEW, Registration
from palm.wire.fold import decode_tables
from palm.wire.record import client_key, decode_instance, encode_client, instances_prefix


class JobSink(Protocol):
    """Who a job's effects go to. Called on the host's thread, and must return at once."""

    def ready(self) -> None:
        """Every server of the route is there."""
        ...

    def demand(self, count: int) -> None:
        """`offer` up to that many more payloads, in one call or several."""
        ...

    def deliver(
        self,
        sequences: list[int],
        payloads: list[Payload],
        statuses: list[int] | None,
        emitted: bool = False,
        in_order: bool = True,
        keys: dict[int, bytes] | None = None,
    ) -> None:
        """Outcomes, in order of arrival; statuses None: all are results. Say `taken` once the caller has them.
        `emitted`, `in_order`, `keys`: see `Deliver`."""
        ...

    def ended(self, error: PalmError | None) -> None:
        """No outcome will follow; `error` where the job was refused before its first message."""
        ...


class ClientEngine:
    def __init__(
        self,
        host: Host,
        *,
        cluster: str = "palm",
        name: str = "client",
        ttl_s: int = LEASE_TTL_S,
        renew: int = RENEW,
        instrument: Instrument | None = None,
        log: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.host = host
        self.cluster = cluster
        self.node = ClientNode(
            peer=host.transport.peer, incarnation=0, cluster=cluster, name=name, unfold=decode_tables
        )
        self.driver = Driver(host, self.node, self._perform, instrument)
        self.directory = Directory(host, cluster, self.driver.post, log=log)
        self.registration = Registration(
            host,
            client_key(cluster, host.transport.peer),
            encode_client(name, host.name),
            ttl_s=ttl_s,
            renew=renew,
            log=log,
        )
        self._sinks: dict[int, JobSink] = {}

    async def start(self) -> None:
        """Register: the revision of that makes this life's job ids unlike any other's. Raises RegistryError."""
        self.driver.start()
        self.node.incarnation = await self.registration.start()

    async def aclose(self, linger_s: float = 0.5) -> None:
        for number in list(self._sinks):
            self.cancel(number)
        await self.directory.aclose()
        await self.registration.aclose()
        self.driver.close()
        await self.host.transport.aclose(linger_s)
        await self.host.registry.aclose()

    # -- jobs ---------------------------------------------------------------------------------------------------------

    def new_number(self) -> int:
        """A number for a job that is about to be opened."""
        return self.node.new_number()

    def open(
        self,
        number: int,
        sink: JobSink,
        route: Route,
        *,
        window: int,
        window_bytes: int,
        deadline: int | None = None,
        at_most_once: bool = False,
        trace: bytes = b"",
        session: str = "",
        endless: bool = False,
    ) -> None:
        """Open a job. The sink hears `ready` and `demand` once the whole route is there: perhaps before this
        returns."""
        self._sinks[number] = sink
        self.driver.post_now(
            Opened(
                number=number,
                route=route,
                window=window,
                window_bytes=window_bytes,
                deadline=deadline,
                at_most_once=at_most_once,
                trace=trace,
                session=session,
                endless=endless,
            )
        )

    def offer(self, number: int, payloads: list[bytes], deadline: int | None = None) -> None:
        """`deadline`: nanoseconds that these have, where it is not the job's."""
        self.driver.post_now(Offered(number, payloads, deadline))

    def source_ended(self, number: int) -> None:
        self.driver.post_now(SourceEnded(number))

    def taken(self, number: int, outcomes: int, delivered: int, payload_bytes: int) -> None:
        self.driver.post_now(Taken(number, outcomes, delivered, payload_bytes))

    def cancel(self, number: int) -> None:
        self.driver.post_now(Cancelled(number))

    def close(self, number: int) -> None:
        """The caller is done with an ended job."""
        self._sinks.pop(number, None)
        self.node.close(number)

    def ledger(self, number: int) -> Ledger | None:
        job = self.node.jobs.get(number)
        if job is None:
            return None
        ends = job.ends
        return Ledger(
            sent=job.sent,
            delivered=ends.delivered,
            failed=ends.failed,
            expired=ends.expired,
            dead_lettered=ends.dead_lettered,
            in_flight=job.in_flight,
        )

    def emitted(self, number: int) -> int:
        """How many results the job's reductions have given."""
        job = self.node.jobs.get(number)
        return 0 if job is None else job.emitted

    def progress_at(self, number: int) -> int | None:
        """Host time of the last sign that the job moves; None once it is gone."""
        job = self.node.jobs.get(number)
        return None if job is None else job.progress_at

    def describe(self, number: int) -> str:
        return self.node.describe(number, self.host.now())

    async def instances(self) -> list[Instance]:
        """Every instance of the cluster, as the registry shows it now."""
        listing = await self.host.registry.get(instances_prefix(self.cluster))
        found = [decode_instance(record.key, record.value) for record in listing.records]
        return [instance for instance in found if instance is not None]

    def _perform(self, effect: Effect) -> None:
        if isinstance(effect, Follow):
            self.directory.follow(effect.server)
            return
        if not isinstance(effect, Deliver | Demand | Ready | Ended):
            return
        sink = self._sinks.get(effect.number)
        if sink is None:
            return
        if isinstance(effect, Deliver):
            columns = effect.sequences, effect.payloads, effect.statuses
            sink.deliver(*columns, effect.emitted, effect.in_order, effect.keys)
        elif isinstance(effect, Demand):
            sink.demand(effect.count)
        elif isinstance(effect, Ready):
            sink.ready()
        else:
            sink.ended(effect.error)
