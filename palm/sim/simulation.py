"""Runs a scenario in the simulator: builds its world, lets its script loose on it, and judges what happened.

A run has two phases: the faulty one, until every job and every step is over (or the fault-free tail of the clock
begins), and the healed one, in which liveness is judged.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Callable, Mapping

from palm.errors import BadRequest, HarnessError, ScenarioError, StartFailed
from palm.observe.ledger import Ledger
from palm.runtime.engine import ClientEngine
from palm.runtime.functions import Function
from palm.sim import sandbox
from palm.sim.blame import raised_at
from palm.sim.chaos import with_chaos
from palm.sim.checkers import CheckResult, Verdict
from palm.sim.cluster import Cluster, RegistryShape, ServerSpec
from palm.sim.history import EntryKind, History, Interval
from palm.sim.judge import judge, judged_until, looked_at, overall
from palm.sim.linearizable import Operation
from palm.sim.loads import Load
from palm.sim.recorder import ClientInstrument
from palm.sim.scenario.expectations import Converged
from palm.sim.scenario.load import Job
from palm.sim.scenario.names import LOCAL
from palm.sim.scenario.scenario import Scenario
from palm.sim.server_files import load_class
from palm.sim.sim_stage import SimStage
from palm.sim.steps import Script
from palm.sim.store_load import StoreLoad

if TYPE_CHECKING:
    from palm.sim.report.film import Film

NS = 1_000_000_000
LOOK = NS // 20
"""How often views are compared, where a scenario asks for it."""
CALM = 8 * NS
"""What runs on after the last fault: who slept through the end of a job learns of it once he is registered again."""
TAIL = 2 * NS
"""What runs on after the last job and the last step: answers on their way, and the word that a job is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one run of one seed came to."""

    scenario: str
    seed: int
    verdict: Verdict
    checks: tuple[CheckResult, ...]
    trace_hash: str
    events: int
    simulated_s: float
    wall_s: float
    ledger: Ledger
    history: History
    drawn: tuple[str, ...] = ()
    """What its chaos block drew, as the lines of a plain script."""


class RunFailed(HarnessError):
    """A run that the harness failed in, and what had happened by then. `kind` is what failed, without what differs from
    one run to the next: moments and numbers."""

    def __init__(self, error: HarnessError, *, seed: int, history: History, trace_hash: str, events: int) -> None:
        super().__init__(str(error))
        self.kind = _kind_of(error)
        self.seed = seed
        self.history = history
        self.trace_hash = trace_hash
        self.events = events
        self.drawn: tuple[str, ...] = ()


def _kind_of(error: HarnessError) -> str:
    cause = error.__cause__
    if cause is None:
        return re.sub(r"\d+", "#", str(error))[:100]
    at = raised_at(cause).strip(" ()")
    return f"{type(cause).__name__} at {at.rpartition('/')[2]}"


def attempt(scenario: Scenario, seed: int) -> Result | RunFailed:
    """`run`, with a harness that fails as one of its ends. Raises ScenarioError."""
    try:
        return run(scenario, seed)
    except RunFailed as failed:
        return failed


def run(
    scenario: Scenario,
    seed: int,
    *,
    trace: Callable[[str], None] | None = None,
    wrap: Callable[[str, Function], Function] | None = None,
    film: Film | None = None,
) -> Result:
    """Run it. Raises ScenarioError for what only running can tell, RunFailed when the harness itself fails.

    `trace` is given each frame as a line of JSON; `wrap` is put around each instance's functions;
    `film` keeps what a report shows.
    """
    with sandbox.installed():
        scenario, drawn = with_chaos(scenario, seed)
        running = _Run(scenario, seed, trace, wrap, film)
        try:
            return replace(running.run(), drawn=drawn)
        except HarnessError as error:
            failed = running.failed(error)
            failed.drawn = drawn
            raise failed from error.__cause__
        finally:
            running.close()


class _Run:
    def __init__(
        self,
        scenario: Scenario,
        seed: int,
        trace: Callable[[str], None] | None,
        wrap: Callable[[str, Function], Function] | None,
        film: Film | None,
    ) -> None:
        registry = scenario.world.registry
        lease = registry.lease
        self._scenario = scenario
        self._seed = seed
        shape = RegistryShape(
            members=registry.members,
            history=registry.history,
            progress_ns=registry.watch.progress_ns,
            progress_overtakes=registry.watch.overtakes,
            token_ns=None if registry.auth is None else registry.auth.token_ns,
        )
        self._cluster = Cluster(seed, ttl_s=lease.ttl_ns // NS, renew=lease.renew_ns, registry=shape)
        self._kernel = self._cluster.world.kernel
        self._kernel.trace.sink = trace
        if wrap is not None:
            self._cluster.wrap = wrap
        self._film = self._cluster.world.network.observer = film
        self._build_network()
        self._build_servers()
        zones = {name: host.zone or "" for name, host in scenario.world.hosts.items()}
        stage = SimStage(
            self._cluster, lambda job: sum(load.cancel() for load in self._loads if load.job.id == job)
        )
        self._script = Script(scenario.script, stage, zones, seed)
        self._loads = [
            Load(job, name, self._kernel, self._cluster.recorder) for job in scenario.load for name in job.parts
        ]

        self._stores = StoreLoad.of(scenario.stores, self._kernel)
        self._at_work: list[Load | StoreLoad] = [*self._loads, *self._stores]
        looked = looked_at(scenario)
        for load in self._loads:
            load.results = [] if load.job.id in looked else None

    def _build_network(self) -> None:
        network = self._cluster.world.network
        for name, host in self._scenario.world.hosts.items():
            network.add_host(name, host.zone or "")
            if host.cores is not None:
                self._cluster.world.machine(name, host.cores)
        for link in self._scenario.links:
            if link.between == LOCAL:
                network.loopback = link.link()
            else:
                network.link(link.between, link.link())

    def _build_servers(self) -> None:
        for name, block in self._scenario.world.servers.items():
            place = f"{self._scenario.file or self._scenario.name}:{block.line}: world.servers.{name}"
            try:
                make = load_class(block.run.file, block.run.class_name, self._seed)
                self._cluster.add_server(
                    ServerSpec(
                        name=name,
                        make=make,
                        places=block.places,
                        functions=block.served or (),
                        service=block.service,
                        costs=block.cpu,
                        options=block.options,
                        durable=block.memory == "durable",
                        port=block.port,
                        start_ns=block.start_ns,
                    )
                )
            except (BadRequest, StartFailed, ScenarioError) as error:
                raise ScenarioError(f"{place}: {error}") from error

    # -- running ------------------------------------------------------------------------------------------------------

    def run(self) -> Result:
        begin = time.perf_counter()
        self._script.begin()
        self._start_clients()
        if any(isinstance(check, Converged) for check in self._scenario.expect.eventually):
            self._look_at_views("")
        for store in self._stores:
            self._cluster.client(store.client, store.place, store.begin)
        self._run_phases()
        return self._result(time.perf_counter() - begin)

    def _start_clients(self) -> None:
        clients: dict[tuple[str, str, int], list[Load]] = {}
        for load in self._loads:
            clients.setdefault(client_of(load.job, load.name), []).append(load)
        for (name, place, start_ns), loads in clients.items():
            start = partial(self._cluster.client, name, place, _starter(loads), loads[0].job.cpu)
            if start_ns:
                self._kernel.call_at(start_ns, start)
            else:
                start()

    def _look_at_views(self, seen: str) -> None:
        """Note each change between views that agree with the registry and views that do not."""
        behind = self._cluster.behind()
        if bool(behind) != bool(seen) or self._kernel.now == 0:
            kind = EntryKind.DIVERGED if behind else EntryKind.CONVERGED
            self._cluster.recorder.add(kind, detail=behind)
        self._kernel.call_at(self._kernel.now + LOOK, partial(self._look_at_views, behind))

    def close(self) -> None:
        self._cluster.world.close()

    def _run_phases(self) -> None:
        clock, kernel = self._scenario.clock, self._kernel
        kernel.run_until(self._is_over, clock.faults_until_ns)
        self._script.heal()
        kernel.run_until(self._is_over, clock.limit_ns)
        active = self._script.intervals()
        judged = judged_until(self._scenario, active)
        kernel.run(min(clock.limit_ns, max(kernel.now + TAIL, min(calm_at(active), kernel.now + CALM), judged)))

    def _is_over(self) -> bool:
        """Asked after every event: so the first that has not ended is asked alone, until it has."""
        at_work = self._at_work
        while at_work and at_work[-1].has_ended:
            at_work.pop()
        return not at_work and self._script.is_done

    def _operations(self) -> dict[str, list[Operation]]:
        seen: dict[str, list[Operation]] = {}
        for store in self._stores:
            seen.setdefault(store.use.id, []).extend(store.all_seen())
        return seen

    def failed(self, error: HarnessError) -> RunFailed:
        trace = self._kernel.trace.hexdigest()
        return RunFailed(
            error, seed=self._seed, history=self._history(), trace_hash=trace, events=self._kernel.events
        )

    def _history(self) -> History:
        for load in self._loads:
            load.note_ledger()
        return History(
            entries=tuple(self._cluster.recorder.entries),  # closing the world writes on
            end_ns=self._kernel.now,
            seed=self._seed,
            active=self._script.intervals(),
            touched=self._script.touched(),
            counts={load.name: load.ledger for load in self._loads},
            sizes=self._cluster.sizes,
            results={load.name: load.results for load in self._loads if load.results is not None},
            operations=self._operations(),
            left_open=self._cluster.left_open(),
        )

    def _result(self, wall_s: float) -> Result:
        history = self._history()
        if self._film is not None:
            self._film.finish(self._cluster, self._script)
        checks = tuple(judge(self._scenario, history))
        ledgers = [load.ledger for load in self._loads]
        return Result(
            scenario=self._scenario.name,
            seed=self._seed,
            verdict=overall(checks),
            checks=checks,
            trace_hash=self._kernel.trace.hexdigest(),
            events=self._kernel.events,
            simulated_s=self._kernel.now / NS,
            wall_s=wall_s,
            ledger=Ledger(*(sum(column) for column in zip(*ledgers, strict=True))),
            history=history,
        )


def calm_at(active: Mapping[str, tuple[Interval, ...]]) -> int:
    """When nobody has a reason left to be behind: some time after the last fault (ns)."""
    return max((span.end for spans in active.values() for span in spans), default=0) + CALM


def client_of(job: Job, part: str) -> tuple[str, str, int]:
    """Name, host and start of the client that does a part of a job. Jobs of one host share a client, but those that
    have several, or that start later."""
    alone = job.clients > 1 or job.start_ns
    return f"client@{job.client}" + (f"/{part}" if alone else ""), job.client, job.start_ns


def _starter(loads: list[Load]) -> Callable[[ClientEngine, ClientInstrument], None]:
    def start(engine: ClientEngine, instrument: ClientInstrument) -> None:
        for load in loads:
            load.begin(engine, instrument)

    return start
