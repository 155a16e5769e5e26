"""Draws the faults of one seed from a chaos block, as the lines of a plain script; and writes them into a file.

Each fault is drawn by its place in the row, so that fewer of them leave the others as they are.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from random import Random

from palm.sim.draws import Key
from palm.sim.scenario import yaml_strict
from palm.sim.scenario.chaos import MENU, Chaos, Drawn, Stage
from palm.sim.scenario.names import REGISTRY
from palm.sim.scenario.scenario import Scenario
from palm.sim.scenario.script import SCRIPT
from palm.sim.scenario.units import MS
from palm.sim.scenario.world import World

PREFIX = "chaos-"
FIRST_NS = 500 * MS
"""Before that, nobody has begun."""


def with_chaos(scenario: Scenario, seed: int) -> tuple[Scenario, tuple[str, ...]]:
    """The scenario with the faults of that seed in its script, and those as lines of a file; itself where it asks for
    none."""
    if scenario.chaos is None:
        return scenario, ()
    lines = draw(scenario.chaos, scenario.world, seed)
    steps = SCRIPT.read(yaml_strict.parse("\n".join(lines), f"chaos of seed {seed}")) if lines else ()
    return replace(scenario, script=(*scenario.script, *(replace(step, drawn=True) for step in steps))), lines


def draw(chaos: Chaos, world: World, seed: int) -> tuple[str, ...]:
    """At most `total` faults, `gap` apart, no more than `at-once` at one time, and none that begins after `until`."""
    stage = _stage(chaos, world)
    mix = _swarm(chaos, Key(seed, "chaos/swarm").random(0))
    lines: list[str] = []
    ends: list[int] = []
    start = FIRST_NS
    for number in range(chaos.budget.total):
        random = Key(seed, "chaos/fault").random(number)
        room = max(1, (chaos.until_ns - FIRST_NS) // chaos.budget.total)
        start += max(chaos.budget.gap_ns, random.randrange(2 * room))
        active = sorted(end for end in ends if end > start)
        if len(active) >= chaos.budget.at_once:
            start = active[-chaos.budget.at_once]
        if start >= chaos.until_ns:
            break
        [kind] = random.choices(list(mix), list(mix.values()))
        drawn = MENU[kind](random, stage)
        ends.append(start + drawn.lasts_ns)
        lines += _lines(number, start, drawn)
    return tuple(lines)


def _lines(number: int, start: int, drawn: Drawn) -> list[str]:
    name = f"{PREFIX}{number}"
    lines = [f"- {{id: {name}, at: {start // MS}ms, {drawn.keys}}}"]
    if drawn.undo:
        lines.append(f"- {{id: {name}-over, after: {{step: {name}, plus: {drawn.lasts_ns // MS}ms}}, {drawn.undo}}}")
    return lines


def _stage(chaos: Chaos, world: World) -> Stage:
    hosts = [host for host in world.hosts if host not in chaos.spare]
    instances = [
        f"{name}[{index}]"
        for name, server in world.servers.items()
        if name not in chaos.spare
        for index, place in enumerate(server.places)
        if place not in chaos.spare
    ]
    return Stage(instances, hosts, [*hosts, *([] if REGISTRY in chaos.spare else [REGISTRY])])


def _swarm(chaos: Chaos, random: Random) -> dict[str, int]:
    """About half of the mix, at least one."""
    kept = {name: weight for name, weight in chaos.mix.items() if not chaos.swarm or random.random() < 0.5}
    return kept or dict([random.choice(list(chaos.mix.items()))])


def as_plain_script(text: str, lines: tuple[str, ...]) -> str:
    """The text of a scenario file with what was drawn in the place of its chaos block, behind its own script."""
    blocks = re.split(r"(?m)^(?=[A-Za-z])", text)
    drawn = "".join(f"  {line}\n" for line in lines)
    kept = [block for block in blocks if not block.startswith("chaos:")]
    for index, block in enumerate(kept):
        if block.startswith("script:"):
            kept[index] = block.rstrip() + "\n" + drawn
            return "".join(kept)
    place = next((index for index, block in enumerate(kept) if block.startswith("expect:")), len(kept))
    return "".join([*kept[:place], "script:\n" + drawn, *kept[place:]])


def write_found(path: Path, seed: int, lines: tuple[str, ...]) -> Path:
    """Write the plain file of what one seed drew under `found/` beside its scenario."""
    folder = path.parent / "found"
    folder.mkdir(exist_ok=True)
    found = folder / f"{path.stem}-{seed}.yaml"
    header = f"# Found by chaos: what seed {seed} of {path.name} drew. Run it with that seed.\n"
    found.write_text(header + as_plain_script(path.read_text(), lines))
    return found
