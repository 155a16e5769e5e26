"""One server instance at work on a host: node, driver, user code, its record in the registry, and its view of the
others."""

from __future__ import annotations

import inspect
import logging
from dataclasses import dataclass, replace
from typing import Callable, Mapping

from palm.core.butterfly import ButterflyNode
from palm.core.effect import Abandon, Drained, Effect, Follow, Invoke, Retire, Stand
from palm.core.event import Deposed, DrainAsked
from palm.core.joins import SINK, Join
from palm.core.kinds import PARALLEL
from palm.core.message import Instance
from palm.core.replica import Copy
from palm.core.scatter import Policy
from palm.core.server import ServerNode
from palm.core.store import Store
from palm.core.store_node import StoreNode
from palm.errors import StartFailed
from palm.observe.log import Line, LogRing
from palm.ports.host import Host
from palm.ports.storage import Storage
from palm.runtime.builtins import BuiltIns
from palm.runtime.directory import Directory
from palm.runtime.drive import Driver, Instrument
from palm.runtime.election import Election
from palm.runtime.envelope import CURRENT
from palm.runtime.fold import Reducing
from palm.runtime.functions import Function
from palm.runtime.hooks import Hook, Lifecycle
from palm.runtime.inside import Inside
from palm.runtime.invoke import MAX_PAYLOAD_BYTES, Invoker
from palm.runtime.keeping import Keeping
from palm.runtime.options import options_of
from palm.runtime.registration import LEASE_TTL_S, RENEW, Registration
from palm.runtime.results import MAX_RESULTS_BYTES
from palm.wire import store as words
from palm.wire.fold import encode_parts
from palm.wire.record import encode_instance, instance_key, leader_key

POLL = 10_000_000
HOOK_POLL = 1_000_000

STOP = 10_000_000_000
"""What `on_stop` may take (ns): who waits for a process to stop does not wait for ever."""

HAND_OVER = 500_000_000
"""How long (ns) a leader that drains waits for what its workers have, before the next one leads."""

FAREWELL = 200_000_000
"""How long (ns) an instance that has drained still says so to those who have not heard of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingSettings:
    cluster: str = "palm"
    kind: str = "RegisteredServer"
    join: Join = "arrival"
    consume: bool = False
    scatter: Policy | None = None
    outputs: tuple[tuple[str, tuple[str, ...]], ...] = ()
    reducing: Reducing | None = None
    """These six are a server class's own: `palm.runtime.traits`."""
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
        warn: Callable[[str], None] = lambda text: None,
        lifecycle: Lifecycle = Lifecycle(),
        storage: Storage | None = None,
        on_retire: Callable[[], None] = lambda: None,
        hooks: Mapping[str, Function] | None = None,
        inside: Inside | None = None,
    ) -> None:
        """`lifecycle`: user code that runs where functions run. `on_retire` is called, perhaps several times, when
        somebody asks the instance to drain and end. `hooks` is what its kind of server needs beside functions, by
        name. `storage` is where the copy of the store is kept; None: in memory. `warn` says what whoever runs the
        cluster should know."""
        peer = host.transport.peer
        self.name = name
        self.host = host
        self.node = _node(host, name, functions, settings)
        self.election: Election | None = None
        key, self._leader_key = words.store_key(settings.cluster, name), leader_key(settings.cluster, name)
        parallel = settings.kind in PARALLEL
        self.store = StoreNode(
            self.node,
            Copy(peer, Store(), durable=False),
            words,
            me=Instance(server=name, peer=peer, address="", functions=(), host=host.name),
            cluster=settings.cluster,
            key=key,
            follows_own=parallel,
            stands=parallel,
        )
        self.driver = Driver(host, self.store, self._perform, instrument)
        self.keeping = Keeping(host, key, self._leader_key, self.driver.post, storage=storage, log=self._log, warn=warn)
        self._has_disk = storage is not None
        self.directory = Directory(host, settings.cluster, self.driver.post, log=self._log)
        self.registration: Registration | None = None
        self._functions = functions
        self.settings = settings
        self._ring = LogRing()
        self._say = log
        self._lifecycle = lifecycle
        self._on_retire = on_retire
        self._term = 0
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
            in_order=settings.join == "order",
            # Between worker and leader, all results of a message travel as one payload.
            results_bytes=settings.max_payload_bytes if settings.kind in PARALLEL else MAX_RESULTS_BYTES,
            reducing=settings.reducing,
            hooks=hooks,
            built_in=BuiltIns(self, self._ring).functions,
            ring=self._ring,
        )
        self._instrument = instrument
        self._inside = inside
        if inside is not None:
            inside.server = name
            inside.marks = self._marks
            inside.waits = self._invoker.waits

    async def start(self) -> str:
        """Run `on_start`, bind, serve, register; the address. Raises StartFailed for the first, OSError for the
        address, RegistryError for the registry, StorageError for the disk, NameTaken where another kind serves under
        the name."""
        settings, host = self.settings, self.host
        if self._has_disk:
            copy, rows = await self.keeping.load()
            self.store.copy = Copy(copy, Store.of(rows), durable=True)
        self.driver.start()
        if self._lifecycle.on_start is not None:
            raised = await self._run_hook(self._lifecycle.on_start, None)
            if raised:
                self._log(f"on_start raised: {raised}")
                raise StartFailed(f"{self.name} does not start: on_start raised {raised.splitlines()[-1]}")
        address = host.transport.bind()
        self._record = Instance(
            server=self.name,
            peer=host.transport.peer,
            address=address,
            functions=tuple(self._functions),
            once=tuple(name for name, function in self._functions.items() if options_of(function).at_most_once),
            kind=settings.kind,
            join=settings.join if settings.kind == SINK else "",
            outputs=tuple(one for one in settings.outputs if one[0] in self._functions),
            host=host.name,
            pid=settings.pid,
            started_ms=host.wall() // 1_000_000,
            role="worker" if settings.kind in PARALLEL else "",
            every=0 if settings.reducing is None else settings.reducing.every,
        )
        self.registration = Registration(
            host,
            instance_key(settings.cluster, self.name, host.transport.peer),
            encode_instance(self._record),
            ttl_s=settings.lease_ttl_s,
            renew=settings.renew,
            log=self._log,
            claims=(settings.cluster, self._record),
        )
        await self.registration.start()
        if settings.kind in PARALLEL:
            self.directory.follow(self.name)
        self.election = Election(host, self.registration, self._leader_key, self.driver.post, log=self._log)
        self.election.start()
        return address

    async def drain(self) -> bool:
        """Take nothing more, finish what was taken, and say so in the registry; then run `on_stop`, for some seconds at
        most. False when `drain_s` was not enough.

        A leader makes room for the next one as soon as its workers are through, or after `HAND_OVER`.
        """
        self.driver.post(DrainAsked())
        if self.election is not None:
            self.election.retire()
        if self._record is not None:
            self._record = replace(self._record, draining=True)
            await self._show()
        begin = self.host.now()
        until = begin + int(self.settings.drain_s * 1e9)
        while not self._drained and self.host.now() < until:
            if self.election is not None and self.election.leads and self.host.now() >= begin + HAND_OVER:
                await self._resign(self.election)
            await self.host.sleep(POLL)
        if self.election is not None:
            await self._resign(self.election)
        drained = self._drained
        await self.host.sleep(FAREWELL)
        if self._lifecycle.on_stop is not None:
            raised = await self._run_hook(self._lifecycle.on_stop, self.host.now() + STOP)
            if raised is None:
                self._log(f"on_stop still runs after {STOP / 1e9:g} s: {self.name} stops without it")
            elif raised:
                self._log(f"on_stop raised: {raised}")
        return drained

    async def _resign(self, election: Election) -> None:
        """Let another one lead. Where the store's data end with this instance, that one learns of it."""
        last = self.store.last_copy()
        if last is not None:
            term = self.store.mandate.term
            self.driver.post_now(Deposed())
            await self.keeping.close_record(last, term)
        await election.resign()

    async def _run_hook(self, hook: Hook, until: int | None) -> str | None:
        """What it raised, as text; None where it had not ended in time."""
        ended: list[str] = []
        self._invoker.call(hook, (), ended.append)
        while not ended:
            if until is not None and self.host.now() >= until:
                return None
            await self.host.sleep(HOOK_POLL)
        return ended[0]

    def function_stats(self) -> dict[str, dict[str, object]]:
        return self._invoker.stats()

    def executor_state(self) -> Mapping[str, int]:
        return self._invoker.state()

    def _log(self, text: str) -> None:
        """PALM's own words about this instance."""
        self._say(text)
        self._ring.add(Line(self.host.wall() // 1_000_000, logging.INFO, "palm.server", text))

    async def _show(self) -> None:
        if self.registration is not None and self._record is not None:
            await self.registration.update(encode_instance(self._record))

    async def aclose(self, linger_s: float = 1.0) -> None:
        """Leave the registry, flush what is on its way out, and let go of everything."""
        await self.directory.aclose()
        if self.election is not None:
            await self.election.aclose()
        await self.keeping.aclose()
        if self.registration is not None:
            await self.registration.aclose()
        if self._inside is not None:
            await self._inside.aclose(self.host)
        await self._invoker.aclose(0.0)
        self.driver.close()
        await self.host.transport.aclose(linger_s)
        await self.host.registry.aclose()

    def _marks(self, name: str) -> None:
        """User code's, so on whatever thread it runs."""
        work = CURRENT.get()
        if self._instrument is not None:
            if work is None:
                self._instrument.marks(name, None, -1)
            else:
                self._instrument.marks(name, work.batch.header, work.batch.sequences[work.index])

    def _perform(self, effect: Effect) -> None:
        if isinstance(effect, Invoke):
            self._invoker.invoke(effect)
        elif isinstance(effect, Follow):
            self.directory.follow(effect.server)
        elif isinstance(effect, Abandon):
            self._invoker.abandon(effect.job)
        elif isinstance(effect, Drained):
            self._drained = True
        elif isinstance(effect, Stand):
            self._stand(effect)
        elif isinstance(effect, Retire):
            self._on_retire()
        else:
            self.keeping.perform(effect)

    def _stand(self, effect: Stand) -> None:
        assert self._record is not None, "nothing happens to a node before its instance is registered"
        self._record = replace(self._record, role=effect.role, term=effect.term)
        self.host.spawn(self._show(), f"show {effect.role}")
        if effect.term > self._term:
            self._term = effect.term
            what = "store of " if effect.role == "keeper" else ""
            self._log(f"{what}{self.name} is led by this instance, term {effect.term}")
            if self._lifecycle.on_term is not None and self.settings.kind in PARALLEL:
                self._invoker.call(self._lifecycle.on_term, (effect.term,), self._on_term_ended)

    def _on_term_ended(self, raised: str) -> None:
        if raised:
            self._log(f"on_term raised: {raised}")


def _node(
    host: Host, name: str, functions: Mapping[str, Function], settings: ServingSettings
) -> ServerNode | ButterflyNode:
    if settings.kind in PARALLEL:
        return ButterflyNode(
            peer=host.transport.peer,
            server=name,
            functions=tuple(functions),
            cluster=settings.cluster,
            max_in_flight=settings.max_in_flight,
            now=host.now(),
            concurrent=any(map(_runs_beside, functions.values())),
            pack=None if settings.reducing is None else encode_parts,
            scatter=settings.scatter,
        )
    return ServerNode(
        peer=host.transport.peer,
        server=name,
        functions=tuple(functions),
        cluster=settings.cluster,
        max_in_flight=settings.max_in_flight,
        join=settings.join,
        now=host.now(),
    )


def _runs_beside(function: Function) -> bool:
    """Whether its messages run beside each other, or in batches: a worker that has one has use for more."""
    options = options_of(function)
    return inspect.iscoroutinefunction(function) or (options.concurrency or 1) > 1 or (options.batch or 1) > 1
