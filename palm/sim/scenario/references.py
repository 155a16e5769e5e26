"""Names that a scenario uses, looked up in what it declares; and steps that can never happen.

Everything that a single block cannot know of itself. Errors stand at the place in the file where the name is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Collection, NoReturn

from palm.core.route import Branching
from palm.errors import did_you_mean
from palm.sim.network import Ends
from palm.sim.scenario.actions import (
    Cancel,
    Crash,
    Cut,
    DiskFull,
    Freeze,
    Heal,
    OnLink,
    OnProcesses,
    OnRegistry,
    Point,
    Refuse,
    Reset,
    Restart,
    Scale,
    Upgrade,
)
from palm.sim.scenario.chaos import Chaos
from palm.sim.scenario.expectations import Bounded, Check, DeadlineHonest, InOrder, PerKeyOrder, Sighting
from palm.sim.scenario.names import (
    LOCAL,
    REGISTRY,
    HalfOf,
    InstanceOf,
    InZone,
    LeaderOf,
    Named,
    OneOf,
    SameAs,
    Subject,
    Target,
    TheRegistry,
    members_meant,
)
from palm.sim.scenario.script import (
    EVENTS_OF_A_JOB,
    EVENTS_OF_AN_INSTANCE,
    After,
    At,
    Step,
    When,
)
from palm.sim.scenario.units import show_duration
from palm.sim.scenario.world import Clock
from palm.sim.scenario.yaml_strict import Node, at

if TYPE_CHECKING:
    from palm.sim.scenario.scenario import Scenario

LONGEST_DEATH_NS = 9_000_000_000
"""Drawn faults last no longer."""
RESERVED = frozenset({REGISTRY, "hosts", "that", "zone", "step"})
"""Names that mean something else where a host or server could stand."""


def check_references(scenario: Scenario, root: Node) -> None:
    """Raise ScenarioError for the first name that is not declared, or step that can never happen."""
    names = _Names(scenario)
    names.check_declared(root)
    for index, link in enumerate(scenario.links):
        if link.between != LOCAL:
            names.check_link(link.between, at(root, "links", index, "between"), standing=True)
    for index, job in enumerate(scenario.load):
        names.known("host", job.client, names.hosts, at(root, "load", index, "client"))
        names.check_route(scenario, index, at(root, "load", index, "route"))
        if any(job.shares_client(other) and job.cpu != other.cpu for other in scenario.load[:index]):
            at(root, "load", index, "cpu").refuse(f"the same cpu for all jobs of the client at {job.client}")
    for index, use in enumerate(scenario.stores):
        names.known("server", use.server, names.servers, at(root, "stores", index, "server"))
        for key, hosts in (("clients", use.clients), ("readers", use.readers)):
            for place, client in enumerate(hosts):
                names.known("host", client, names.hosts, at(root, "stores", index, key, place))
    _check_unique("use of a store", [use.id for use in scenario.stores], at(root, "stores"))
    _check_unique("job", [job.id for job in scenario.load], at(root, "load"))
    _check_unique("step", [step.id for step in scenario.script], at(root, "script"))
    for index, step in enumerate(scenario.script):
        names.check_step(step, at(root, "script", index))
    if scenario.chaos is not None:
        names.check_chaos(scenario.chaos, scenario.clock, at(root, "chaos"))
    _Times(scenario, root).check()
    names.check_expect(scenario, root)


def _check_unique(what: str, ids: list[str], node: Node) -> None:
    for index, one in enumerate(ids):
        if one in ids[:index]:
            at(node, index, "id").refuse(f"an id of its own for each {what}")


class _Names:
    """All that a scenario declares."""

    def __init__(self, scenario: Scenario) -> None:
        world = scenario.world
        self.members = world.registry.members
        self.asks_for_a_password = world.registry.auth is not None
        self.hosts = world.hosts
        self.servers = world.servers
        self.zones = list(dict.fromkeys(host.zone for host in world.hosts.values() if host.zone is not None))
        self.jobs = {job.id: job for job in scenario.load}
        self.steps = {step.id: step for step in scenario.script}

    def known(self, what: str, name: str, names: Collection[str], node: Node) -> None:
        if name not in names:
            node.refuse(f"a {what} of this scenario", did_you_mean(name, names) or f" (it has {_listed(names)})")

    def check_declared(self, root: Node) -> None:
        for block, names in (("hosts", self.hosts), ("servers", self.servers)):
            for name in names:
                node = at(root, "world", block, name)
                if name in RESERVED:
                    node.place.refuse(f"{name!r} means something else in a script; choose another name")
                if block == "servers" and name in self.hosts:
                    node.place.refuse(
                        f"{name!r} is a host too, so that a script could mean either; choose another name"
                    )
        for name, server in self.servers.items():
            node = at(root, "world", "servers", name)
            if server.host is not None:
                self.known("host", server.host, self.hosts, at(node, "host"))
            for index, host in enumerate(server.hosts):
                self.known("host", host, self.hosts, at(node, "hosts", index))
            if len(server.places) < len(server.hosts):
                at(node, "instances").refuse(f"at least one instance for each of its {len(server.hosts)} hosts")

    def check_link(self, ends: Ends, node: Node, *, standing: bool = False) -> None:
        """`standing`: how a link is, and not what a step does to it."""
        for end in (ends.src, ends.dst):
            if end == "*":
                continue
            if (member := members_meant(end)) is not None:
                if standing and member.is_one:
                    node.refuse("registry", " (its members are alike; a script can cut off one of them)")
                self.check_member(member, node)
            elif end.startswith("zone:"):
                self.known("zone", end.removeprefix("zone:"), self.zones, node)
            elif end in self.servers:
                places = _listed(dict.fromkeys(self.servers[end].places))
                node.refuse("hosts at both ends of a link", f" ({end} is a server; it runs on {places})")
            else:
                self.known("host", end, self.hosts, node)

    def check_route(self, scenario: Scenario, index: int, node: Node) -> None:
        route = scenario.load[index].route
        for place, stage in enumerate(route):
            spot = node if isinstance(route, Branching) else at(node, place)
            self.known("server", stage.server, self.servers, spot)
            served = self.servers[stage.server].served
            if served is not None and stage.function not in served:
                hint = did_you_mean(stage.function, served)
                spot.refuse(f"a function that {stage.server} serves: {_listed(served)}", hint)

    # -- script ------------------------------------------------------------------------------------------------------

    def check_step(self, step: Step, node: Node) -> None:
        match step.trigger:
            case After(step=before):
                self.known("step", before, self.steps, at(node, "after", "step"))
            case When() as when:
                self.check_when(when, at(node, "when"))
        if isinstance(step.action, Point) and (step.action.effect == "wait") != (step.action.by_ns > 0):
            at(node, "effect").place.refuse("effect: wait needs the key 'by', how long; the others have none")
        match step.action:
            case Cancel(job=job):
                self.known("job", job, self.jobs, at(node, "job"))
            case Point(server=None, name=name):
                self.check_mark(name, at(node, "name"))
            case Scale(server=server):
                self.known("server", server, self.servers, at(node, "server"))
            case Point(server=str(server), name=name):
                self.known("server", server, self.servers, at(node, "server"))
                self.check_mark(name, at(node, "name"))
            case Heal(link=None):
                pass
            case _ if isinstance(step.action, OnProcesses):
                self.check_target(step.action.who, step, at(node, "who"))
                if isinstance(step.action, DiskFull):
                    self.check_disk(step.action.who, at(node, "who"))
            case Heal(link=Ends() as link) | Reset(link=link):
                self.check_link(link, at(node, "link"))
            case _ if isinstance(step.action, OnLink):
                link = step.action.link
                self.check_link(link, at(node, "link"))
                if members_meant(link.src) and members_meant(link.dst) and not isinstance(step.action, Cut):
                    at(node, "do").refuse("cut", " (between members of the registry nothing else has a meaning)")
            case Refuse() if not self.asks_for_a_password:
                at(node, "do").refuse("a registry that wants a password", " (see world.registry.auth)")
            case _:
                assert isinstance(step.action, OnRegistry), step.action

    def check_when(self, when: When, node: Node) -> None:
        if when.server is not None:
            if when.event not in EVENTS_OF_AN_INSTANCE:
                at(node, "server").place.refuse(f"{when.event} happens at a client or the registry, not at a server")
            self.known("server", when.server, self.servers, at(node, "server"))
        if when.job is not None:
            if when.event not in EVENTS_OF_A_JOB:
                at(node, "job").place.refuse(f"{when.event} is not about a job")
            self.known("job", when.job, self.jobs, at(node, "job"))
        if when.name is not None and when.event != "mark":
            at(node, "name").place.refuse(f"{when.event} has no name: only a mark has")
        self.check_mark(when.name, at(node, "name"))
        if when.event in ("handling", "answered"):
            self.check_visited(when, node)
        if when.event == "sent":
            self.check_sent(when, node)
        if when.event == "committing":
            durable = [name for name, server in self.servers.items() if server.memory == "durable"]
            if not durable or when.server not in (None, *durable):
                at(node, "server" if when.server else "event").refuse(
                    "a server with memory: durable", f" (nobody else commits to a disk; here: {_listed(durable)})"
                )
        if when.during is not None:
            self.known("step", when.during, self.steps, at(node, "during"))
            during = self.steps[when.during]
            if not during.action.lasts:
                at(node, "during").refuse(f"a step that lasts ({during.do} is over at once)")

    def check_mark(self, name: str | None, node: Node) -> None:
        """Where the servers' files place marks, and write out all of their names, it is one of these."""
        runs = [server.run for server in self.servers.values()]
        runs += [step.action.to for step in self.steps.values() if isinstance(step.action, Upgrade)]
        marks: dict[str, None] = {}
        for run in runs:
            if run.marks is None:
                return
            marks.update(dict.fromkeys(run.marks))
        if name is not None and marks and name not in marks:
            node.refuse(
                "a mark that a server's file places", did_you_mean(name, marks) or f" (they place {_listed(marks)})"
            )

    def check_visited(self, when: When, node: Node) -> None:
        jobs = self.jobs.values() if when.job is None else [self.jobs[when.job]]
        visited = {stage.server for job in jobs for stage in job.route}
        if any(self.servers[name].run.calls for name in visited):
            return  # its functions may visit any other
        if when.server is not None and when.server not in visited:
            at(node, "server").refuse("a server that a job's route visits", f" (they visit {_listed(sorted(visited))})")

    def check_sent(self, when: When, node: Node) -> None:
        jobs = self.jobs.values() if when.job is None else [self.jobs[when.job]]
        most = sum(job.messages.count * job.clients for job in jobs)
        if when.nth > most:
            at(node, "nth").refuse(f"at most {most}", " (so many messages are sent; more there never are)")

    def check_target(self, who: Target, step: Step, node: Node) -> None:
        match who:
            case Named(name=name):
                self.known("server or host", name, [*self.servers, *self.hosts], node)
            case InstanceOf(server=server, index=index):
                self.known("server", server, self.servers, node)
                count = len(self.servers[server].places)
                if index >= count:
                    node.refuse(f"an index from 0 to {count - 1}", f" ({server} has {count} instances)")
            case OneOf(server=server) | LeaderOf(server=server):
                self.known("server", server, self.servers, node)
            case HalfOf(of=of):
                self.known("server, or hosts", of, [*self.servers, "hosts"], node)
            case InZone(zone=zone):
                self.known("zone", zone, self.zones, node)
            case SameAs(step=other):
                self.known("step", other, self.steps, node)
                if not isinstance(self.steps[other].action, OnProcesses):
                    node.refuse("a step that was done to processes", f" ({other} is a {self.steps[other].do})")
            case TheRegistry():
                self.check_registry(who, step, node)
            case Subject():
                self.check_subject(step, node)

    def check_disk(self, who: Target, node: Node) -> None:
        """Somebody whom it may be done to has a disk; who is known only in the run is looked at there."""
        durable = {name: server.places for name, server in self.servers.items() if server.memory == "durable"}
        places = {place for one in durable.values() for place in one}
        match who:
            case (
                Named(name=name)
                | OneOf(server=name)
                | LeaderOf(server=name)
                | HalfOf(of=name)
                | InstanceOf(server=name)
            ):
                has_disk = name in durable or name in places or (name == "hosts" and bool(places))
            case InZone(zone=zone):
                has_disk = any(self.hosts[place].zone == zone for place in places)
            case _:
                has_disk = True
        if not has_disk:
            node.refuse(
                "the registry, or instances of a server with memory: durable",
                f" (only those keep anything on a disk; here: {_listed(durable)})",
            )

    def check_registry(self, who: TheRegistry, step: Step, node: Node) -> None:
        if not isinstance(step.action, Crash | Freeze | Restart | DiskFull) or (
            who.is_one and isinstance(step.action, DiskFull)
        ):
            ways = "crash, restart or freeze" if who.is_one else "crash, restart, freeze or disk-full"
            node.refuse("instances of a server", f" (what can be done to it is {ways}, and the actions registry.*)")
        if isinstance(step.action, Crash) and step.action.memory == "kept":
            node.refuse("instances of a server", " (the registry's data are kept in any case: leave memory out)")
        if who.leader and isinstance(step.action, Restart):
            node.refuse("step:ID or registry[INDEX]", " (who leads is up)")
        self.check_member(who, node)

    def check_member(self, who: TheRegistry, node: Node) -> None:
        if who.is_one and self.members == 1:
            node.refuse("the whole registry", " (one of one member has no others; see world.registry.members)")
        if who.member is not None and who.member >= self.members:
            node.refuse(f"an index from 0 to {self.members - 1}", f" (the registry has {self.members} members)")

    def check_subject(self, step: Step, node: Node) -> None:
        if not isinstance(step.trigger, When):
            node.refuse("a name", " ('that' is the subject of a `when`; this step has none)")
        if step.trigger.event not in EVENTS_OF_AN_INSTANCE:
            node.refuse("a name", f" ({step.trigger.event} is not about an instance of a server)")

    def check_chaos(self, chaos: Chaos, clock: Clock, node: Node) -> None:
        """Crashed instances return within 8 s; that belongs to the faulty phase too."""
        for index, name in enumerate(chaos.spare):
            known = [*self.hosts, *self.servers, REGISTRY]
            self.known("host, server, or registry", name, known, at(node, "spare", index))
        if chaos.until_ns + LONGEST_DEATH_NS > clock.faults_until_ns:
            latest = show_duration(max(0, clock.faults_until_ns - LONGEST_DEATH_NS))
            at(node, "until").refuse(f"at most {latest} (clock.limit less clock.settle, less 9s for what lasts)")
        left = [place for name, one in self.servers.items() if name not in chaos.spare for place in one.places]
        if all(place in chaos.spare for place in left):
            at(node, "spare").refuse("somebody to be left who is not spared")

    # -- expect ------------------------------------------------------------------------------------------------------

    def check_expect(self, scenario: Scenario, root: Node) -> None:
        expect = scenario.expect
        for phase, ones in (
            ("always", expect.always),
            ("eventually", expect.eventually),
            ("finally", expect.finally_),
            ("sometimes", expect.sometimes),
            ("never", expect.never),
        ):
            for index, one in enumerate(ones):
                node = at(root, "expect", phase, index)
                self.check_named(one, node)
                if isinstance(one, InOrder) and not self.jobs[one.job].ordered:
                    at(node, "job").refuse("a job with ordered: true", " (no other promises an order)")
                if isinstance(one, PerKeyOrder) and not self.jobs[one.job].ordered:
                    at(node, "job").refuse("a job with ordered: true", " (no other promises an order)")
                if isinstance(one, DeadlineHonest) and self.jobs[one.job].deadline_ns is None:
                    at(node, "job").refuse("a job with a deadline", f" ({one.job} has none)")

    def check_named(self, one: Check | Sighting, node: Node) -> None:
        """Jobs, servers and steps that a check or sighting names, by the names of its fields."""
        if isinstance(one, Sighting) and one.name is not None and one.seen != "mark":
            at(node, "name").place.refuse(f"{one.seen} has no name: only a mark has")
        if isinstance(one, Sighting):
            self.check_mark(one.name, at(node, "name"))
        if (job := getattr(one, "job", None)) is not None:
            self.known("job", job, self.jobs, at(node, "what" if isinstance(one, Bounded) else "job"))
        if (server := getattr(one, "server", None)) is not None:
            self.known("server", server, self.servers, at(node, "server"))
        for index, server in enumerate(getattr(one, "servers", ())):
            self.known("server", server, self.servers, at(node, "servers", index))
        for key in ("after", "during"):
            if (step := getattr(one, key, None)) is not None:
                self.known("step", step, self.steps, at(node, key))
        for index, step in enumerate(getattr(one, "outside", ())):
            self.known("step", step, self.steps, at(node, "outside", index))


class _Times:
    """The earliest moment at which each step can happen; one that waits for itself, or comes too late, never does."""

    def __init__(self, scenario: Scenario, root: Node) -> None:
        self._scenario = scenario
        self._root = root
        self._steps = {step.id: step for step in scenario.script}
        self._nodes = {step.id: at(root, "script", index) for index, step in enumerate(scenario.script)}
        self._earliest: dict[str, int] = {}

    def check(self) -> None:
        clock = self._scenario.clock
        for step in self._scenario.script:
            earliest = self._earliest_of(step)
            if earliest >= clock.limit_ns:
                self._never(step, f"the run ends at {show_duration(clock.limit_ns)} (clock.limit)")
            if step.action.lasts and earliest >= clock.faults_until_ns:
                until = show_duration(clock.faults_until_ns)
                self._never(step, f"from {until} on (clock.limit less clock.settle) there are no faults")

    def _earliest_of(self, step: Step) -> int:
        """Follows the steps that `step` waits for; in a loop, so that a long chain is not a deep one."""
        chain: list[Step] = []
        seen: set[str] = set()
        while step.id not in self._earliest:
            if step.id in seen:
                self._never(step, "it waits for itself: " + " -> ".join(one.id for one in [*chain, step][:10]))
            seen.add(step.id)
            chain.append(step)
            before = _waits_for(step)
            if before is None:
                break
            step = self._steps[before]
        for one in reversed(chain):
            before = _waits_for(one)
            match one.trigger:
                case At(at_ns=moment):
                    self._earliest[one.id] = moment
                case After(step=other, plus_ns=plus):
                    self._earliest[one.id] = self._earliest[other] + plus
                case When():
                    self._earliest[one.id] = self._earliest[before] if before is not None else 0
        return self._earliest[chain[0].id] if chain else self._earliest[step.id]

    def _never(self, step: Step, why: str) -> NoReturn:
        node = self._nodes[step.id]
        match step.trigger:
            case At():
                node = at(node, "at")
            case After():
                node = at(node, "after")
            case When():
                node = at(node, "when", "during")
        node.place.refuse(f"step {step.id} can never happen: {why}")


def _waits_for(step: Step) -> str | None:
    match step.trigger:
        case After(step=before):
            return before
        case When(during=before):
            return before
        case At():
            return None


def _listed(names: Collection[str]) -> str:
    """The first few."""
    shown = list(names)[:10]
    return ", ".join(shown) + (", ..." if len(names) > len(shown) else "") if shown else "none"
