"""All the ways in which a scenario can become a little smaller, as trees to try: the smallest first.

Whether one of them is still a scenario, and still fails, is for others to find out. Nothing here makes a number
longer or adds anything, so whoever takes what still fails, and asks again, comes to an end.
"""

from __future__ import annotations

import re
from typing import Any, Iterator

from palm.sim.scenario.document import Tree, quoted, said
from palm.sim.scenario.units import MS, duration_ns, show_duration
from palm.sim.shrink.script import Step, steps_of

Path = tuple[str | int, ...]


def changed(tree: Any, path: Path, value: Any) -> Any:  # a tree or a list, with anything of a file in it
    """A copy with that value in that place; None takes the place out. What did not change is shared."""
    key, *rest = path
    if rest:
        value = changed(tree[key], tuple(rest), value)
    copy = tree.copy()
    if value is None:
        del copy[key]
    else:
        copy[key] = value
    return copy


def less(number: int) -> list[int]:
    """Whole numbers to try instead: down to 1 at once, then ever nearer; to the next one only where numbers are
    small."""
    steps = [1, number // 16, number // 4, number // 2, number * 3 // 4, number * 15 // 16]
    return [one for one in dict.fromkeys(steps) if 1 <= one < number]


def _number(word: object) -> int:
    """0 for what is none."""
    text = said(word).replace("_", "")
    return int(text) if text.isascii() and text.isdecimal() else 0


def _lower(tree: Tree, *path: str | int) -> Iterator[Tree]:
    """Smaller numbers in that place, where a number stands there."""
    value: Any = tree
    for key in path:
        if isinstance(value, dict) and key not in value:
            return
        value = value[key]
    for one in less(_number(value)):
        yield changed(tree, path, str(one))


def _each_out(tree: Tree, *path: str | int, at_least: int = 0) -> Iterator[Tree]:
    """Without each single one of the list or table in that place, the last one first; `at_least` so many stay."""
    value: Any = tree
    for key in path:
        value = value.get(key, ()) if isinstance(value, dict) else value[key]
    if len(value) > at_least:
        for key in reversed(list(value) if isinstance(value, dict) else range(len(value))):
            yield changed(tree, (*path, key), None)


def fewer_messages(tree: Tree) -> Iterator[Tree]:
    """Fewer jobs, clients and messages; and operations on stores."""
    yield from _each_out(tree, "load", at_least=1)
    yield from _each_out(tree, "stores")
    for index in range(len(tree.get("stores", []))):
        for key in ("operations", "keys"):
            yield from _lower(tree, "stores", index, key)
        yield from _each_out(tree, "stores", index, "clients", at_least=1)
        yield from _each_out(tree, "stores", index, "readers")
    for index in range(len(tree["load"])):
        yield from _lower(tree, "load", index, "clients")
        yield from _lower(tree, "load", index, "messages", "count")


def half_the_messages(tree: Tree) -> Tree:
    half = tree
    for index, job in enumerate(tree["load"]):
        count = _number(job["messages"].get("count"))
        half = changed(half, ("load", index, "messages", "count"), str(-(-count // 2)))
    return half


def fewer_nodes(tree: Tree) -> Iterator[Tree]:
    """Shorter routes, fewer servers, instances and hosts."""
    for index in range(len(tree["load"])):
        yield from _each_out(tree, "load", index, "route", at_least=1)
    yield from _each_out(tree, "world", "servers", at_least=1)
    for server in tree["world"]["servers"]:
        yield from _fewer_instances(tree, server)
        yield from _lower(tree, "world", "servers", server, "workers")
        if "hosts" in tree["world"]["servers"][server]:
            yield from _each_out(tree, "world", "servers", server, "hosts", at_least=1)
    yield from _each_out(tree, "world", "hosts", at_least=1)
    if _number(tree["world"].get("registry", {}).get("members")) > 1:
        yield changed(tree, ("world", "registry", "members"), None)


def _fewer_instances(tree: Tree, server: str) -> Iterator[Tree]:
    """The first ones stay; what is done to one that goes is done to the last one that stays."""
    block = tree["world"]["servers"][server]
    hosts = block.get("hosts", [])
    for left in less(_number(block.get("instances")) or len(hosts)):
        smaller = dict(block)
        if "instances" in smaller:
            smaller["instances"] = str(left)
        if hosts:
            smaller["hosts"] = hosts[:left]
        moved = changed(tree, ("world", "servers", server), smaller)
        for index, step in enumerate(steps_of(tree)):
            named = re.fullmatch(re.escape(server) + r"\[(\d+)\]", said(step.get("who")))
            if named is not None and int(named[1]) >= left:
                moved = changed(moved, ("script", index, "who"), quoted(f"{server}[{left - 1}]"))
        yield moved


def plainer(tree: Tree) -> Iterator[Tree]:
    """Without what only makes the world more like a real one."""
    if "links" in tree:
        yield changed(tree, ("links",), None)
        yield from _each_out(tree, "links")
    for server, block in tree["world"]["servers"].items():
        for key in ("service", "options", "start", "port", "memory"):
            if key in block:
                yield changed(tree, ("world", "servers", server, key), None)
    for index, job in enumerate(tree["load"]):
        for key in ("takes", "start", "deadline", "ordered"):
            if key in job:
                yield changed(tree, ("load", index, key), None)


# -- the numbers of a script ------------------------------------------------------------------------------------------


def earlier_events(tree: Tree) -> Iterator[Tree]:
    """Steps that wait for fewer events of their kind."""
    for index, step in enumerate(steps_of(tree)):
        if isinstance(step.get("when"), dict):
            yield from _lower(tree, "script", index, "when", "nth")


def rounder(tree: Tree) -> Iterator[Tree]:
    """Times with fewer digits: all of them at once, then each."""
    steps = steps_of(tree)
    times: dict[Path, int] = {
        (index, *path): _time(step, path) for index, step in enumerate(steps) for path in _times(step)
    }
    together = tree
    for spot, time in times.items():
        for value in _round(time)[:1]:
            together = changed(together, ("script", *spot), show_duration(value))
    if together is not tree:
        yield together
    for spot, time in times.items():
        for value in _round(time):
            yield changed(tree, ("script", *spot), show_duration(value))


def shorter(tree: Tree) -> Iterator[Tree]:
    """Faults, and waits for another step, that last for a part of their time."""
    for index, step in enumerate(steps_of(tree)):
        for path in _times(step):
            for value in () if path == ("at",) else _shorter(_time(step, path)):
                yield changed(tree, ("script", index, *path), show_duration(value))


def _times(step: Step) -> Iterator[tuple[str, ...]]:
    for path in (("at",), ("for",), ("by",), ("after", "plus")):
        if _time(step, path):
            yield path


def _time(step: Step, path: tuple[str, ...]) -> int:
    """In ns; 0 where none stands there."""
    value: Any = step
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    try:
        return duration_ns(said(value))
    except ValueError:
        return 0


def _round(time: int) -> list[int]:
    """With one digit, then with two; up first, as what lasts longer fails more often."""
    found = []
    for digits in (1, 2):
        unit: int = 10 ** max(0, len(str(time)) - digits)
        found += [-(-time // unit) * unit, time // unit * unit]
    return [one for one in dict.fromkeys(found) if one and _digits(one) < _digits(time)]


def _shorter(time: int) -> list[int]:
    """A tenth, a quarter and a half of it, with one digit; nothing that nobody could time by hand."""
    found = []
    for part in (time // 10, time // 4, time // 2):
        unit: int = 10 ** max(0, len(str(part)) - 1)
        found.append(part // unit * unit)
    return [one for one in dict.fromkeys(found) if one >= MS and _digits(one) <= _digits(time)]


def _digits(time: int) -> int:
    return len(str(time).rstrip("0"))


# -- what is expected -------------------------------------------------------------------------------------------------


def only_check(tree: Tree, name: str) -> Tree:
    """What is expected, less all that has another name than the check in question."""
    kept = {phase: _named(phase, entries, name) for phase, entries in tree.get("expect", {}).items()}
    kept = {phase: entries for phase, entries in kept.items() if entries}
    rest = {key: value for key, value in tree.items() if key != "expect"}
    return {**rest, "expect": kept} if kept else rest


def _named(phase: str, entries: Any, name: str) -> Any:  # a list, or a word, as the file has it
    if phase == "never":
        return entries if name.startswith("never ") else []
    if not isinstance(entries, list):
        return entries
    return [one for one in entries if said(one.get("check")) == name]


def fewer_checks(tree: Tree) -> Iterator[Tree]:
    for phase, entries in tree.get("expect", {}).items():
        if isinstance(entries, list):
            yield from _each_out(tree, "expect", phase)


def count_of(tree: Tree) -> tuple[int, int]:
    """How many messages, with operations on stores, and how many processes of servers."""
    messages = sum(_number(job["messages"].get("count")) * (_number(job.get("clients")) or 1) for job in tree["load"])
    messages += sum(_number(use["operations"]) * len(use["clients"]) for use in tree.get("stores", []))
    servers = tree["world"]["servers"].values()
    return messages, sum(_number(one.get("instances")) or len(one.get("hosts", [1])) * _each(one) for one in servers)


def _each(server: Tree) -> int:
    """On each host; a parallel server's leader is not counted."""
    return _number(server.get("workers")) or 1
