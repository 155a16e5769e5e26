"""The standing blocks of a scenario: which runs, how long, who is there, and how they are connected.

Each block is a frozen dataclass that also says how it is written. Times are integer nanoseconds, sizes bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Mapping

from palm.core.kinds import processes
from palm.errors import did_you_mean
from palm.sim import network
from palm.sim.draws import ZERO, Distribution
from palm.sim.processor import FREE, Costs
from palm.sim.scenario import units
from palm.sim.scenario.cpu import CPU
from palm.sim.scenario.distributions import DELAY
from palm.sim.scenario.forms import (
    BANDWIDTH,
    CHANCE,
    DURATION,
    FLAG,
    NAME,
    SIZE,
    Form,
    Key,
    block_of,
    list_of,
    map_of,
    one_of,
    scalar,
    take,
    whole,
)
from palm.sim.scenario.names import LOCAL, parse_between
from palm.sim.scenario.sources import RUN, Run
from palm.sim.scenario.yaml_strict import Node, Text, at

# -- runs and clock ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeds:
    pinned: Annotated[tuple[int, ...], Key("pinned", list_of(whole(0, 2**63 - 1), least=1))] = (1,)
    """Always run; the first is the default of `palm simulate`."""
    sweep: Annotated[int, Key("sweep", whole(0, 1_000_000))] = 0
    """How many more a sweep runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    seeds: Annotated[Seeds, Key("seeds", block_of(Seeds, "seeds"))] = Seeds()
    worlds: Annotated[tuple[str, ...], Key("worlds", list_of(one_of("a world", ["sim", "real"]), least=1))] = ("sim",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """The last `settle_ns` before `limit_ns` have no faults: what is broken heals then, and liveness is judged."""

    limit_ns: Annotated[int, Key("limit", DURATION)]
    settle_ns: Annotated[int, Key("settle", DURATION)] = 0

    @property
    def faults_until_ns(self) -> int:
        return self.limit_ns - self.settle_ns


def _check_clock(clock: Clock, node: Node) -> None:
    if clock.limit_ns < 1:
        at(node, "limit").refuse("a limit of more than 0")
    if clock.settle_ns >= clock.limit_ns:
        at(node, "settle").refuse(f"settle to be shorter than limit ({units.show_duration(clock.limit_ns)})")


CLOCK = block_of(Clock, "clock", check=_check_clock)

# -- the registry -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseSettings:
    ttl_ns: Annotated[int, Key("ttl", DURATION)] = 5 * units.S
    renew_ns: Annotated[int, Key("renew", DURATION)] = 1500 * units.MS


def _check_lease(lease: LeaseSettings, node: Node) -> None:
    if lease.ttl_ns < units.S or lease.ttl_ns % units.S:
        at(node, "ttl").refuse("whole seconds, at least 1s (etcd counts leases in seconds)")
    if not 0 < lease.renew_ns < lease.ttl_ns:
        at(node, "renew").refuse(f"renew to be more than 0 and shorter than ttl ({units.show_duration(lease.ttl_ns)})")


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchSettings:
    progress_ns: Annotated[int | None, Key("progress", DURATION)] = None
    """How often a quiet watch says unasked how far it is; None: never, as PALM does not ask for that."""
    overtakes: Annotated[bool, Key("overtakes", FLAG)] = False
    """Whether what a watch is asked of its progress overtakes events that are late, as in etcd before 3.4.25 and
    3.5.8."""


def _members(node: Node) -> int:
    members = whole(1, 9).read(node)
    if members % 2 == 0:
        node.refuse("an odd number of members", " (one more survives no more failures)")
    return members


def _check_watch(watch: WatchSettings, node: Node) -> None:
    if watch.progress_ns is not None and watch.progress_ns < 10 * units.MS:
        at(node, "progress").refuse("at least 10ms")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthSettings:
    """The registry wants a user and a password, which every process has."""

    token_ns: Annotated[int, Key("token", DURATION)] = 300 * units.S
    """How long a token lives that nobody uses."""


def _check_auth(auth: AuthSettings, node: Node) -> None:
    if auth.token_ns < units.S:
        at(node, "token").refuse("at least 1s")


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryBlock:
    members: Annotated[int, Key("members", Form("an odd number of members", _members))] = 1
    lease: Annotated[LeaseSettings, Key("lease", block_of(LeaseSettings, "lease", check=_check_lease))] = (
        LeaseSettings()
    )
    watch: Annotated[WatchSettings, Key("watch", block_of(WatchSettings, "watch", check=_check_watch))] = (
        WatchSettings()
    )
    auth: Annotated[AuthSettings | None, Key("auth", block_of(AuthSettings, "auth", check=_check_auth))] = None
    """None: everybody may do everything."""
    history: Annotated[int | None, Key("history", whole(1, 10**9))] = None
    """How many revisions are kept before older ones are compacted; None: all."""


# -- hosts and servers ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class HostBlock:
    zone: Annotated[str | None, Key("zone", NAME)] = None
    """None: in no zone."""
    cores: Annotated[int | None, Key("cores", whole(1, 4096))] = None
    """How many of its processes can compute at one time (`cpu` says what they need); None: as many as there are."""


def _host(node: Node) -> HostBlock:
    """`{zone: a}`, or nothing at all."""
    if isinstance(node, Text) and node.kind == "null":
        return HostBlock()
    return take(node, HostBlock, what="host")


OPTIONS = ("max_in_flight", "max_payload_bytes")
"""Settings of a server that a scenario may change."""


def _options(node: Node) -> Mapping[str, int]:
    options = map_of(whole(1, 10**12)).read(node)
    for name in options:
        if name not in OPTIONS:
            hint = did_you_mean(name, OPTIONS) or f"; there are {', '.join(OPTIONS)}"
            at(node, name).place.refuse(f"a server has no option {name!r:.80}{hint}")
    return options


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerBlock:
    run: Annotated[Run, Key("run", RUN)]
    host: Annotated[str | None, Key("host", NAME)] = None
    hosts: Annotated[tuple[str, ...], Key("hosts", list_of(NAME, least=1))] = ()
    instances: Annotated[int | None, Key("instances", whole(1, 100_000))] = None
    """All that there are; None: one on each host, or as `workers` says."""
    workers: Annotated[int | None, Key("workers", whole(1, 1_024))] = None
    """On each host what `palm run --workers` starts there: so many processes, and of a parallel server one to lead."""
    functions: Annotated[tuple[str, ...], Key("functions", list_of(NAME, least=1))] = ()
    """Empty: those of `run.served`."""
    memory: Annotated[str, Key("memory", one_of("a kind of memory", ["volatile", "durable"]))] = "volatile"
    service: Annotated[Distribution, Key("service", DELAY)] = ZERO
    """How long each handling takes, beside what the user's own code does in no time."""
    cpu: Annotated[Costs, Key("cpu", CPU)] = FREE
    """What it computes: nothing of it, unless said."""
    port: Annotated[int | None, Key("port", whole(1, 65_000))] = None
    """Where its first instance listens, in each of its lives; the next ones on the ports behind. None: a new one for
    each life."""
    start_ns: Annotated[int, Key("start", DURATION)] = 0
    """When its processes are started."""
    options: Annotated[Mapping[str, int], Key("options", Form("a mapping of options", _options))] = field(
        default_factory=lambda: MappingProxyType({})
    )
    """Given to the server as its settings."""
    line: int = 0

    @property
    def places(self) -> tuple[str, ...]:
        """The host of each instance: hosts in turn, by default one instance on each."""
        hosts = (self.host,) if self.host is not None else self.hosts
        each = 1 if self.workers is None else processes(self.workers, parallel=bool(self.run.parallel))
        return tuple(hosts[index % len(hosts)] for index in range(self.instances or len(hosts) * each))

    @property
    def served(self) -> tuple[str, ...] | None:
        """The functions it lists; None where only running the file can tell."""
        return self.functions or self.run.served


def _check_server(server: ServerBlock, node: Node) -> None:
    if (server.host is None) == (not server.hosts):
        node.place.refuse("a server needs the key 'host' or the key 'hosts', and not both")
    if server.run.methods is not None:
        for index, name in enumerate(server.functions):
            if name not in server.run.methods:
                here = f"; it has {', '.join(server.run.methods)}" if server.run.methods else "; it has none"
                hint = did_you_mean(name, server.run.methods) or here
                at(node, "functions", index).refuse(f"a function of {server.run.class_name}", hint)
    if server.workers is not None:
        if server.instances is not None:
            at(node, "workers").place.refuse("a server has instances (in all) or workers (on each host), not both")
        if server.run.parallel is None:
            at(node, "workers").refuse(
                "instances instead of workers",
                f" (whether {server.run.class_name} is a parallel server, and has one process more to lead, is seen "
                "from its bases; one of them is not in that file)",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    hosts: Annotated[Mapping[str, HostBlock], Key("hosts", map_of(Form("a host, as {zone: a}", _host), least=1))]
    servers: Annotated[
        Mapping[str, ServerBlock],
        Key("servers", map_of(block_of(ServerBlock, "server", check=_check_server), least=1)),
    ]
    registry: Annotated[RegistryBlock, Key("registry", block_of(RegistryBlock, "registry"))] = RegistryBlock()


# -- links ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    chance: Annotated[float, Key("chance", CHANCE)] = 0.0
    burst: Annotated[int, Key("burst", whole(1, 10**6))] = 1


def _loss(node: Node) -> Loss:
    """`1%`, or `{chance: 1%, burst: 3}`."""
    return Loss(chance=CHANCE.read(node)) if isinstance(node, Text) else take(node, Loss, what="loss")


_BETWEEN = scalar("a link such as one -> two or zone:a <-> registry, or the word local", parse_between)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkBlock:
    """How the links that match behave; of several that match, the last one says all."""

    between: Annotated[network.Ends, Key("between", _BETWEEN)]
    delay: Annotated[Distribution, Key("delay", DELAY)] = network.Link().delay
    loss: Annotated[Loss, Key("loss", Form("a chance, or a mapping with chance and burst", _loss))] = Loss()
    twice: Annotated[float, Key("twice", CHANCE)] = 0.0
    shuffle: Annotated[float, Key("shuffle", CHANCE)] = 0.0
    rate: Annotated[int | None, Key("rate", BANDWIDTH)] = None
    """Bytes per second; None: as many as come."""
    queue: Annotated[int | None, Key("queue", SIZE)] = None
    """How many bytes may wait for a link with a rate; what comes on top is lost. None: as many as come."""

    def link(self) -> network.Link:
        return network.Link(
            self.delay, self.loss.chance, self.loss.burst, self.twice, self.shuffle, self.rate, self.queue
        )


def _check_link(link: LinkBlock, node: Node) -> None:
    if link.between == LOCAL and link.link() != network.Link(link.delay):
        at(node, "between").place.refuse("a local link has a delay and nothing else: a host loses nothing to itself")
    if link.queue is not None and link.rate is None:
        at(node, "queue").place.refuse("a queue is what waits for a link's rate: give the link a rate too")


LINKS = list_of(block_of(LinkBlock, "link", check=_check_link))
