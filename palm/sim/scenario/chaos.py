"""The chaos block: which faults a run may draw for itself, how many, until when, and whom they spare.

`MENU` is the literal table of what can be drawn. A drawn fault is written as a line of a script and read like one, so a
file that a search has found looks like one written by hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from types import MappingProxyType
from typing import Annotated, Callable, Mapping, Sequence

from palm.errors import did_you_mean
from palm.sim.scenario.forms import DURATION, FLAG, NAME, Form, Key, block_of, list_of, whole
from palm.sim.scenario.units import MS, S
from palm.sim.scenario.yaml_strict import Node, Table

WEIGHT = whole(1, 1000)


@dataclass(frozen=True, slots=True)
class Stage:
    """Who is there to be hurt: what is spared is not among them."""

    instances: Sequence[str]
    hosts: Sequence[str]
    ends: Sequence[str]
    """Ends of links: the hosts and the registry."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """The keys of a step as they stand in a file, without its id and trigger. `lasts_ns`: until it is over; `undo`: the
    keys of a second step that ends it then."""

    keys: str
    lasts_ns: int = 0
    undo: str = ""


def _ms(random: Random, low_ms: int, high_ms: int) -> int:
    return random.randint(low_ms, high_ms) * MS


def _crash(random: Random, stage: Stage) -> Drawn:
    who = random.choice(stage.instances)
    return Drawn(f'do: crash, who: "{who}"', _ms(random, 50, 8000), f'do: restart, who: "{who}"')


def _freeze(random: Random, stage: Stage) -> Drawn:
    lasts = _ms(random, 200, 9000)
    return Drawn(f'do: freeze, who: "{random.choice(stage.instances)}", for: {lasts // MS}ms', lasts)


def _busy(random: Random, stage: Stage) -> Drawn:
    lasts = _ms(random, 500, 5000)
    return Drawn(
        f'do: busy, who: "{random.choice(stage.instances)}", by: {random.randint(5, 80)}ms, for: {lasts // MS}ms', lasts
    )


def _drift(random: Random, stage: Stage) -> Drawn:
    lasts, ppm = _ms(random, 1000, 9000), random.choice((-300, 300))
    return Drawn(f'do: drift, who: "{random.choice(stage.instances)}", ppm: {ppm}, for: {lasts // MS}ms', lasts)


def _jump(random: Random, stage: Stage) -> Drawn:
    return Drawn(f'do: jump-clock, who: "{random.choice(stage.instances)}", by: {random.choice(("1h", "-1h", "90s"))}')


def _expire(random: Random, stage: Stage) -> Drawn:
    return Drawn(f'do: registry.expire, who: "{random.choice(stage.instances)}"')


def _link(random: Random, stage: Stage) -> str:
    here, there = random.sample(list(stage.ends), 2)
    return f'link: "{here} {random.choice(("->", "<->"))} {there}"'


def _on_link(name: str, longest_ms: int, more: Callable[[Random], str] = lambda random: "") -> Draw:
    def draw(random: Random, stage: Stage) -> Drawn:
        lasts = _ms(random, 100, longest_ms)
        return Drawn(f"do: {name}, {_link(random, stage)}{more(random)}, for: {lasts // MS}ms", lasts)

    return draw


def _chance(random: Random) -> str:
    return f", chance: {random.randint(5, 60)}%"


def _rate(random: Random) -> str:
    return f", rate: {random.randint(2, 200)}KB/s"


def _drain(random: Random, stage: Stage) -> Drawn:
    who = random.choice(stage.instances)
    return Drawn(f'do: drain, who: "{who}"', _ms(random, 50, 8000), f'do: restart, who: "{who}"')


def _reset(random: Random, stage: Stage) -> Drawn:
    return Drawn(f"do: reset, {_link(random, stage)}")


def _registry_away(name: str) -> Draw:
    def draw(random: Random, stage: Stage) -> Drawn:
        lasts = _ms(random, 500, 9000)
        return Drawn(f"do: {name}, for: {lasts // MS}ms", lasts)

    return draw


def _lag(random: Random, stage: Stage) -> Drawn:
    lasts = _ms(random, 500, 9000)
    return Drawn(f"do: registry.lag-watch, by: {random.randint(1, 9)}s, for: {lasts // MS}ms", lasts)


Draw = Callable[[Random, Stage], Drawn]

MENU: Mapping[str, Draw] = {
    "crash": _crash,
    "drain": _drain,
    "freeze": _freeze,
    "busy": _busy,
    "drift": _drift,
    "jump-clock": _jump,
    "cut": _on_link("cut", 9000),
    "hold": _on_link("hold", 4000),
    "slow": _on_link("slow", 5000, lambda random: f", by: {random.randint(5, 300)}ms"),
    "lose": _on_link("lose", 5000, _chance),
    "twice": _on_link("twice", 5000, _chance),
    "shuffle": _on_link("shuffle", 5000, _chance),
    "throttle": _on_link("throttle", 5000, _rate),
    "reset": _reset,
    "registry.down": _registry_away("registry.down"),
    "registry.lose-quorum": _registry_away("registry.lose-quorum"),
    "registry.change-leader": lambda random, stage: Drawn("do: registry.change-leader", 1500 * MS),
    "registry.expire": _expire,
    "registry.compact": lambda random, stage: Drawn("do: registry.compact"),
    "registry.lag-watch": _lag,
    "registry.drop-watch": lambda random, stage: Drawn("do: registry.drop-watch"),
    "disk-full": _registry_away("disk-full"),
    "registry.unsure": lambda random, stage: Drawn(f"do: registry.unsure, writes: {random.randint(1, 4)}"),
}


def _mix(node: Node) -> Mapping[str, int]:
    """`{crash: 3, cut: 1}`: a crash three times as often as a cut."""
    if not isinstance(node, Table) or not node.entries:
        node.refuse(MIX.expected)
    for name, value in node.entries.items():
        if name not in MENU:
            hint = did_you_mean(name, MENU) or f"; there are {', '.join(MENU)}"
            value.place.refuse(f"{name!r:.80} is not an action that can be drawn{hint}")
    return MappingProxyType({name: WEIGHT.read(value) for name, value in node.entries.items()})


MIX = Form(
    "a mapping from actions to weights, as {crash: 3, cut: 1}",
    _mix,
    lambda: {
        "type": "object",
        "properties": {name: dict(WEIGHT.schema()) for name in MENU},
        "additionalProperties": False,
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much may go wrong."""

    at_once: Annotated[int, Key("at-once", whole(1, 100))] = 2
    """Faults that are active at one time."""
    total: Annotated[int, Key("total", whole(1, 1000))] = 8
    gap_ns: Annotated[int, Key("gap", DURATION)] = S
    """The least time between the beginnings of two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chaos:
    """Faults that each seed draws for itself, beside the script."""

    mix: Annotated[Mapping[str, int], Key("mix", MIX)]
    """What may be drawn, with weights."""
    swarm: Annotated[bool, Key("swarm", FLAG)] = True
    """Each seed leaves out some of the mix: what is always there hides what happens without it."""
    budget: Annotated[Budget, Key("budget", block_of(Budget, "budget"))] = Budget()
    until_ns: Annotated[int, Key("until", DURATION)]
    """Nothing begins later."""
    spare: Annotated[tuple[str, ...], Key("spare", list_of(NAME))] = ()
    """Hosts, servers and `registry` that nothing is done to."""


CHAOS = block_of(Chaos, "chaos")
