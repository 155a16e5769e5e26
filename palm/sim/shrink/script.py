"""The steps of a script as a search sees them: which are faults, what mends them, and what goes with what.

A `restart` after a crash and a `heal` after a cut are no faults of their own: to leave out the mending and keep the
damage would be another failure, and an easier one. They go when all goes that they mend. This file changes trees, and
runs nothing.
"""

from __future__ import annotations

from typing import Any, Collection, Iterator, Mapping

from palm.sim.scenario.document import Tree, quoted, said
from palm.sim.scenario.units import show_duration

Step = dict[str, Any]  # a tree: the keys of one step

_KILLS = ("crash", "drain", "upgrade")
_NAMED_BY_CHECKS = ("after", "during")


def steps_of(tree: Tree) -> list[Step]:
    return [step for step in tree.get("script", []) if isinstance(step, dict)]


def id_of(step: Step) -> str:
    return said(step.get("id"))


def faults(tree: Tree) -> list[str]:
    """The ids of the steps that may be left out: no mending, and nothing that what is expected refers to."""
    steps, kept = steps_of(tree), set(_kept(tree))
    return [id_of(step) for step in steps if id_of(step) not in kept and not mended_by(step, steps)]


def mended_by(step: Step, steps: list[Step]) -> list[str]:
    """The steps whose damage this one ends; none for a fault."""
    do = said(step.get("do"))
    if do == "restart":
        return [id_of(one) for one in steps if said(one.get("do")) in _KILLS and _is_for(step, one)]
    if do == "heal":
        link = said(step.get("link"))
        return [id_of(one) for one in steps if "link" in one and one is not step and link in ("", said(one["link"]))]
    return []


def _is_for(restart: Step, crash: Step) -> bool:
    who = said(restart.get("who"))
    return id_of(crash) in (_after(restart), who.removeprefix("step:")) or who == said(crash.get("who"))


def _after(step: Step) -> str:
    after = step.get("after")
    return said(after.get("step")) if isinstance(after, dict) else ""


def _needs(step: Step) -> Iterator[str]:
    """The steps without which this one never happens, or is done to nobody."""
    if after := _after(step):
        yield after
    when = step.get("when")
    if isinstance(when, dict) and "during" in when:
        yield said(when["during"])
    if said(step.get("who")).startswith("step:"):
        yield said(step["who"]).removeprefix("step:")


def _kept(tree: Tree) -> Iterator[str]:
    """What checks refer to, and what that needs."""
    by_id = {id_of(step): step for step in steps_of(tree)}
    asked = [said(one.get(key)) for one in _expected(tree) for key in _NAMED_BY_CHECKS if key in one]
    seen: set[str] = set()
    while asked:
        step = asked.pop()
        if step in by_id and step not in seen:
            seen.add(step)
            yield step
            asked += _needs(by_id[step])


def _expected(tree: Tree) -> Iterator[dict[str, Any]]:
    for entries in tree.get("expect", {}).values():
        if isinstance(entries, list):
            yield from (one for one in entries if isinstance(one, dict))


def with_only(tree: Tree, ids: Collection[str]) -> Tree:
    """Without all other faults, what needs them, and what mends nothing any more."""
    steps = steps_of(tree)
    gone = {one for one in faults(tree) if one not in ids}
    while True:
        more = {
            id_of(step)
            for step in steps
            if id_of(step) not in gone
            and (any(one in gone for one in _needs(step)) or _mends_nothing(mended_by(step, steps), gone))
        }
        if not more:
            break
        gone |= more
    return _without(tree, gone)


def _mends_nothing(mended: list[str], gone: set[str]) -> bool:
    return bool(mended) and gone.issuperset(mended)


def _without(tree: Tree, gone: set[str]) -> Tree:
    rest = [step for step in steps_of(tree) if id_of(step) not in gone]
    smaller = {key: value for key, value in tree.items() if key != "script"} if not rest else {**tree, "script": rest}
    if "expect" in smaller:
        smaller["expect"] = {
            phase: [_outside_less(one, gone) for one in entries] if isinstance(entries, list) else entries
            for phase, entries in tree["expect"].items()
        }
    return smaller


def _outside_less(check: Any, gone: set[str]) -> Any:  # a tree, as any entry of a file
    if not isinstance(check, dict) or not isinstance(check.get("outside"), list):
        return check
    return {**check, "outside": [one for one in check["outside"] if said(one) not in gone]}


def without_faults(tree: Tree) -> Tree:
    return with_only(tree, ())


def untied(tree: Tree, started: Mapping[str, int]) -> Tree:
    """Each fault that waits for another step happens at the time at which it did, and so without the other one."""
    steps = steps_of(tree)

    def free(step: Step) -> Step:
        tied = "after" in step and not mended_by(step, steps) and id_of(step) in started
        if not tied or said(step.get("who")).startswith("step:"):
            return step
        return _triggered(step, "at", show_duration(started[id_of(step)]))

    return {**tree, "script": [free(step) for step in steps]} if steps else tree


def tied(tree: Tree, started: Mapping[str, int]) -> Tree:
    """The first fault stays at its time, and each other one that waits for a time follows it: should the first come at
    another time, so will they."""
    steps = steps_of(tree)
    order = sorted((started[id_of(step)], id_of(step)) for step in steps if id_of(step) in started)
    if not order:
        return tree
    begin, first = order[0]

    def tie(step: Step) -> Step:
        if "at" not in step or id_of(step) == first or id_of(step) not in started:
            return step
        later = started[id_of(step)] - begin
        return _triggered(step, "after", {"step": quoted(first), **({"plus": show_duration(later)} if later else {})})

    return {**tree, "script": [tie(step) for step in steps]}


def _triggered(step: Step, key: str, trigger: Any) -> Step:  # a tree or a word, as the key has it
    rest = {name: value for name, value in step.items() if name not in ("id", "at", "after", "when")}
    return {"id": step["id"], key: trigger, **rest}


def on_event(tree: Tree, triggers: Mapping[str, tuple[str, str, str, int]]) -> Tree:
    """Each of these steps waits for its (event, server, job, nth) instead of a time."""

    def on(step: Step) -> Step:
        if id_of(step) not in triggers:
            return step
        event, server, job, nth = triggers[id_of(step)]
        when = {"event": quoted(event)}
        when.update({key: quoted(name) for key, name in (("server", server), ("job", job)) if name})
        return _triggered(step, "when", {**when, "nth": str(nth)})

    return {**tree, "script": [on(step) for step in steps_of(tree)]}
