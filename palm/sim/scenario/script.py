"""The script of a scenario: steps, each a sentence of when and what.

`EVENTS` is the literal table of what a step of this version can wait for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Mapping

from palm.sim.scenario.actions import ACTIONS, ACTIONS_NOT_YET, Action
from palm.sim.scenario.forms import (
    DURATION,
    NAME,
    Form,
    Key,
    block_of,
    keys_of,
    list_of,
    one_of,
    schema_of,
    take,
    whole,
)
from palm.sim.scenario.yaml_strict import Node, Table

EVENTS = (
    "sent",
    "delivered",
    "handling",
    "answered",
    "registered",
    "lease-expired",
    "watch-event",
    "elected",
    "committing",
    "mark",
)
EVENTS_OF_A_JOB = frozenset({"sent", "delivered", "handling", "answered", "mark"})
EVENTS_OF_AN_INSTANCE = frozenset(
    {"handling", "answered", "registered", "lease-expired", "elected", "watch-event", "committing", "mark"}
)
"""Those whose subject (`that`) is an instance of a server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class At:
    """At this time of the run."""

    at_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class After:
    """This long after that step was done (not after it ended)."""

    step: Annotated[str, Key("step", NAME)]
    plus_ns: Annotated[int, Key("plus", DURATION)] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """At the `nth` such event from the start, or from the moment that step `during` was done while it lasts."""

    event: Annotated[str, Key("event", one_of("an event", EVENTS))]
    server: Annotated[str | None, Key("server", NAME)] = None
    job: Annotated[str | None, Key("job", NAME)] = None
    name: Annotated[str | None, Key("name", NAME)] = None
    """Of a mark."""
    nth: Annotated[int, Key("nth", whole(1, 10**12))] = 1
    during: Annotated[str | None, Key("during", NAME)] = None


Trigger = At | After | When


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One sentence of the script: when, and what is done."""

    id: str
    trigger: Trigger
    action: Action
    do: str
    """The action's name in the file."""
    line: int
    drawn: bool = False
    """By a chaos block: that it touches nothing by itself says nothing."""


DO = one_of("an action", ACTIONS, ACTIONS_NOT_YET)


@dataclass(frozen=True, slots=True, kw_only=True)
class _StepKeys:
    """What every step has, beside the keys of its action."""

    id: Annotated[str, Key("id", NAME)]
    do: Annotated[str, Key("do", DO)]
    at_ns: Annotated[int | None, Key("at", DURATION)] = None
    after: Annotated[After | None, Key("after", block_of(After, "after"))] = None
    when: Annotated[When | None, Key("when", block_of(When, "when"))] = None


def _step(node: Node) -> Step:
    if not isinstance(node, Table):
        node.refuse("a step: a mapping with id, at, after or when, and do")
    if "do" not in node.entries:
        node.place.refuse(f"step needs the key 'do': {DO.expected}")
    do = DO.read(node.entries["do"])
    shape = ACTIONS[do]
    common = take(node, _StepKeys, what=f"step with do: {do}", beside=keys_of(shape))
    action = take(node, shape, what=f"step with do: {do}", beside=keys_of(_StepKeys))
    triggers: list[Trigger] = [one for one in (common.after, common.when) if one is not None]
    if common.at_ns is not None:
        triggers.append(At(at_ns=common.at_ns))
    if len(triggers) != 1:
        node.place.refuse(
            f"a step has one of the keys at, after and when; this one has {len(triggers) or 'none'} of them"
        )
    return Step(id=common.id, trigger=triggers[0], action=action, do=do, line=node.place.line)


def _schema() -> Mapping[str, Any]:
    """One shape for each action: its name decides which keys there are."""
    shapes = []
    for name, shape in ACTIONS.items():
        one = dict(schema_of(shape, _StepKeys))
        one["properties"] = {**one["properties"], "do": {"const": name}}
        one["oneOf"] = [{"required": [trigger]} for trigger in ("at", "after", "when")]
        shapes.append(one)
    return {"anyOf": shapes}


SCRIPT = list_of(Form("a step", _step, _schema))
