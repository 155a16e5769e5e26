"""One process of a real run: a server's instance, or the client of a host with all its jobs.

`python -m palm.testing.real.process` is told by its first argument, a JSON object, which run it belongs to, reads the
scenario by itself, and is told over the channel what it is. It says that it is ready, and begins when the director says
so.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib.util
import json
import os
import selectors
import signal
import socket
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Callable, Coroutine

from palm.core.message import Peer
from palm.errors import NameTaken, PalmError, RegistryError, ScenarioError, StartFailed
from palm.net.etcd.settings import EtcdSettings
from palm.net.recording import Both, RecordedSteps, Tape
from palm.net.registry import EtcdRegistry
from palm.net.transport import TransportSettings, ZmqTransport
from palm.net.world import NetWorld
from palm.ports.registry import Change, Kind
from palm.runtime.directory import Directory
from palm.runtime.drive import Instrument
from palm.runtime.engine import ClientEngine
from palm.runtime.functions import functions_of, hooks_of, listed_by_default
from palm.runtime.hooks import lifecycle_of
from palm.runtime.inside import Inside, bind
from palm.runtime.portal import World as ClientWorld
from palm.runtime.serving import Serving, ServingSettings
from palm.runtime.traits import traits_of
from palm.sim.cluster import START_AGAIN, held_by_client, held_by_instance, open_jobs
from palm.sim.draws import Key
from palm.sim.history import EntryKind
from palm.sim.judge import looked_at
from palm.sim.loads import Load
from palm.sim.network import Network, Rule
from palm.sim.recorder import ClientInstrument, ServerInstrument
from palm.sim.registry_server import PLACE as REGISTRY
from palm.sim.scenario import actions
from palm.sim.scenario.actions import OnLink
from palm.sim.scenario.load import Job
from palm.sim.scenario.names import LOCAL
from palm.sim.scenario.scenario import Scenario
from palm.sim.simulation import client_of
from palm.sim.store_load import StoreLoad
from palm.testing.real.able import needs
from palm.testing.real.channel import Channel
from palm.testing.real.clock import HostClock, RealClock
from palm.testing.real.disk import CountedDisk
from palm.testing.real.host import Pace, RealHost
from palm.testing.real.outbox import FLUSH_S, Outbox, read, row_of, written
from palm.testing.real.points import Points
from palm.testing.real.proxies import Proxies
from palm.testing.real.scale import prepared
from palm.testing.real.shim import ShimRegistry, ShimTransport
from palm.testing.real.tokens import take

SWITCH_INTERVAL_S = 1e-4
_PR_SET_PDEATHSIG = 1
DISK = "a commit refused"
"""No step has such a name: a disk does not know which one has filled it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What every process of a run has in common; `fd` is where it is told what it is."""

    file: str
    scale: float
    seed: int
    fd: int
    parent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What a process is: `server` and `index`, or neither for a client. `life` counts its restarts."""

    peers: list[str]
    """Of a server, one; of a host's clients, one for each: `client_of` names them, in the order of the file."""
    place: str
    etcd: list[str]
    folder: str
    """What outlives a process is kept below it."""
    tokens: dict[str, int]
    """By step: the pipe that says how often it may still happen."""
    server: str = ""
    index: int = 0
    life: int = 0
    upgraded: list[str]
    """A file and a class of it, where they are not those of the scenario's `run` any more."""
    record: str = ""
    """The file that its recording is appended to."""

    @property
    def name(self) -> str:
        return f"{self.server}[{self.index}]" if self.server else f"client@{self.place}"


class Process:
    """What servers and clients have in common: clock, network, ledger, and obedience."""

    def __init__(self, orders: Orders, scenario: Scenario, seed: int, channel: Channel) -> None:
        self.orders = orders
        self.seed = seed
        self.scenario = scenario
        self.channel = channel
        self.clock = RealClock(seed)
        self.outbox = Outbox(self.clock, channel)
        self.tape = Tape(orders.record, server=orders.server, host=orders.place) if orders.record else None
        self.network = Network(self.clock)
        for name, host in scenario.world.hosts.items():
            self.network.add_host(name, host.zone or "")
        self.network.add_host(REGISTRY)
        for link in scenario.links:
            if link.between != LOCAL:  # within a host it takes as long as it takes
                self.network.link(link.between, link.link())
        self.rules: dict[str, Rule] = {}
        self.steps = {step.id: step.action for step in scenario.script}
        self.touched: dict[str, int] = {}
        """By step, other than rules: how often it touched something here."""
        needed = needs(scenario)
        self.host_clock = HostClock() if needed.clocks else None
        self.pace = Pace(self.touched) if needed.pace else None
        self.proxies = Proxies(orders.place, self.network) if needed.proxies_to_registry else None
        self._has_proxied_peers = needed.proxies_to_peers
        self._doubts = [
            (orders.tokens[step], action.applied, Key(seed, f"{orders.name}/{orders.life}/{step}"))
            for step, action in self.steps.items()
            if isinstance(action, actions.Unsure)
        ]
        self._lagged: dict[str, int] = {}
        self._told: dict[str, int] = {}
        self.places: dict[Peer, str] = {}
        self.registries: list[ShimRegistry] = []
        self.settings = EtcdSettings(endpoints=tuple(orders.etcd))
        self.directories: list[Directory] = []
        self._views: list[dict[str, list[Peer]]] = []

    def host(self, peer: Peer, *, name: str = "", port: int = 0) -> RealHost:
        """`name`: of one of several clients. `port`: where a server listens; 0, on one of its own."""
        orders = self.orders
        name = name or orders.name
        block = self.scenario.world.servers.get(orders.server)
        registry = self._registry(name)
        transport = ZmqTransport(peer, TransportSettings(bind_host="127.0.0.1", bind_port=port))
        host = RealHost(
            orders.place,
            ShimTransport(
                transport,
                self.network,
                f"{name}/{orders.life}",
                orders.place,
                self.places,
                self.proxies if self._has_proxied_peers else None,
            ),
            registry,
            seed=self.seed,
            label=f"{name}/{orders.life}",
            clock=self.host_clock,
            pace=self.pace,
            tape=self.tape,
            **({} if block is None else {"service": block.service, "burnt": block.cpu.handling}),
        )
        host.failed.add_done_callback(lambda failed: self.say_failed(failed.result()))
        return host

    def _registry(self, name: str) -> ShimRegistry:
        place, proxies, watching = self.orders.place, self.proxies, None
        settings = self.settings
        if proxies is not None:
            settings, watched = proxies.to_registry(settings)
            watching = EtcdRegistry(watched)
        registry = ShimRegistry(
            EtcdRegistry(settings), self.network, name, place, watching=watching, doubt=self._doubt, heard=self._heard
        )
        self.registries.append(registry)
        return registry

    def _heard(self, changes: tuple[Change, ...]) -> None:
        now, orders = self.clock.now, self.orders
        self._told |= {registration_of(one): now for one in changes if one.kind is Kind.PUT and one.record.version == 1}
        if orders.server:
            self.outbox.add(
                EntryKind.WATCH_EVENT, server=orders.server, instance=orders.name, detail=str(len(changes))
            )

    def _doubt(self) -> Callable[[], None] | None:
        """How the write that follows, or its answer, is lost, where a script says so and nobody else had it happen."""
        proxies = self.proxies
        for fd, applied, key in self._doubts:
            if proxies is not None and take(fd):
                is_applied = applied == "all" or (applied == "some" and key.unit(self.clock.now) < 0.5)
                return proxies.lose_answers if is_applied else proxies.lose_requests
        return None
    def seen_by(self, instrument: Instrument) -> Instrument:
        """The instrument, and the recording, where one is made."""
        return instrument if self.tape is None else Both(instrument, RecordedSteps(self.tape))

    def say_failed(self, bug: BaseException) -> None:
        """An error of PALM's own: the run is worth nothing any more."""
        self.channel.say(failed=f"{self.orders.name}: {type(bug).__name__}: {bug}")

    def obey(self, word: str, what: Any) -> None:
        """One word of the director's."""
        match word:
            case "places":
                self.places.update(what)
            case "lay":
                step = next(step for step in self.scenario.script if step.id == what)
                assert isinstance(step.action, OnLink), "the director lays rules for such steps only"
                self.rules[what] = self.network.lay(step.action.link, step.action.rule(), what)
            case "lift":
                self.network.lift(self.rules[what])
            case "begin":
                self._begin_step(what, self.steps[what])
            case "end":
                self._end_step(what, self.steps[what])

    def _begin_step(self, step: str, action: actions.Action) -> None:
        """What is done to this process, other than by rules and signals."""
        match action:
            case actions.Reset() if self.proxies is not None:
                self.touch(step, self.proxies.reset(action.link))
            case actions.DropWatch() if self.proxies is not None:
                self.touch(step, self.proxies.drop_watches())
            case actions.LagWatch() if self.proxies is not None:
                self._lagged[step] = self.proxies.late_bytes
                self.proxies.lag_watches(action.by_ns / 1e9)
            case actions.Busy() if self.pace is not None:
                self.pace.slow(step, action.by)
            case actions.Drift() if self.host_clock is not None:
                self.host_clock.drift(action.ppm)
                self.touch(step, 1)
            case actions.JumpClock() if self.host_clock is not None:
                self.host_clock.wall_offset += action.by_ns
                self.touch(step, 1)
            case _:
                raise AssertionError(f"the director does not give {action} to processes")

    def _end_step(self, step: str, action: actions.Action) -> None:
        match action:
            case actions.LagWatch() if self.proxies is not None:
                self._note_lag(step, self._lagged.pop(step, self.proxies.late_bytes))
                self.proxies.lag_watches(0.0)
            case actions.Busy() if self.pace is not None:
                self.pace.end(step)
            case actions.Drift() if self.host_clock is not None:
                self.host_clock.drift(0)

    def touch(self, step: str, count: int) -> None:
        self.touched[step] = self.touched.get(step, 0) + count

    def _note_lag(self, step: str, before: int) -> None:
        assert self.proxies is not None, "what lags goes by a proxy"
        self.touched[step] = self.proxies.late_bytes - before

    async def serve(self, obey: Callable[[str, Any], None], begin: Coroutine[Any, Any, None]) -> None:
        """Say that all is ready, begin when told to, and obey until the director is gone."""
        flusher = asyncio.create_task(self._flush())
        if self.tape is not None:
            self.tape.start()
        task: asyncio.Task[None] | None = None
        self.channel.say(ready=True)
        async for words in self.channel:
            for word, what in words.items():
                if word == "go":
                    self.clock.start_ns = what
                    task = asyncio.create_task(begin)
                    task.add_done_callback(self._begun)
                else:
                    obey(word, what)
        flusher.cancel()
        if self.tape is not None:
            self.tape.close()

    def _begun(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.say_failed(error)

    async def _flush(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            self.flush()

    def flush(self) -> None:
        if self._told:
            told, self._told = self._told, {}
            self.channel.say(told=told)
        views = [{server: sorted(table) for server, table in one.view.items()} for one in self.directories]
        if views != self._views:
            self._views = views
            self.channel.say(views=views)
        for step, before in self._lagged.items():
            self._note_lag(step, before)
        self.outbox.flush(self.rules, self.touched, sum(registry.failures for registry in self.registries))


def registration_of(change: Change) -> str:
    """Whose record, and which of all that there were under its key."""
    record = change.record
    return f"{record.key.rpartition('/')[2]}@{record.create_revision}"


# -- a server ---------------------------------------------------------------------------------------------------------


class ServerProcess:
    def __init__(self, process: Process) -> None:
        self._process = process
        orders = process.orders
        self._block = process.scenario.world.servers[orders.server]
        run = self._block.run
        self._make = class_of(*orders.upgraded) if orders.upgraded else class_of(str(run.file), run.class_name)
        self._storage: CountedDisk | None = None
        self._serving: Serving | None = None
        self._loop = asyncio.get_running_loop()
        self._nested_worlds: list[NetWorld] = []
        self._leaves: asyncio.Task[None] | None = None

    async def run(self) -> None:
        await self._process.serve(self._obey, self._begin())

    async def _begin(self) -> None:
        process, block = self._process, self._block
        orders = process.orders
        if orders.life == 0:
            await asyncio.sleep(block.start_ns / 1e9)
        server = self._make()
        traits = traits_of(server)
        lease = process.scenario.world.registry.lease
        listed = block.served or listed_by_default(server)
        options: dict[str, Any] = {**block.options}
        self._have_points()
        if block.memory == "durable":
            base = os.path.join(orders.folder, f"disk-{orders.name}")
            note = partial(
                process.outbox.add,
                EntryKind.COMMITTING,
                server=orders.server,
                instance=orders.name,
                detail=orders.peers[0],
            )
            refused = partial(process.touch, DISK, 1)
            self._storage = CountedDisk(base, orders.server, given=note, refused=refused)
        host = process.host(Peer(orders.peers[0]), port=0 if block.port is None else block.port + orders.index)
        inside = Inside(self._nested)
        serving = self._serving = Serving(
            host,
            orders.server,
            functions_of(server, listed),
            ServingSettings(
                lease_ttl_s=lease.ttl_ns // 1_000_000_000,
                renew=lease.renew_ns,
                kind=traits.kind,
                join=traits.join,
                consume=traits.consume,
                scatter=traits.scatter,
                outputs=traits.outputs,
                reducing=traits.reducing,
                pid=os.getpid(),
                **options,
            ),
            instrument=process.seen_by(ServerInstrument(process.outbox, orders.server, orders.name, orders.peers[0])),
            storage=self._storage,
            lifecycle=lifecycle_of(server),
            hooks=hooks_of(server),
            on_retire=self._leave,
            inside=inside,
        )
        bind(server, inside)
        process.directories.append(serving.directory)
        try:
            await serving.start()
        except RegistryError as error:
            # A supervisor would start it again; the director does.
            await self._end("again", str(error))
        except (NameTaken, StartFailed) as error:
            await self._end("refused", str(error))

    def _have_points(self) -> None:
        process = self._process
        steps = ((fd, process.steps.get(step)) for step, fd in process.orders.tokens.items())
        points = [(fd, action) for fd, action in steps if isinstance(action, actions.Point)]
        if points:
            submit = asyncio.get_running_loop().call_soon_threadsafe
            process.outbox.notice = Points(points, submit=submit, die=self._die).reached

    def _die(self) -> None:
        """As by kill -9, but that the ledger so far is not lost with it."""
        self._process.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    def _nested(self, name: str) -> ClientWorld:
        submit = self._loop.call_soon_threadsafe  # from user code, so on whatever thread that runs
        submit(lambda: self._process.channel.say(nested=self._process.orders.server))
        world = NetWorld(self._process.settings, cluster="palm", name=name, log=lambda text: None)
        self._nested_worlds.append(world)
        return world

    def _obey(self, word: str, what: Any) -> None:
        match word:
            case "drain":
                self._leave()
            case "open":
                engines = [world.engine for world in self._nested_worlds if world.engine is not None]
                self._process.channel.say(open=[written(job) for engine in engines for job in open_jobs(engine)])
            case "held":
                still_open = {read(job) for job in what}
                name, serving = self._process.orders.name, self._serving
                held = [] if serving is None else held_by_instance(name, serving, still_open)
                self._process.channel.say(held=held)
            case _:
                self._process.obey(word, what)

    def _leave(self) -> None:
        if self._leaves is None:
            self._leaves = asyncio.create_task(self._drain())

    async def _drain(self) -> None:
        self._process.channel.say(leaves=True)
        while self._serving is None or not (
            self._serving.registration is not None and self._serving.registration.registrations
        ):
            await asyncio.sleep(0.05)  # told to stop while it starts: it does so when it serves
        await self._serving.drain()
        await self._serving.aclose()
        await self._end("stopped", True)

    async def _end(self, word: str, what: object) -> None:
        self._process.flush()
        self._process.channel.say(**{word: what})
        await self._process.channel.flush()
        os._exit(0)


def class_of(file: str, class_name: str) -> Callable[[], object]:
    """The class of a server file, which is run as a module: what it does under `__main__` is not done."""
    path = Path(file)
    name = f"palm_scenario_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None, "the loader has found the file"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.parent))  # as when it is run: what it imports may stand beside it
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever a user's file raises is shown as one error
        raise ScenarioError(f"{path} does not load: {type(error).__name__}: {error}") from error
    found: Callable[[], object] = getattr(module, class_name)
    return found


# -- a client ---------------------------------------------------------------------------------------------------------


class ClientProcess:
    """All clients of a host: each is an engine of its own."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._engines: list[ClientEngine] = []
        self._clients = clients_at(process.scenario, process.orders.place)
        self._loads: list[Load] = []
        self._stores = {
            store.client: store
            for store in StoreLoad.of(process.scenario.stores, process.clock)
            if store.place == process.orders.place
        }

    async def run(self) -> None:
        await self._process.serve(self._obey, self._begin())

    async def _begin(self) -> None:
        async with asyncio.TaskGroup() as group:
            for peer, client in zip(self._process.orders.peers, self._clients, strict=True):
                loads = [self._load(job, part) for job, part in client.parts]
                self._loads += loads
                group.create_task(self._begin_one(Peer(peer), client, loads))

    def _load(self, job: Job, part: str) -> Load:
        load = Load(job, part, self._process.clock, self._process.outbox)
        load.results = [] if job.id in looked_at(self._process.scenario) else None
        load.on_end = self._say_ended
        return load

    async def _begin_one(self, peer: Peer, client: ClientAt, loads: list[Load]) -> None:
        process = self._process
        lease = process.scenario.world.registry.lease
        await asyncio.sleep(client.start_ns / 1e9)
        while True:
            host = process.host(peer, name=client.name)
            instrument = ClientInstrument(process.outbox)
            engine = ClientEngine(
                host,
                name="client",
                ttl_s=lease.ttl_ns // 1_000_000_000,
                renew=lease.renew_ns,
                instrument=process.seen_by(instrument),
            )
            try:
                await engine.start()
                break
            except RegistryError:
                await engine.aclose(0.0)
                await asyncio.sleep(START_AGAIN / 1e9)
        self._engines.append(engine)
        process.directories.append(engine.directory)
        for one in loads:
            one.begin(engine, instrument)
        store = self._stores.get(client.name)
        if store is not None:
            store.on_end = self._say_ended
            store.begin(engine, instrument)
        process.channel.say(jobs={written(job): part for job, part in process.outbox.jobs.items()})

    def _say_ended(self) -> None:
        self._process.flush()
        ended = [one.name for one in self._loads if one.has_ended]
        self._process.channel.say(ended=ended + [store.client for store in self._stores.values() if store.has_ended])

    def _obey(self, word: str, what: Any) -> None:
        channel = self._process.channel
        match word:
            case "cancel":
                count = sum(one.cancel() for one in self._loads if one.job.id == what)
                channel.say(cancelled=[what, count])
            case "open":
                channel.say(open=[written(job) for engine in self._engines for job in open_jobs(engine)])
            case "held":
                for one in self._loads:
                    one.note_ledger()
                self._process.flush()
                channel.say(
                    ledgers={one.name: list(one.ledger) for one in self._loads},
                    results={
                        one.name: [result.hex() for result in one.results]
                        for one in self._loads
                        if one.results is not None
                    },
                    operations=[
                        [store.use.id, row_of(operation)]
                        for store in self._stores.values()
                        for operation in store.all_seen()
                    ],
                    held=[words for engine in self._engines for words in held_by_client(engine)],
                )
            case _:
                self._process.obey(word, what)


@dataclass(frozen=True, slots=True)
class ClientAt:
    """One client of a host: the parts of jobs that it does, or its use of a store, by its name."""

    name: str
    start_ns: int
    parts: list[tuple[Job, str]]


def clients_at(scenario: Scenario, place: str) -> list[ClientAt]:
    """The clients of a host, in the order of the file."""
    clients: dict[tuple[str, str, int], list[tuple[Job, str]]] = {}
    for job in scenario.load:
        if job.client == place:
            for part in job.parts:
                clients.setdefault(client_of(job, part), []).append((job, part))
    found = [ClientAt(name, start_ns, parts) for (name, _, start_ns), parts in clients.items()]
    return found + [
        ClientAt(store.client, 0, []) for store in StoreLoad.of(scenario.stores, RealClock(0)) if store.place == place
    ]


# -- main -------------------------------------------------------------------------------------------------------------


async def _main(start: Start) -> None:
    channel = await Channel.on(socket.socket(fileno=start.fd))
    try:
        scenario = prepared(start.file, start.scale, start.seed)
        orders = await _orders(channel)
        process = Process(orders, scenario, start.seed, channel)
        running = ServerProcess(process) if orders.server else ClientProcess(process)
    except PalmError as error:
        channel.say(failed=str(error))
        await channel.flush()
        return
    await running.run()


async def _orders(channel: Channel) -> Orders:
    """Waits until somebody is needed."""
    async for words in channel:
        return Orders(**words["be"])
    os._exit(0)  # nobody was


def _loop() -> asyncio.AbstractEventLoop:
    # epoll waits in whole milliseconds, which is longer than most links take; select in microseconds.
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


def main(text: str) -> None:
    start = Start(**json.loads(text))
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # also when it is stopped
    if os.getppid() != start.parent:
        os._exit(1)  # the director is gone already
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    with asyncio.Runner(loop_factory=_loop) as runner:
        runner.run(_main(start))
    os._exit(0)  # threads of user code that still sleep are not waited for


if __name__ == "__main__":
    main(sys.argv[1])
