"""What can be done to a world: the actions of a script's steps.

`ACTIONS` is the literal table of what this version has. Another action is a class and a line here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Mapping

from palm.sim import network
from palm.sim.draws import Distribution
from palm.sim.scenario.distributions import DELAY
from palm.sim.scenario.forms import BANDWIDTH, CHANCE, DURATION, NAME, SHIFT, Key, one_of, scalar, whole
from palm.sim.scenario.names import Target, TheRegistry, parse_link, parse_target
from palm.sim.scenario.sources import RUN, Run

Applied = Literal["all", "none", "some"]

PPM_MAX = 100_000
"""No quartz is off by a tenth."""

LINK = scalar("a link such as one -> two or zone:a <-> registry", parse_link)
WHO = scalar("a target such as worker, worker[1], one(worker), that or step:ID", parse_target)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Nothing gets through, and nobody is told; held until `heal`, the end of `for`, or the fault-free tail."""

    lasts: ClassVar[bool] = True
    link: Annotated[network.Ends, Key("link", LINK)]
    for_ns: Annotated[int | None, Key("for", DURATION)] = None

    def rule(self) -> network.Action:
        return network.Cut()


@dataclass(frozen=True, slots=True, kw_only=True)
class Heal:
    """End every fault on these links; on all links when none is named."""

    lasts: ClassVar[bool] = False
    link: Annotated[network.Ends | None, Key("link", LINK)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """The process is gone, without a word; down until a `restart`. `memory: kept`: its machine is suspended instead;
    its connections do not survive that, and at the `restart` the same life goes on where it was."""

    lasts: ClassVar[bool] = True
    who: Annotated[Target, Key("who", WHO)]
    memory: Annotated[str, Key("memory", one_of("what is left of its memory", ["lost", "kept"]))] = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """The process is told to end, as by SIGTERM or `palm drain`: it finishes what it has and leaves. Down until a
    `restart`."""

    lasts: ClassVar[bool] = False
    who: Annotated[Target, Key("who", WHO)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """The caller of that job has no further interest in it."""

    lasts: ClassVar[bool] = False
    job: Annotated[str, Key("job", NAME)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """A new life in the place of one that crashed, or the old one where it kept its memory; one that runs is crashed
    first."""

    lasts: ClassVar[bool] = False
    who: Annotated[Target, Key("who", WHO)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """The process stops as at SIGSTOP and goes on afterwards; frames for it wait."""

    lasts: ClassVar[bool] = True
    who: Annotated[Target, Key("who", WHO)]
    for_ns: Annotated[int, Key("for", DURATION)]


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryDown:
    """The whole registry is away. Its data and leases are kept, as etcd's are on disk."""

    lasts: ClassVar[bool] = True
    for_ns: Annotated[int, Key("for", DURATION)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Frames wait at the link and go on, in order, when it ends."""

    lasts: ClassVar[bool] = True
    link: Annotated[network.Ends, Key("link", LINK)]
    for_ns: Annotated[int, Key("for", DURATION)]

    def rule(self) -> network.Action:
        return network.Hold()


@dataclass(frozen=True, slots=True, kw_only=True)
class Slow:
    """Each frame takes a delay drawn from `by` longer."""

    lasts: ClassVar[bool] = True
    link: Annotated[network.Ends, Key("link", LINK)]
    by: Annotated[Distribution, Key("by", DELAY)]
    for_ns: Annotated[int | None, Key("for", DURATION)] = None

    def rule(self) -> network.Action:
        return network.Slow(self.by)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lose:
    """Each frame is lost with this chance."""

    lasts: ClassVar[bool] = True
    link: Annotated[network.Ends, Key("link", LINK)]
    chance: Annotated[float, Key("chance", CHANCE)]
    for_ns: Annotated[int | None, Key("for", DURATION)] = None

    def rule(self) -> network.Action:
        return network.Lose(self.chance)


@dataclass(frozen=True, slots=True, kw_only=True)
class Twice:
    """Each frame arrives a second time with this chance."""

    lasts: ClassVar[bool] = True
    link: Annotated[network.Ends, Key("link", LINK)]
    chance: Annotated[float, Key("chance", CHANCE)]
    for_ns: Annotated[int | None, Key("for", DURATION)] = None

    def rule(self) -> network.Action:
        return network.Twice(self.chance)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shuffle:
    """Each frame may be overtaken by later ones with this chance."""

    lasts: ClassVar[bool] = True
    link: Annotated[network.Ends, Key("link", LINK)]
    chance: Annotated[float, Key("chance", CHANCE)]
    for_ns: Annotated[int | None, Key("for", DURATION)] = None

    def rule(self) -> network.Action:
        return network.Shuffle(self.chance)


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttle:
    """The links carry no more than `rate` bytes per second."""

    lasts: ClassVar[bool] = True
    link: Annotated[network.Ends, Key("link", LINK)]
    rate: Annotated[int, Key("rate", BANDWIDTH)]
    for_ns: Annotated[int | None, Key("for", DURATION)] = None

    def rule(self) -> network.Action:
        return network.Throttle(self.rate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset:
    """Connections on these links break, and what is on its way is lost; they come up again by themselves."""

    lasts: ClassVar[bool] = False
    link: Annotated[network.Ends, Key("link", LINK)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """The processes have little of their processor: each handling takes a time drawn from `by` longer."""

    lasts: ClassVar[bool] = True
    who: Annotated[Target, Key("who", WHO)]
    by: Annotated[Distribution, Key("by", DELAY)]
    for_ns: Annotated[int, Key("for", DURATION)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Their clocks run fast by that many millionths, or slow (below 0)."""

    lasts: ClassVar[bool] = True
    who: Annotated[Target, Key("who", WHO)]
    ppm: Annotated[int, Key("ppm", whole(-PPM_MAX, PPM_MAX))]
    for_ns: Annotated[int | None, Key("for", DURATION)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JumpClock:
    """Their wall clocks are set forward, or back (`-1h`), as by an administrator. Monotonic clocks go on."""

    lasts: ClassVar[bool] = False
    who: Annotated[Target, Key("who", WHO)]
    by_ns: Annotated[int, Key("by", SHIFT)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgrade:
    """The processes die, and their next lives run another class; `instances` of one server, so `who` names one."""

    lasts: ClassVar[bool] = False
    who: Annotated[Target, Key("who", WHO)]
    to: Annotated[Run, Key("to", RUN)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The server has `to` instances from now on: new ones start on its hosts in turn, the last ones drain and end."""

    lasts: ClassVar[bool] = False
    server: Annotated[str, Key("server", NAME)]
    to: Annotated[int, Key("to", whole(1, 100_000))]


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskFull:
    """Writes are refused: to the registry, as by an etcd whose quota is used up (reads, leases and deletes go on); or
    to the disks that servers with `memory: durable` keep their stores on."""

    lasts: ClassVar[bool] = True
    who: Annotated[Target, Key("who", WHO)] = TheRegistry()
    for_ns: Annotated[int, Key("for", DURATION)]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoseQuorum:
    """Too few members of the registry are left to decide anything, and no lease ends. One alone says that it has no
    leader; of several, a majority are frozen."""

    lasts: ClassVar[bool] = True
    for_ns: Annotated[int, Key("for", DURATION)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeLeader:
    """The registry's leader goes; there is none for the time of an election, and leases begin anew. It is back by
    itself, after 1.5 s."""

    lasts: ClassVar[bool] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Expire:
    """The leases of these instances end now, as if nobody had renewed them."""

    lasts: ClassVar[bool] = False
    who: Annotated[Target, Key("who", WHO)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compact:
    """The registry forgets all history: a watch that is behind learns that it was compacted."""

    lasts: ClassVar[bool] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LagWatch:
    """What watches have to say comes that much later, all at once when it ends."""

    lasts: ClassVar[bool] = True
    by_ns: Annotated[int, Key("by", DURATION)]
    for_ns: Annotated[int, Key("for", DURATION)]


@dataclass(frozen=True, slots=True, kw_only=True)
class DropWatch:
    """Every connection to the registry that has a watch breaks."""

    lasts: ClassVar[bool] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsure:
    """The answers to the next writes are lost. Which of them are applied: all, none, or some, by chance."""

    lasts: ClassVar[bool] = False
    writes: Annotated[int, Key("writes", whole(1, 10_000))] = 1
    applied: Annotated[Applied, Key("applied", one_of("which writes are applied", ["all", "none", "some"]))] = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse:
    """The registry's password is another for a while: no token is good any more, and none is given."""

    lasts: ClassVar[bool] = True
    for_ns: Annotated[int, Key("for", DURATION)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """At the next `times` marks of that name, which user code has placed (`self.mark`), its function fails, its process
    dies, or it waits for `by`."""

    lasts: ClassVar[bool] = True
    name: Annotated[str, Key("name", NAME)]
    effect: Annotated[str, Key("effect", one_of("what happens there", ["fail", "crash", "wait"]))]
    server: Annotated[str | None, Key("server", NAME)] = None
    by_ns: Annotated[int, Key("by", DURATION)] = 0
    times: Annotated[int, Key("times", whole(1, 10**6))] = 1
    for_ns: Annotated[int | None, Key("for", DURATION)] = None


OnLink = Cut | Hold | Slow | Lose | Twice | Shuffle | Throttle
"""Those that lay a rule on links."""
OnProcesses = Crash | Drain | Restart | Freeze | Busy | Drift | JumpClock | Upgrade | Expire | DiskFull
"""Those that are done to a target."""
OnRegistry = RegistryDown | LoseQuorum | ChangeLeader | Compact | LagWatch | DropWatch | Unsure | Refuse
Action = OnLink | Heal | Reset | OnProcesses | Scale | Point | Cancel | OnRegistry

ACTIONS: Mapping[str, type[Action]] = {
    "cut": Cut,
    "heal": Heal,
    "crash": Crash,
    "drain": Drain,
    "restart": Restart,
    "freeze": Freeze,
    "cancel": Cancel,
    "registry.down": RegistryDown,
    "hold": Hold,
    "slow": Slow,
    "lose": Lose,
    "twice": Twice,
    "shuffle": Shuffle,
    "throttle": Throttle,
    "reset": Reset,
    "busy": Busy,
    "drift": Drift,
    "jump-clock": JumpClock,
    "disk-full": DiskFull,
    "upgrade": Upgrade,
    "scale": Scale,
    "point": Point,
    "registry.lose-quorum": LoseQuorum,
    "registry.change-leader": ChangeLeader,
    "registry.expire": Expire,
    "registry.compact": Compact,
    "registry.lag-watch": LagWatch,
    "registry.drop-watch": DropWatch,
    "registry.unsure": Unsure,
    "registry.refuse": Refuse,
}

ACTIONS_NOT_YET: frozenset[str] = frozenset()
