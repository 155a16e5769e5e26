"""A simulated cluster: server instances and clients in a world, made of the same parts as in production.

An instance has a name, `count[1]`, that stays through its restarts; each life of it is a process of its own. What goes
wrong, and what is asked of the cluster, is decided elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Callable, Mapping, Sequence

from palm.core.message import Peer
from palm.errors import RegistryError
from palm.runtime.engine import ClientEngine
from palm.runtime.functions import functions_of, listed_by_default
from palm.runtime.registration import LEASE_TTL_S, RENEW
from palm.runtime.serving import Serving, ServingSettings
from palm.runtime.traits import traits_of
from palm.sim.draws import ZERO, Distribution
from palm.sim.history import EntryKind
from palm.sim.host import Host
from palm.sim.observed import ObservedEtcd
from palm.sim.recorder import ClientInstrument, Recorder, ServerInstrument
from palm.sim.registry_server import RegistryServer
from palm.sim.world import World
from palm.wire.record import instances_prefix

START_AGAIN = 500_000_000
"""A process that cannot start (no registry) is started again after this long (ns), as a supervisor would."""


@dataclass(slots=True)
class Instance:
    """One place of a server, through all its lives. `serving` is the present life; None while it is down."""

    server: str
    index: int
    place: str
    serving: Serving | None = None
    host: Host | None = None
    make: Callable[[], object] | None = None
    """What its lives run since it was upgraded; None: what its server's others run."""

    @property
    def name(self) -> str:
        return f"{self.server}[{self.index}]"

    @property
    def is_up(self) -> bool:
        return self.host is not None and self.host.alive


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSpec:
    """What all instances of one server have in common. `make` gives each life a server object of its own."""

    name: str
    make: Callable[[], object]
    places: Sequence[str]
    functions: Sequence[str] = ()
    service: Distribution = ZERO
    options: Mapping[str, int] = field(default_factory=dict)
    port: int | None = None
    """Instance n listens on port + n, life after life; None: each life on a port of its own."""
    start_ns: int = 0
    """When the instances are started."""


class Cluster:
    def __init__(self, seed: int, *, namespace: str = "palm", ttl_s: int = LEASE_TTL_S, renew: int = RENEW) -> None:
        self.world = World(seed)
        self.world.registry.etcd = ObservedEtcd(instances_prefix(namespace), self._seen)
        self.recorder = Recorder(self.world.kernel)
        self.instances: dict[str, list[Instance]] = {}
        self.engines: dict[str, ClientEngine] = {}
        self.sizes: dict[str, int] = {}
        """How many instances each server is meant to have."""
        self.namespace = namespace
        self.registered: dict[str, dict[Peer, None]] = {}
        """By server: whose records are in the registry."""
        self._ttl_s = ttl_s
        self._renew = renew
        self._specs: dict[str, ServerSpec] = {}
        self._lives: dict[Peer, Instance] = {}
        self._labels: dict[str, Instance] = {}
        self._stopped: dict[Host, None] = {}
        self.world.registry.on_watch = self._told

    @property
    def registry(self) -> RegistryServer:
        return self.world.registry

    # -- servers ------------------------------------------------------------------------------------------------------

    def add_server(self, spec: ServerSpec) -> list[Instance]:
        """Start one instance at each place. Raises BadRequest when the functions are not there."""
        functions_of(spec.make(), spec.functions or listed_by_default(spec.make()))
        traits_of(spec.make())
        self._specs[spec.name] = spec
        instances = [Instance(spec.name, index, place) for index, place in enumerate(spec.places)]
        self.instances[spec.name] = instances
        self.sizes[spec.name] = len(instances)
        for instance in instances:
            if spec.start_ns:
                self.world.kernel.call_at(spec.start_ns, partial(self.start, instance))
            else:
                self.start(instance)
        return instances

    def upgrade(self, instance: Instance, make: Callable[[], object]) -> None:
        """Stop it in good order; its next lives run what `make` makes, and the first of them begins at once."""
        instance.make = make
        self.stop(instance, then=partial(self.start, instance))

    def scale(self, server: str, to: int) -> int:
        """Start or stop instances until there are `to`; how many were started or stopped."""
        instances, spec = self.instances[server], self._specs[server]
        before = len(instances)
        for index in range(before, to):
            instances.append(Instance(server, index, spec.places[index % len(spec.places)]))
            self.start(instances[-1])
        for instance in instances[to:]:
            self.stop(instance)
        self.sizes[server] = to
        return abs(to - before)

    def start(self, instance: Instance) -> None:
        """Begin a new life of an instance that is down."""
        spec = self._specs[instance.server]
        listen = None if spec.port is None else f"sim://{instance.place}:{spec.port + instance.index}"
        host = self.world.host(instance.name, place=instance.place, service=spec.service, listen=listen)
        server = (instance.make or spec.make)()
        traits = traits_of(server)
        peer = host.transport.peer
        instance.host = host
        self._lives[peer] = instance
        self._labels[host.label] = instance
        serving = instance.serving = Serving(
            host,
            spec.name,
            functions_of(server, spec.functions or listed_by_default(server)),
            ServingSettings(
                cluster=self.namespace,
                lease_ttl_s=self._ttl_s,
                renew=self._renew,
                kind=traits.kind,
                join=traits.join,
                consume=traits.consume,
                **spec.options,
            ),
            instrument=ServerInstrument(self.recorder, spec.name, instance.name, peer),
            on_term=getattr(server, "on_term", None),
        )
        self._note(EntryKind.STARTED, instance, peer)
        host.on_crash(lambda dead: self._crashed(instance, dead))
        host.spawn(self._begin(instance, host, serving), "start")

    async def _begin(self, instance: Instance, host: Host, serving: Serving) -> None:
        try:
            await serving.start()
        except RegistryError:
            kernel = self.world.kernel
            kernel.call_soon(host.crash)
            kernel.call_at(kernel.now + START_AGAIN, lambda: None if instance.is_up else self.start(instance))

    def stop(self, instance: Instance, then: Callable[[], None] = lambda: None) -> None:
        """Let it finish what it has taken and leave the registry, as at SIGTERM; `then` is called once it is gone.
        Harmless when it is down."""
        host, serving = instance.host, instance.serving
        if host is None or serving is None or not host.alive:
            then()
            return

        async def end() -> None:
            await serving.drain()
            await serving.aclose()
            self.world.kernel.call_soon(over)

        def over() -> None:
            self._stopped[host] = None
            host.crash()  # nothing of it is left but an empty process
            then()

        host.spawn(end(), "stop")

    def crash(self, instance: Instance) -> None:
        """Kill its present life. Harmless when it is down."""
        if instance.host is not None:
            instance.host.crash()

    def _crashed(self, instance: Instance, host: Host) -> None:
        instance.serving = None
        kind = EntryKind.STOPPED if host in self._stopped else EntryKind.CRASHED
        self._note(kind, instance, host.transport.peer)

    def _note(self, kind: EntryKind, instance: Instance, peer: str) -> None:
        self.recorder.add(kind, server=instance.server, instance=instance.name, detail=peer)

    def _seen(self, what: str, key: str) -> None:
        peer = Peer(key.rpartition("/")[2])
        instance = self._lives.get(peer)
        if instance is not None:
            self._note(EntryKind(what), instance, peer)
            there = self.registered.setdefault(instance.server, {})
            if what == EntryKind.REGISTERED.value:
                there[peer] = None
            else:
                there.pop(peer, None)

    def _told(self, client: str, events: int) -> None:
        instance = self._labels.get(client)
        if instance is not None:
            self._note(EntryKind.WATCH_EVENT, instance, str(events))

    def behind(self) -> str:
        """Who, of all that live and run, does not see the registry as it is; the first in words, or nothing."""
        directories = [
            (instance.name, instance.serving.directory)
            for group in self.instances.values()
            for instance in group
            if instance.serving is not None
        ]
        directories += [(name, engine.directory) for name, engine in self.engines.items()]
        for name, directory in directories:
            host = self.world.processes[name]
            if not host.alive or host.frozen:
                continue
            for server, table in directory.view.items():
                if table.keys() != self.registered.get(server, {}).keys():
                    return f"{name} sees {len(table)} of {server}, not {len(self.registered.get(server, {}))}"
        return ""

    def leader(self, server: str) -> list[Instance]:
        """The instance that was elected last; nobody, where there was no election."""
        for entry in reversed(self.recorder.entries):
            if entry.kind is EntryKind.ELECTED and entry.server == server:
                return [one for one in self.instances[server] if one.name == entry.instance]
        return []

    # -- clients ------------------------------------------------------------------------------------------------------

    def client_host(self, name: str, place: str) -> Host:
        return self.world.host(name, place=place)

    def client(self, name: str, place: str, ready: Callable[[ClientEngine, ClientInstrument], None]) -> None:
        """Start a client process; `ready` gets its engine once it is registered, however long that takes."""
        host = self.client_host(name, place)
        instrument = ClientInstrument(self.recorder)
        engine = self.engines[name] = ClientEngine(
            host, cluster=self.namespace, name="client", ttl_s=self._ttl_s, renew=self._renew, instrument=instrument
        )

        async def begin() -> None:
            try:
                await engine.start()
            except RegistryError:
                self.world.kernel.call_soon(host.crash)
                again = self.world.kernel.now + START_AGAIN
                self.world.kernel.call_at(again, lambda: self.client(name, place, ready))
                return
            ready(engine, instrument)

        host.spawn(begin(), "start")

    # -- the end ------------------------------------------------------------------------------------------------------

    def left_open(self) -> list[str]:
        """What is still held for jobs that are over, in words. Nothing, where all is well."""
        found: list[str] = []
        for engine in self.engines.values():
            for number, job in engine.node.jobs.items():
                if job.rows or job.payloads or job.untaken:
                    found.append(f"job {number} of {engine.host.name} holds {len(job.rows)} messages")
        for instances in self.instances.values():
            for instance in instances:
                if instance.serving is not None and instance.is_up:
                    node = instance.serving.node
                    if node.in_flight:
                        found.append(f"{instance.name} runs {node.in_flight} messages of jobs that are over")
                    found += [f"{instance.name} {what}" for what in node.held()]
        return found
