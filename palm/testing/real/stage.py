"""The stage of a real run: processes of this machine, and what a script may do to them.

Faults of processes are signals (SIGKILL, SIGSTOP and SIGCONT), of links rules that every process lays upon itself, of
the registry the end of etcd and its return. What processes tell becomes the one event ledger; who is registered is
seen by a watch of our own, which no rule touches.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Callable, Coroutine, Iterable, Sequence

from palm.core.message import Peer
from palm.errors import HarnessError
from palm.net.peer import new_peer
from palm.net.registry import EtcdRegistry
from palm.observe.ledger import Ledger
from palm.ports.registry import Kind, Revision
from palm.sim.cluster import START_AGAIN
from palm.sim.history import Entry, EntryKind
from palm.sim.linearizable import Operation
from palm.sim.network import Action, Ends, Rule
from palm.sim.recorder import Recorder
from palm.sim.registry_server import ELECTION_NS
from palm.sim.scenario import actions
from palm.sim.scenario.names import SameAs, Target, TheRegistry
from palm.sim.scenario.scenario import Scenario
from palm.sim.simulation import LOOK
from palm.sim.stage import Done
from palm.testing.real.able import needs
from palm.testing.real.channel import Channel
from palm.testing.real.clock import RealClock
from palm.testing.real.disk import fill
from palm.testing.real.etcd import RealEtcd, local_etcd
from palm.testing.real.outbox import entry_of, operation_of
from palm.testing.real.process import DISK, Orders, Start, clients_at, registration_of
from palm.testing.real.tokens import Tokens
from palm.wire.record import instances_prefix

START_S = 60.0
SPARE = 4
"""Processes that wait to be the next life of whoever gets one, at most: no more than the script has use for."""
ANSWER_S = 10.0
LEADER = TheRegistry(leader=True)
COMMAND = (sys.executable, "-P", "-m", "palm.testing.real.process")
"""What runs one process; its orders are the last argument."""


@dataclass(eq=False, slots=True)
class Place:
    """One place of a server, through all its lives; or a client, with `server` empty."""

    server: str
    index: int
    place: str
    upgraded: tuple[str, str] | None = None
    """The file and class that its next lives run, where they are not those of the scenario any more."""
    disk_is_full: bool = False
    life: Life | None = None
    lives: int = 0

    @property
    def name(self) -> str:
        return f"{self.server}[{self.index}]" if self.server else f"client@{self.place}"

    @property
    def is_up(self) -> bool:
        return self.life is not None and self.life.is_up

    @property
    def leaves(self) -> bool:
        return self.life is not None and self.life.leaves


@dataclass(frozen=True, slots=True)
class Started:
    """A process that does not know yet what it is: `end` is how it is told. A restart in a script is a moment and not
    the start of a Python, so some of them wait."""

    process: subprocess.Popen[bytes]
    end: socket.socket
    log: Path


class Life:
    """One process, which is told to be what `orders` say."""

    def __init__(self, place: Place, orders: Orders, started: Started) -> None:
        self.place = place
        self.peer = Peer(orders.peers[0])
        self.orders = orders
        self.process = started.process
        self.end = started.end
        self.log = started.log
        self.channel: Channel | None = None
        self.is_up = True
        self.leaves = False
        self.then: Callable[[], None] | None = None
        """What comes when it has left in good order."""
        self.may_go = False
        self.ready = asyncio.Event()
        self.bitten: dict[str, int] = {}
        self.failures = 0
        self.frozen = False
        self.views: list[dict[str, list[str]]] = []
        """By server, whom it believes to be there: one for each client or instance in it."""
        self.answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.listener: asyncio.Task[None] | None = None

    def say(self, **words: Any) -> None:
        if self.channel is not None and self.is_up:
            self.channel.say(**words)


class RealStage:
    """`palm.sim.stage.Stage` for one run. Processes are started by `open`, and begin with `go`."""

    def __init__(
        self,
        scenario: Scenario,
        file: str,
        seed: int,
        scale: float,
        folder: Path,
        command: Sequence[str] = COMMAND,
        make_etcd: Callable[[Path, int], RealEtcd] = local_etcd,
        record: str = "",
    ) -> None:
        self.clock = RealClock(seed)
        self.recorder = Recorder(self.clock)
        self.instances: dict[str, list[Place]] = {
            name: [Place(name, index, place) for index, place in enumerate(block.places)]
            for name, block in scenario.world.servers.items()
        }
        self.sizes = {name: len(group) for name, group in self.instances.items()}
        self.clients = [Place("", 0, place) for place in dict.fromkeys(places_of_clients(scenario))]
        self.ended: set[str] = set()
        """Jobs that are over, by the names of their parts."""
        self.ledgers: dict[str, Ledger] = {}
        self.results: dict[str, list[bytes]] = {}
        self.operations: dict[str, list[Operation]] = {}
        """By use of a store, as its clients have told."""
        self.nested: set[str] = set()
        """Servers whose functions call others: their clients are beyond the shim."""
        self.refused: list[str] = []
        """Which instances would not start, and why."""
        self.failed = ""
        """Why the run is worth nothing."""
        self._scenario = scenario
        self._file = os.path.abspath(file)
        self._scale = scale
        self._folder = folder
        self._command = command
        self._record = record and os.path.abspath(record)
        self._etcd = make_etcd(folder, needs(scenario).members)
        self._started = 0
        self._lives: dict[Peer, Life] = {}
        self._told: dict[str, int] = {}
        """By the instance and the revision of its registration: when the first process heard of it."""
        self._revisions: dict[Entry, str] = {}
        self._places: dict[Peer, str] = {}
        self._jobs: dict[str, str] = {}
        self._rules: dict[str, Rule] = {}
        self._touched: dict[str, int] = {}
        """By step, other than rules: what processes say that it touched."""
        self._standing: dict[str, None] = {}
        """Steps that a process which begins later is told of as well."""
        self._tokens = {
            step.id: Tokens() for step in scenario.script if isinstance(step.action, actions.Point | actions.Unsure)
        }
        self._waiting: list[Started] = []
        begin_lives = actions.Restart | actions.Upgrade | actions.Scale
        self._newcomers = sum(isinstance(step.action, begin_lives) for step in scenario.script)
        self._members: dict[str, int] = {}
        """By step that was done to one member of the registry: to which; -1 while it is looked for."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._happening: asyncio.Task[None] | None = None
        self._registered: dict[str, set[str]] = {}
        self._cancelled: dict[str, int] = {}
        self._watching: asyncio.Task[None] | None = None

    # -- the whole ----------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Start etcd and every process, and wait until all are ready."""
        if self._etcd.quick:
            self._etcd.up()  # here: the members end with the thread that started them
        else:
            await asyncio.to_thread(self._etcd.up)
        for place in [*self.clients, *(one for group in self.instances.values() for one in group)]:
            place.life = self._have_live(place)
        for _ in range(min(SPARE, self._newcomers)):
            self._waiting.append(self._start_process())
        await self._etcd.ready()
        ready = asyncio.gather(*(life.ready.wait() for life in self._lives.values()))
        try:
            await asyncio.wait_for(ready, START_S)
        except TimeoutError:
            silent = [life.place.name for life in self._lives.values() if not life.ready.is_set()]
            said = "; ".join(_last_words(life) for life in self._lives.values() if not life.ready.is_set())
            raise HarnessError(f"not ready after {START_S:g} s: {', '.join(silent)}: {said}") from None
        self.check()

    async def go(self) -> None:
        """The run begins now."""
        registry = EtcdRegistry(self._etcd.settings)
        prefix = instances_prefix("palm")
        empty = await registry.get(prefix)  # before anybody can be there
        self._watching = asyncio.create_task(self._watch(registry, prefix, empty.revision))
        self.clock.start_ns += self.clock.now
        for life in self._lives.values():
            if life.place.server:
                self._note(EntryKind.STARTED, life)
            self._begin(life)
        self.look_at_views()

    def check(self) -> None:
        """Raise HarnessError when a process has met an error of PALM's own."""
        if self.failed:
            raise HarnessError(self.failed)

    async def left_open(self) -> list[str]:
        """What is held for jobs that are over, in words; and ledgers and results are in after it."""
        living = [life for life in self._lives.values() if life.is_up]
        still_open: list[str] = []
        for life in living:
            life.say(open=True)
            still_open += (await self._answer(life, "open"))["open"]
        found: list[str] = []
        self.operations = {}
        for life in living:
            life.say(held=still_open)
            words = await self._answer(life, "held")
            found += words["held"]
            self.ledgers |= {job: Ledger(*row) for job, row in words.get("ledgers", {}).items()}
            self.results |= {
                job: [bytes.fromhex(one) for one in lines] for job, lines in words.get("results", {}).items()
            }
            for use, row in words.get("operations", ()):
                self.operations.setdefault(use, []).append(operation_of(row))
        return found

    async def close(self) -> None:
        """Nothing is left of it."""
        for started in self._waiting:
            started.process.kill()
            started.end.close()
            await asyncio.to_thread(started.process.wait)
        for life in self._lives.values():
            life.is_up = False
            life.process.kill()
        for life in self._lives.values():
            await asyncio.to_thread(life.process.wait)
            if life.listener is not None:
                life.listener.cancel()
            if life.channel is not None:
                life.channel.close()
        for task in (*self._tasks, *filter(None, [self._watching])):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await asyncio.to_thread(self._etcd.close)
        for tokens in self._tokens.values():
            tokens.close()

    def in_time(self, entry: Entry) -> Entry:
        """A registration was when the first of all who watch heard of it, and we may be among the last."""
        told = self._told.get(self._revisions.get(entry, ""), entry.at)
        return entry if told >= entry.at else entry._replace(at=told)

    # -- Stage --------------------------------------------------------------------------------------------------------

    def leader(self, server: str) -> list[Place]:
        for entry in reversed(self.recorder.entries):
            if entry.kind is EntryKind.ELECTED and entry.server == server:
                return [one for one in self.instances[server] if one.name == entry.instance]
        return []

    def start(self, instance: Place) -> None:
        life = self._have_live(instance)
        instance.life = life
        if instance.disk_is_full:
            fill(life.process.pid, True)
        self._note(EntryKind.STARTED, life)
        self._begin(life)

    def crash(self, instance: Place) -> None:
        life = instance.life
        if life is not None and life.is_up:
            life.is_up = False
            life.process.kill()
            if self._scenario.world.servers[instance.server].memory == "durable":
                life.process.wait()  # its disk is the next life's once it is gone
            self._note(EntryKind.CRASHED, life)
            self._have_one_wait()

    def drain(self, instance: Place) -> None:
        life = instance.life
        if life is not None and life.is_up and not life.leaves:
            life.leaves = True
            life.say(drain=True)
            self._have_one_wait()

    def freeze(self, instance: Place) -> Callable[[], None]:
        life = instance.life
        assert life is not None, "only one that is up can be frozen"
        life.process.send_signal(signal.SIGSTOP)
        life.frozen = True

        def thaw() -> None:
            life.process.send_signal(signal.SIGCONT)
            life.frozen = False

        return thaw

    def lay(self, ends: Ends, action: Action, name: str) -> Rule:
        """Every process lays it upon itself, as it finds it in the scenario under the step's name."""
        rule = self._rules[name] = Rule(name=name, ends=ends, action=action)
        for life in self._lives.values():
            life.say(lay=name)
        return rule

    def lift(self, rule: Rule) -> None:
        if rule.active:
            rule.active = False
            for life in self._lives.values():
                life.say(lift=rule.name)

    def cancel(self, job: str) -> Callable[[], int]:
        client = next(one.client for one in self._scenario.load if one.id == job)
        for place in self.clients:
            if place.place == client and place.life is not None:
                place.life.say(cancel=job)
        return lambda: self._cancelled.get(job, 0)

    def act(self, step: str, action: actions.Action, who: Sequence[Place]) -> Done:
        """What `can_act` says yes to."""
        etcd, touched = self._etcd, self._failures_from_now()
        match action:
            case actions.RegistryDown(for_ns=for_ns):
                self._have(etcd.down)
                return Done(touched=touched, undo=partial(self._have, etcd.up), for_ns=for_ns)
            case actions.ChangeLeader():
                undo = partial(self._restart_member, step)
                return Done(touched=self._on_member(step, LEADER, etcd.crash), undo=undo, for_ns=ELECTION_NS)
            case actions.Crash(who=of) if self._is_member(of):
                return Done(touched=self._on_member(step, of, etcd.crash))
            case actions.Restart(who=of) if self._is_member(of):
                return Done(touched=self._on_member(step, of, etcd.restart))
            case actions.Freeze(who=of, for_ns=for_ns) if self._is_member(of):
                touched = self._on_member(step, of, partial(etcd.freeze, 1))
                return Done(touched=touched, undo=partial(self._have, etcd.thaw), for_ns=for_ns)
            case actions.Crash():
                self._have(etcd.down)
                return Done(touched=touched)
            case actions.Restart():
                self._have(etcd.up)
                return Done(touched=lambda: 1)
            case actions.Freeze(for_ns=for_ns):
                self._have(partial(etcd.freeze, len(etcd.endpoints)))
                return Done(touched=touched, undo=partial(self._have, etcd.thaw), for_ns=for_ns)
            case actions.LoseQuorum(for_ns=for_ns):
                self._have(partial(etcd.freeze, etcd.majority))
                return Done(touched=touched, undo=partial(self._have, etcd.thaw), for_ns=for_ns)
            case actions.Compact():
                counts: list[int] = []
                self._soon(self._compact(counts))
                return Done(touched=lambda: sum(counts))
            case actions.Expire():
                ended: list[Peer] = []
                self._soon(self._expire({one.life.peer for one in who if one.life is not None}, ended))
                return Done(touched=lambda: len(ended))
            case actions.DiskFull(who=TheRegistry(), for_ns=for_ns):
                self._soon(etcd.refuse_writes())
                return Done(touched=touched, undo=lambda: self._later(etcd.take_writes()), for_ns=for_ns)
            case actions.DiskFull(for_ns=for_ns):
                return self._fill_disks(who, for_ns)
            case actions.Reset() | actions.DropWatch():
                self._tell(self._lives.values(), begin=step)
                return Done(touched=lambda: self._touched.get(step, 0))
            case actions.LagWatch(for_ns=for_ns):
                self._standing[step] = None
                return self._begin_at(self._lives.values(), step, for_ns)
            case actions.JumpClock():
                self._tell(_lives_of(who), begin=step)
                return Done(touched=lambda: self._touched.get(step, 0))
            case actions.Busy(for_ns=for_ns) | actions.Drift(for_ns=for_ns):
                return self._begin_at(_lives_of(who), step, for_ns)
            case actions.Point(times=times, for_ns=for_ns):
                tokens = self._tokens[step]
                tokens.give(times)
                return Done(touched=lambda: tokens.taken, undo=tokens.take_back, for_ns=for_ns)
            case actions.Unsure(writes=writes):
                doubts = self._tokens[step]
                doubts.give(writes)
                return Done(touched=lambda: doubts.taken)
            case actions.Upgrade(to=to):
                for place in who:
                    self._upgrade(place, (str(to.file), to.class_name))
                return Done(touched=lambda: len(who))
            case actions.Scale(server=server, to=size):
                count = self._scale_to(server, size)
                return Done(touched=lambda: count)
        raise AssertionError(f"{action} was not to come here: `can_act` knows")

    def _is_member(self, who: Target) -> bool:
        """One member of the registry is meant, and not all of it."""
        return who.step in self._members if isinstance(who, SameAs) else isinstance(who, TheRegistry) and who.is_one

    def _on_member(self, step: str, who: Target, do: Callable[[int], None]) -> Callable[[], int]:
        """`do` it to the member that is meant, which is then that of the step; how many that were, once it is done."""

        async def find_and_do() -> None:
            match who:
                case SameAs(step=other):
                    member = self._members[other]
                case TheRegistry(member=int(index)):
                    member = index
                case _:
                    member = await self._etcd.leader()
            self._members[step] = member
            self._have(partial(do, member))

        self._members[step] = -1
        self._soon(find_and_do())
        return lambda: int(self._members[step] >= 0)

    def _restart_member(self, step: str) -> None:
        if self._members[step] >= 0:
            self._have(partial(self._etcd.restart, self._members[step]))

    def heard(self, entry: Entry) -> None:
        """Its process is elsewhere: nothing can be done on the stack of user code."""

    # -- what processes do to themselves ------------------------------------------------------------------------------

    def _begin_at(self, lives: Iterable[Life], step: str, for_ns: int | None) -> Done:
        """Those processes have it until it is over."""
        told = list(lives)
        self._tell(told, begin=step)

        def undo() -> None:
            self._standing.pop(step, None)
            self._tell(told if not isinstance(self._action(step), actions.LagWatch) else self._lives.values(), end=step)

        return Done(touched=lambda: self._touched.get(step, 0), undo=undo, for_ns=for_ns)

    def _fill_disks(self, who: Sequence[Place], for_ns: int) -> Done:
        before = self._touched.get(DISK, 0)

        def fill_all(full: bool) -> None:
            for place in who:
                place.disk_is_full = full
                if place.life is not None and place.life.is_up:
                    fill(place.life.process.pid, full)

        fill_all(True)
        return Done(
            touched=lambda: self._touched.get(DISK, 0) - before, undo=partial(fill_all, False), for_ns=for_ns
        )

    def _action(self, step: str) -> actions.Action:
        return next(one.action for one in self._scenario.script if one.id == step)

    @staticmethod
    def _tell(lives: Iterable[Life], **words: Any) -> None:
        for life in lives:
            life.say(**words)

    # -- who there is -------------------------------------------------------------------------------------------------

    def _upgrade(self, place: Place, to: tuple[str, str]) -> None:
        """Stop it in good order; its next lives run that class, and the first of them begins at once."""
        place.upgraded = to
        if not place.is_up:
            self.start(place)
        elif not place.leaves:
            assert place.life is not None, "it is up"
            place.life.then = partial(self.start, place)
            place.life.leaves = True
            place.life.say(drain=True)
            self._have_one_wait()

    def _scale_to(self, server: str, size: int) -> int:
        """How many were started or stopped."""
        places, before = self.instances[server], self.sizes[server]
        for index in range(before, size):
            if index == len(places):
                hosts = self._scenario.world.servers[server].places
                places.append(Place(server, index, hosts[index % len(hosts)]))
            if not places[index].is_up:
                self.start(places[index])
        for place in places[size:before]:
            self.drain(place)
        self.sizes[server] = size
        return abs(size - before)

    def _have(self, happen: Callable[[], None]) -> None:
        """Have it happen to etcd: at once, or beside everything else, one after another."""
        if self._etcd.quick:
            happen()
        else:
            self._happening = self._soon(self._after(self._happening, happen))

    async def _after(self, before: asyncio.Task[None] | None, happen: Callable[[], None]) -> None:
        if before is not None:
            await asyncio.wait([before])
        await asyncio.to_thread(happen)

    # -- the registry's troubles --------------------------------------------------------------------------------------

    async def _compact(self, counts: list[int]) -> None:
        counts.append(await self._etcd.compact())

    async def _expire(self, peers: set[Peer], ended: list[Peer]) -> None:
        registry = EtcdRegistry(self._etcd.settings)
        try:
            for record in (await registry.get(instances_prefix("palm"))).records:
                peer = Peer(record.key.rpartition("/")[2])
                if peer in peers:
                    await registry.revoke(record.lease)
                    ended.append(peer)
        finally:
            await registry.aclose()

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        self._soon(work)

    def _soon(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._did)
        return task

    def _did(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failed = self.failed or f"a fault of the registry could not be made: {error}"

    def _failures_from_now(self) -> Callable[[], int]:
        before = self._failures()
        return lambda: self._failures() - before

    # -- processes ----------------------------------------------------------------------------------------------------

    def _begin(self, life: Life) -> None:
        life.may_go = True
        if life.ready.is_set():
            life.say(go=self.clock.start_ns)

    def _start_process(self) -> Started:
        ours, theirs = socket.socketpair()
        start = Start(
            file=self._file, scale=self._scale, seed=self.clock.seed, fd=theirs.fileno(), parent=os.getpid()
        )
        self._started += 1
        path = self._folder / f"process-{self._started}.log"
        with open(path, "ab") as log, theirs:
            process = subprocess.Popen(
                [*self._command, json.dumps(asdict(start))],
                env=_environment(),
                pass_fds=[theirs.fileno(), *(tokens.fd for tokens in self._tokens.values())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        ours.setblocking(False)
        return Started(process, ours, path)

    def _have_one_wait(self) -> None:
        """Somebody is gone, and may return: not at that moment, but now is when a start disturbs nobody who counts."""
        if self._newcomers and not self._waiting:
            self._waiting.append(self._start_process())

    def _have_live(self, place: Place) -> Life:
        """One that waits, or else a new one, is told what it is. It begins when it is told to."""
        peers = [new_peer() for _ in clients_at(self._scenario, place.place)] if not place.server else [new_peer()]
        orders = Orders(
            peers=[*peers],
            place=place.place,
            etcd=list(self._etcd.endpoints),
            folder=str(self._folder),
            tokens={step: tokens.fd for step, tokens in self._tokens.items()},
            server=place.server,
            index=place.index,
            life=place.lives,
            upgraded=[*(place.upgraded or ())],
            record=self._record,
        )
        started = self._waiting.pop(0) if self._waiting else self._start_process()
        life = Life(place, orders, started)
        self._lives[life.peer] = life
        place.lives += 1
        where = dict.fromkeys(peers, place.place)
        self._places |= where
        for other in self._lives.values():  # before it can be heard of by anybody
            other.say(places=where)
        life.listener = asyncio.create_task(self._listen(life))
        return life

    async def _listen(self, life: Life) -> None:
        channel = life.channel = await Channel.on(life.end)
        channel.say(be=asdict(life.orders))
        channel.say(places=self._places)
        for name, rule in self._rules.items():
            if rule.active:
                channel.say(lay=name)
        for step in self._standing:
            channel.say(begin=step)
        async for words in channel:
            for word, what in words.items():
                self._heard(life, word, what, words)
        code = await asyncio.to_thread(life.process.wait)
        life.ready.set()
        if life.is_up:
            life.is_up = False
            self._ended_by_itself(life, code)

    def _ended_by_itself(self, life: Life, code: int) -> None:
        if life.may_go and life.place.server:
            self._note(EntryKind.STOPPED if code == 0 else EntryKind.CRASHED, life)
            if code == 0 and life.then is not None:
                life.then()
        else:
            self.failed = self.failed or f"{life.place.name} ended: {_last_words(life)}"

    def _heard(self, life: Life, word: str, what: Any, words: dict[str, Any]) -> None:
        match word:
            case "ready":
                life.ready.set()
                if life.may_go:
                    life.say(go=self.clock.start_ns)
            case "entries":
                for row in what:
                    entry = entry_of(row)
                    self.recorder.take(entry._replace(job=self._jobs.get(entry.job, entry.job)))
            case "bitten":
                for name, count in what.items():
                    more = count - life.bitten.get(name, 0)
                    if name in self._rules:
                        self._rules[name].bitten += more
                    else:
                        self._touched[name] = self._touched.get(name, 0) + more
                life.bitten = what
            case "told":
                for registration, at in what.items():
                    self._told[registration] = min(at, self._told.get(registration, at))
            case "views":
                life.views = what
            case "failures":
                life.failures = what
            case "jobs":
                self._jobs |= what
            case "ended":
                self.ended.update(what)
            case "cancelled":
                job, count = what
                self._cancelled[job] = count
            case "leaves":
                life.leaves = True
            case "nested":
                self.nested.add(what)
            case "again":
                # Once it has ended, however long that takes: until then it is up.
                life.then = partial(self._start_again, life.place)
            case "refused":
                self.refused.append(f"{life.place.name}: {what}")
            case "failed":
                self.failed = self.failed or str(what)
            case "open" | "held":
                life.answers.put_nowait(words)

    def _start_again(self, place: Place) -> None:
        def start() -> None:
            if not place.is_up:
                self.start(place)

        self.clock.call_at(self.clock.now + START_AGAIN, start)

    async def _answer(self, life: Life, word: str) -> dict[str, Any]:
        try:
            return await asyncio.wait_for(life.answers.get(), ANSWER_S)
        except TimeoutError:
            raise HarnessError(f"{life.place.name} did not say what it has {word} within {ANSWER_S:g} s") from None

    def _failures(self) -> int:
        return sum(life.failures for life in self._lives.values())

    def _note(self, kind: EntryKind, life: Life) -> None:
        self.recorder.add(kind, server=life.place.server, instance=life.place.name, detail=life.peer)

    def look_at_views(self, seen: str | None = None) -> None:
        """From now on, note each change between views that agree with the registry and views that do not."""
        behind = self._behind()
        if seen is None or bool(behind) != bool(seen):
            self.recorder.add(EntryKind.DIVERGED if behind else EntryKind.CONVERGED, detail=behind)
        self.clock.call_at(self.clock.now + LOOK, partial(self.look_at_views, behind))

    def _behind(self) -> str:
        """Who, of all that live and run, does not see the registry as it is; the first in words, or nothing."""
        for life in self._lives.values():
            if life.is_up and not life.frozen:
                for view in life.views:
                    for server, peers in view.items():
                        there = self._registered.get(server, set())
                        if set(peers) != there:
                            return f"{life.place.name} sees {len(peers)} of {server}, not {len(there)}"
        return ""

    # -- who is registered --------------------------------------------------------------------------------------------

    async def _watch(self, registry: EtcdRegistry, prefix: str, after: Revision) -> None:
        """A record that goes is a lease that ran out, but for those of who is leaving."""
        try:
            async for changes in registry.watch(prefix, after):
                for change in changes:
                    life = self._lives.get(Peer(change.record.key.rpartition("/")[2]))
                    if life is None:
                        continue
                    there = self._registered.setdefault(life.place.server, set())
                    if change.kind is Kind.DELETE:
                        there.discard(life.peer)
                        self._note(EntryKind.DEREGISTERED if life.leaves else EntryKind.LEASE_EXPIRED, life)
                    elif change.record.version == 1:
                        there.add(life.peer)
                        self._note(EntryKind.REGISTERED, life)
                        self._revisions[self.recorder.entries[-1]] = registration_of(change)
        finally:
            await registry.aclose()


def places_of_clients(scenario: Scenario) -> list[str]:
    stores = [place for use in scenario.stores for place in (*use.clients, *use.readers)]
    return [job.client for job in scenario.load] + stores


def _lives_of(places: Iterable[Place]) -> list[Life]:
    return [place.life for place in places if place.life is not None and place.life.is_up]


def _last_words(life: Life) -> str:
    return life.log.read_text(errors="replace")[-600:].strip() or "it said nothing"


def _environment() -> dict[str, str]:
    """Our own, with the package that we run, installed or not."""
    import palm

    here = str(Path(palm.__file__).resolve().parents[1])
    paths = [here, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}
