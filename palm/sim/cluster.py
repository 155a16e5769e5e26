"""A simulated cluster: server instances and clients in a world, made of the same parts as in production.

An instance has a name, `count[1]`, that stays through its restarts; each life of it is a process of its own. What goes
wrong, and what is asked of the cluster, is decided elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Callable, Container, Mapping, Sequence

from palm.core.message import JobId, Peer
from palm.errors import NameTaken, PalmError, RegistryError, StartFailed
from palm.runtime.engine import ClientEngine
from palm.runtime.functions import Function, functions_of, hooks_of, listed_by_default
from palm.runtime.hooks import lifecycle_of
from palm.runtime.inside import Inside, bind
from palm.runtime.portal import World as ClientWorld
from palm.runtime.registration import LEASE_TTL_S, RENEW
from palm.runtime.serving import Serving, ServingSettings
from palm.runtime.traits import traits_of
from palm.sim import sandbox
from palm.sim.blame import said_by
from palm.sim.draws import ZERO, Distribution, Key
from palm.sim.etcd.watch import PROGRESS_INTERVAL
from palm.sim.executor import UserSurroundings
from palm.sim.history import EntryKind
from palm.sim.host import Host
from palm.sim.observed import ObservedEtcd
from palm.sim.processor import FREE, Costs
from palm.sim.recorder import ClientInstrument, Recorder, ServerInstrument
from palm.sim.registry import RegistrySettings
from palm.sim.registry_server import PASSWORD, USER, RegistryServer
from palm.sim.still import Still
from palm.sim.storage import Disk, SimStorage
from palm.sim.world import World
from palm.wire.record import instances_prefix

START_AGAIN = 500_000_000
"""A process that cannot start (no registry) is started again after this long (ns), as a supervisor would."""

LOOK_AGAIN = 50_000_000


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
    leaves: bool = False
    """Its present life was asked to end in good order."""
    refused: NameTaken | StartFailed | None = None
    """Why it could not start."""

    @property
    def name(self) -> str:
        return f"{self.server}[{self.index}]"

    @property
    def is_up(self) -> bool:
        return self.host is not None and self.host.alive and not self.host.suspended


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryShape:
    """How the registry of a cluster is made."""

    members: int = 1
    history: int | None = None
    """How many revisions it keeps; None: all."""
    progress_ns: int | None = None
    """How often it tells quiet watches unasked how far they are; None: never."""
    progress_overtakes: bool = False
    token_ns: int | None = None
    """It wants user and password, and a token that nobody uses lives that long; None: it wants neither."""

    def set_up(self, server: RegistryServer) -> RegistrySettings:
        """What its clients need."""
        server.history = self.history
        server.notifies_progress = self.progress_ns is not None
        server.progress_overtakes = self.progress_overtakes
        if self.token_ns is None:
            return RegistrySettings()
        server.want_password(self.token_ns)
        return RegistrySettings(user=USER, password=PASSWORD)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSpec:
    """What all instances of one server have in common. `make` gives each life a server object of its own."""

    name: str
    make: Callable[[], object]
    places: Sequence[str]
    functions: Sequence[str] = ()
    service: Distribution = ZERO
    costs: Costs = FREE
    options: Mapping[str, int] = field(default_factory=dict)
    durable: bool = False
    """Its stores are on disks, which outlive crashes."""
    port: int | None = None
    """Instance n listens on port + n, life after life; None: each life on a port of its own."""
    start_ns: int = 0
    """When the instances are started."""


class Cluster:
    def __init__(
        self,
        seed: int,
        *,
        namespace: str = "palm",
        ttl_s: int = LEASE_TTL_S,
        renew: int = RENEW,
        registry: RegistryShape = RegistryShape(),
    ) -> None:
        self.world = World(seed, registry_members=registry.members)
        self._credentials = registry.set_up(self.world.registry)
        self.world.registry.etcd = ObservedEtcd(
            instances_prefix(namespace), self._seen, progress_interval=registry.progress_ns or PROGRESS_INTERVAL
        )
        self.recorder = Recorder(self.world.kernel)
        self.instances: dict[str, list[Instance]] = {}
        self.engines: dict[str, ClientEngine] = {}
        self.sizes: dict[str, int] = {}
        """How many instances each server is meant to have."""
        self.namespace = namespace
        self.registered: dict[str, dict[Peer, None]] = {}
        """By server: whose records are in the registry."""
        self.wrap: Callable[[str, Function], Function] = lambda instance, function: function
        """Put around every function of every instance, by the instance's name: how the guard sees user code."""
        self._ttl_s = ttl_s
        self._renew = renew
        self._specs: dict[str, ServerSpec] = {}
        self._lives: dict[Peer, Instance] = {}
        self.disks: dict[str, Disk] = {}
        """Of instances, by name, where they have one."""
        self._labels: dict[str, Instance] = {}
        self.world.registry.on_watch = self._told

    @property
    def registry(self) -> RegistryServer:
        return self.world.registry

    # -- servers ------------------------------------------------------------------------------------------------------

    def add_server(self, spec: ServerSpec) -> list[Instance]:
        """Start one instance at each place. Raises BadRequest when the functions are not there."""
        server = _made(spec.make, Still(self.world.kernel.seed, spec.name, refuses=True))
        functions_of(server, spec.functions or listed_by_default(server))
        traits_of(server)
        hooks_of(server)
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
        self.drain(instance, partial(self.start, instance))

    def scale(self, server: str, to: int) -> int:
        """Start or stop instances until there are `to`; how many were started or stopped."""
        instances, spec, before = self.instances[server], self._specs[server], self.sizes[server]
        for index in range(before, to):
            if index == len(instances):
                instances.append(Instance(server, index, spec.places[index % len(spec.places)]))
            if not instances[index].is_up:
                self.start(instances[index])
        for instance in instances[to:before]:
            self.drain(instance)
        self.sizes[server] = to
        return abs(to - before)

    def start(self, instance: Instance) -> None:
        """Begin a new life of an instance that is down; one that was suspended goes on with the old one."""
        if instance.host is not None and instance.host.suspended and instance.host.alive:
            instance.host.resume()
            self._note(EntryKind.RESUMED, instance, instance.host.transport.peer)
            return
        spec = self._specs[instance.server]
        listen = None if spec.port is None else f"sim://{instance.place}:{spec.port + instance.index}"
        host = self.world.host(
            instance.name,
            place=instance.place,
            service=spec.service,
            registry=self._credentials,
            listen=listen,
            costs=spec.costs,
        )
        try:
            server = _made(instance.make or spec.make, UserSurroundings(host, "init"))
        except StartFailed as error:
            instance.refused = error  # as a process that ends with a traceback before it has begun
            host.crash()
            return
        traits = traits_of(server)
        peer = host.transport.peer
        inside = Inside(lambda name: self.client_world(f"{instance.name}/{name}", host))
        instance.host = host
        instance.leaves = False
        self._lives[peer] = instance
        disk = self.disks.setdefault(instance.name, Disk()) if spec.durable else None
        if disk is not None:
            disk.on_commit = partial(self._note, EntryKind.COMMITTING, instance, peer)
        self._labels[host.label] = instance
        serving = instance.serving = Serving(
            host,
            spec.name,
            {
                name: self.wrap(instance.name, function)
                for name, function in functions_of(server, spec.functions or listed_by_default(server)).items()
            },
            ServingSettings(
                cluster=self.namespace,
                lease_ttl_s=self._ttl_s,
                renew=self._renew,
                kind=traits.kind,
                join=traits.join,
                consume=traits.consume,
                scatter=traits.scatter,
                outputs=traits.outputs,
                reducing=traits.reducing,
                **spec.options,
            ),
            instrument=ServerInstrument(self.recorder, spec.name, instance.name, peer),
            storage=None if disk is None else SimStorage(host, disk),
            lifecycle=lifecycle_of(server),
            hooks={name: self.wrap(instance.name, hook) for name, hook in hooks_of(server).items()},
            on_retire=lambda: self.drain(instance),
            inside=inside,
        )
        bind(server, inside)
        self._note(EntryKind.STARTED, instance, peer)
        host.on_crash(lambda dead: self._ended(dead, EntryKind.CRASHED))
        host.spawn(self._begin(instance, host, serving), "start")

    async def _begin(self, instance: Instance, host: Host, serving: Serving) -> None:
        try:
            await serving.start()
        except (NameTaken, StartFailed) as error:
            # As a process that says so and ends: trying again would not help.
            instance.refused = error
            self._end(host)
        except RegistryError:
            kernel = self.world.kernel
            kernel.call_soon(host.crash)
            kernel.call_at(kernel.now + START_AGAIN, lambda: None if instance.is_up else self.start(instance))

    def crash(self, instance: Instance) -> None:
        """Kill its present life. Harmless when it is down."""
        if instance.host is not None:
            instance.host.crash()

    def suspend(self, instance: Instance) -> None:
        """Stop its present life with its memory: `start` lets it go on. Harmless when it is down."""
        if instance.host is not None and instance.is_up:
            instance.host.suspend()
            self._note(EntryKind.SUSPENDED, instance, instance.host.transport.peer)

    def drain(self, instance: Instance, then: Callable[[], None] = lambda: None) -> None:
        """End its present life in good order, as Ctrl-C does, and call `then`, where it comes to that. Harmless when it
        leaves already; one that is down has ended."""
        host, serving = instance.host, instance.serving
        if host is None or serving is None or not host.alive:
            then()
        elif not instance.leaves:
            instance.leaves = True
            host.spawn(self._drain(host, serving, then), "drain")

    async def _drain(self, host: Host, serving: Serving, then: Callable[[], None]) -> None:
        while serving.registration is None or not serving.registration.registrations:
            await host.sleep(LOOK_AGAIN)  # a process that was told to stop while it starts does so when it serves
        await serving.drain()
        await serving.aclose()
        self._end(host)
        self.world.kernel.call_soon(then)

    def _end(self, host: Host) -> None:
        """Nothing is left of it but the process."""
        host.on_crash(lambda dead: self._ended(dead, EntryKind.STOPPED))
        self.world.kernel.call_soon(host.crash)

    def _ended(self, host: Host, how: EntryKind) -> None:
        instance = self._lives[host.transport.peer]
        instance.serving = None
        disk = self.disks.get(instance.name)
        if disk is not None and (under_way := len(disk.unsynced)):
            there = disk.lose_power(Key(self.world.kernel.seed, f"{host.label}/disk/power"))
            self._note(EntryKind.CUT_SHORT, instance, f"{under_way} under way, {there} there all the same")
        self._note(how, instance, host.transport.peer)

    def _note(self, kind: EntryKind, instance: Instance, detail: str) -> None:
        self.recorder.add(kind, server=instance.server, instance=instance.name, detail=detail)

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

    def client_world(self, name: str, within: Host) -> ClientWorld:
        """The world of a client that is part of the process `within`."""
        from palm.sim.portal import SimWorld  # which is made of this file

        return SimWorld(self, name, within.place, within)

    def client_host(self, name: str, place: str, costs: Costs = FREE) -> Host:
        return self.world.host(name, place=place, registry=self._credentials, costs=costs)

    def client(
        self,
        name: str,
        place: str,
        ready: Callable[[ClientEngine, ClientInstrument], None],
        costs: Costs = FREE,
    ) -> None:
        """Start a client process; `ready` gets its engine once it is registered, however long that takes."""
        host = self.client_host(name, place, costs)
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
                self.world.kernel.call_at(again, lambda: self.client(name, place, ready, costs))
                return
            ready(engine, instrument)

        host.spawn(begin(), "start")

    # -- the end ------------------------------------------------------------------------------------------------------

    def left_open(self) -> list[str]:
        """What is still held for jobs that are over, in words. Nothing, where all is well."""
        living = [engine for engine in self.engines.values() if engine.driver.is_open]
        still_open = {job for engine in living for job in open_jobs(engine)}
        found: list[str] = []
        for engine in self.engines.values():
            found += held_by_client(engine)
        for instances in self.instances.values():
            for instance in instances:
                if instance.serving is not None and instance.is_up:
                    found += held_by_instance(instance.name, instance.serving, still_open)
        return found


def open_jobs(engine: ClientEngine) -> list[JobId]:
    """Jobs of a client that are not over."""
    return [job.id for job in engine.node.jobs.values() if not job.ended]


def held_by_client(engine: ClientEngine) -> list[str]:
    """What a client still holds for its jobs, in words."""
    return [
        f"job {number} of {engine.host.name} holds {len(job.rows)} messages"
        for number, job in engine.node.jobs.items()
        if job.rows or job.payloads or job.untaken
    ]


def held_by_instance(name: str, serving: Serving, still_open: Container[JobId]) -> list[str]:
    """What an instance still holds for jobs that are over, in words."""
    node = serving.node
    found = [f"{name} runs {node.in_flight} messages of jobs that are over"] if node.in_flight else []
    return found + [f"{name} {what}" for what in node.held(still_open)]


def _made(make: Callable[[], object], surroundings: sandbox.Surroundings) -> object:
    """A server object; its constructor is user code. Raises StartFailed for what that raises."""
    before = sandbox.enter(surroundings)
    try:
        return make()
    except PalmError:
        raise
    except (Exception, SystemExit) as error:  # whatever a user's constructor raises is shown as one error
        name = getattr(make, "__name__", "the server's class")
        raise StartFailed(f"{name}() raised {said_by(error)}") from error
    finally:
        sandbox.enter(before)
