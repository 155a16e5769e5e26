"""What can be done to a world: the actions of a script's steps.

`ACTIONS` is the literal table of what this version has. Another action is a class and a line here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Mapping

from palm.sim import network
from palm.sim.draws import Distribution
from palm.sim.scenario.distributions import DELAY
from palm.sim.scenario.forms import BANDWIDTH, CHANCE, DURATION, NAME, Key, one_of, scalar
from palm.sim.scenario.names import Target, parse_link, parse_target

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
    """The process is gone, without a word; down until a `restart`."""

    lasts: ClassVar[bool] = True
    who: Annotated[Target, Key("who", WHO)]
    memory: Annotated[str, Key("memory", one_of("what is left of its memory", ["lost"], ["kept"]))] = "lost"


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
    """A new life in the place of one that crashed; one that runs is crashed first."""

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


OnLink = Cut | Hold | Slow | Lose | Twice | Shuffle | Throttle
"""Those that lay a rule on links."""
Action = OnLink | Heal | Crash | Drain | Restart | Freeze | Cancel | RegistryDown

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
}

ACTIONS_NOT_YET = frozenset(
    {
        "reset", "busy", "drift", "jump-clock", "disk-full", "upgrade", "scale", "point",
        "registry.lose-quorum", "registry.change-leader", "registry.expire", "registry.compact", "registry.lag-watch",
        "registry.drop-watch", "registry.unsure",
    }
)  # fmt: skip
