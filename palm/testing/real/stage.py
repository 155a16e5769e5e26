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
from typing import Any, Callable, Coroutine, Sequence

from palm.core.message import Peer
from palm.errors import HarnessError
from palm.net.peer import new_peer
from palm.net.registry import EtcdRegistry
from palm.observe.ledger import Ledger
from palm.ports.registry import Kind, Revision
from palm.sim.cluster import START_AGAIN
from palm.sim.history import Entry, EntryKind
from palm.sim.network import Action, Ends, Rule
from palm.sim.recorder import Recorder
from palm.sim.registry_server import ELECTION_NS
from palm.sim.scenario import actions
from palm.sim.scenario.names import SameAs, Target, TheRegistry
from palm.sim.scenario.scenario import Scenario
from palm.sim.simulation import LOOK
from palm.sim.stage import Done
from palm.testing.real.channel import Channel
from palm.testing.real.clock import RealClock
from palm.testing.real.etcd import RealEtcd
from palm.testing.real.outbox import entry_of
from palm.testing.real.process import Orders, clients_at
from palm.wire.record import instances_prefix

START_S = 60.0
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
    life: Life | None = None
    spare: Life | None = None
    """The next life, which waits to begin: a restart in a script is a moment, not the start of a Python."""
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


class Life:
    """One process."""

    def __init__(self, place: Place, peer: Peer, process: subprocess.Popen[bytes], end: socket.socket) -> None:
        self.place = place
        self.peer = peer
        self.process = process
        self.end = end
        self.channel: Channel | None = None
        self.is_up = True
        self.leaves = False
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
        record: str = "",
    ) -> None:
        self.clock = RealClock(seed)
        self.recorder = Recorder(self.clock)
        self.instances: dict[str, list[Place]] = {
            name: [Place(name, index, place) for index, place in enumerate(block.places)]
            for name, block in scenario.world.servers.items()
        }
        self.sizes = {name: len(group) for name, group in self.instances.items()}
        self.clients = [Place("", 0, place) for place in dict.fromkeys(job.client for job in scenario.load)]
        self.ended: set[str] = set()
        """Jobs that are over, by the names of their parts."""
        self.ledgers: dict[str, Ledger] = {}
        self.results: dict[str, list[bytes]] = {}
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
        self._etcd = RealEtcd(folder, scenario.world.registry.members)
        self._lives: dict[Peer, Life] = {}
        self._places: dict[Peer, str] = {}
        self._jobs: dict[str, str] = {}
        self._rules: dict[str, Rule] = {}
        self._members: dict[str, int] = {}
        """By step that was done to one member of the registry: to which; -1 while it is looked for."""
        self._restarts = any(isinstance(step.action, actions.Restart) for step in scenario.script)
        self._tasks: set[asyncio.Task[None]] = set()
        self._registered: dict[str, set[str]] = {}
        self._cancelled: dict[str, int] = {}
        self._watching: asyncio.Task[None] | None = None

    # -- the whole ----------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Start etcd and every process, and wait until all are ready."""
        self._etcd.up()
        for place in [*self.clients, *(one for group in self.instances.values() for one in group)]:
            place.life = self._spawn(place)
        await self._etcd.ready()
        ready = asyncio.gather(*(life.ready.wait() for life in self._lives.values()))
        try:
            await asyncio.wait_for(ready, START_S)
        except TimeoutError:
            silent = [life.place.name for life in self._lives.values() if not life.ready.is_set()]
            said = "; ".join(self._last_words(name) for name in silent)
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
        clients = [life for life in living if not life.place.server]
        still_open: list[str] = []
        for life in clients:
            life.say(open=True)
            still_open += (await self._answer(life, "open"))["open"]
        found: list[str] = []
        for life in living:
            life.say(held=still_open)
            words = await self._answer(life, "held")
            found += words["held"]
            self.ledgers |= {job: Ledger(*row) for job, row in words.get("ledgers", {}).items()}
            self.results |= {
                job: [bytes.fromhex(one) for one in lines] for job, lines in words.get("results", {}).items()
            }
        return found

    async def close(self) -> None:
        """Nothing is left of it."""
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
        self._etcd.down()

    # -- Stage --------------------------------------------------------------------------------------------------------

    def leader(self, server: str) -> list[Place]:
        for entry in reversed(self.recorder.entries):
            if entry.kind is EntryKind.ELECTED and entry.server == server:
                return [one for one in self.instances[server] if one.name == entry.instance]
        return []

    def start(self, instance: Place) -> None:
        if instance.spare is None:
            self._prepare(instance)
        life, instance.spare = instance.spare, None
        assert life is not None, "it was prepared"
        instance.life = life
        self._note(EntryKind.STARTED, life)
        self._begin(life)

    def crash(self, instance: Place) -> None:
        life = instance.life
        if life is not None and life.is_up:
            life.is_up = False
            life.process.kill()
            self._note(EntryKind.CRASHED, life)
            self._prepare_if_it_may_return(instance)

    def drain(self, instance: Place) -> None:
        life = instance.life
        if life is not None and life.is_up and not life.leaves:
            life.leaves = True
            life.say(drain=True)
            self._prepare_if_it_may_return(instance)

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
                etcd.down()
                return Done(touched=touched, undo=etcd.up, for_ns=for_ns)
            case actions.ChangeLeader():
                undo = partial(self._restart_member, step)
                return Done(touched=self._on_member(step, LEADER, etcd.crash), undo=undo, for_ns=ELECTION_NS)
            case actions.Crash(who=of) if self._is_member(of):
                return Done(touched=self._on_member(step, of, etcd.crash))
            case actions.Restart(who=of) if self._is_member(of):
                return Done(touched=self._on_member(step, of, etcd.restart))
            case actions.Freeze(who=of, for_ns=for_ns) if self._is_member(of):
                touched = self._on_member(step, of, partial(etcd.freeze, 1))
                return Done(touched=touched, undo=etcd.thaw, for_ns=for_ns)
            case actions.Crash():
                etcd.down()
                return Done(touched=touched)
            case actions.Restart():
                etcd.up()
                return Done(touched=lambda: 1)
            case actions.Freeze(for_ns=for_ns):
                etcd.freeze(len(etcd.endpoints))
                return Done(touched=touched, undo=etcd.thaw, for_ns=for_ns)
            case actions.LoseQuorum(for_ns=for_ns):
                etcd.freeze(etcd.majority)
                return Done(touched=touched, undo=etcd.thaw, for_ns=for_ns)
            case actions.Compact():
                counts: list[int] = []
                self._soon(self._compact(counts))
                return Done(touched=lambda: sum(counts))
            case actions.Expire():
                ended: list[Peer] = []
                self._soon(self._expire({one.life.peer for one in who if one.life is not None}, ended))
                return Done(touched=lambda: len(ended))
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
            do(member)

        self._members[step] = -1
        self._soon(find_and_do())
        return lambda: int(self._members[step] >= 0)

    def _restart_member(self, step: str) -> None:
        if self._members[step] >= 0:
            self._etcd.restart(self._members[step])

    def heard(self, entry: Entry) -> None:
        """Its process is elsewhere: nothing can be done on the stack of user code."""

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

    def _soon(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._did)

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

    def _prepare_if_it_may_return(self, place: Place) -> None:
        if self._restarts and place.spare is None:
            self._prepare(place)

    def _prepare(self, place: Place) -> None:
        place.spare = self._spawn(place)

    def _spawn(self, place: Place) -> Life:
        peers = [new_peer() for _ in clients_at(self._scenario, place.place)] if not place.server else [new_peer()]
        peer = peers[0]
        ours, theirs = socket.socketpair()
        orders = Orders(
            file=self._file,
            scale=self._scale,
            seed=self.clock.seed,
            fd=theirs.fileno(),
            parent=os.getpid(),
            peers=[*peers],
            place=place.place,
            etcd=list(self._etcd.endpoints),
            server=place.server,
            index=place.index,
            life=place.lives,
            record=self._record,
        )
        with open(self._folder / f"{place.name}.log", "ab") as log, theirs:
            process = subprocess.Popen(
                [*self._command, json.dumps(asdict(orders))],
                env=_environment(),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        ours.setblocking(False)
        life = self._lives[peer] = Life(place, peer, process, ours)
        place.lives += 1
        where = dict.fromkeys(peers, place.place)
        self._places |= where
        for other in self._lives.values():  # before it can be heard of by anybody
            other.say(places=where)
        life.listener = asyncio.create_task(self._listen(life))
        return life

    async def _listen(self, life: Life) -> None:
        channel = life.channel = await Channel.on(life.end)
        channel.say(places=self._places)
        for name, rule in self._rules.items():
            if rule.active:
                channel.say(lay=name)
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
            self._prepare_if_it_may_return(life.place)
        else:
            self.failed = self.failed or f"{life.place.name} ended: {self._last_words(life.place.name)}"

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
                    self._rules[name].bitten += count - life.bitten.get(name, 0)
                life.bitten = what
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
                asyncio.get_running_loop().call_later(START_AGAIN / 1e9, self._start_again, life.place)
            case "refused":
                self.refused.append(f"{life.place.name}: {what}")
            case "failed":
                self.failed = self.failed or str(what)
            case "open" | "held":
                life.answers.put_nowait(words)

    def _start_again(self, place: Place) -> None:
        if not place.is_up:
            self.start(place)

    async def _answer(self, life: Life, word: str) -> dict[str, Any]:
        try:
            return await asyncio.wait_for(life.answers.get(), ANSWER_S)
        except TimeoutError:
            raise HarnessError(f"{life.place.name} did not say what it has {word} within {ANSWER_S:g} s") from None

    def _failures(self) -> int:
        return sum(life.failures for life in self._lives.values())

    def _note(self, kind: EntryKind, life: Life) -> None:
        self.recorder.add(kind, server=life.place.server, instance=life.place.name, detail=life.peer)

    def _last_words(self, name: str) -> str:
        return (self._folder / f"{name}.log").read_text(errors="replace")[-600:].strip() or "it said nothing"

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
        finally:
            await registry.aclose()


def _environment() -> dict[str, str]:
    """Our own, with the package that we run, installed or not."""
    import palm

    here = str(Path(palm.__file__).resolve().parents[1])
    paths = [here, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}
