"""A script of faults on the members of a registry, drawn from a seed, and the hand that plays it.

One fault at a time: a member is killed, frozen or restarted, and is whole again before the next. Every `OUTAGE_EVERY`th
fault takes a second member with it, so that the quorum is lost for a moment.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal

from tests.support.containers import Member

Action = Literal["kill", "pause", "restart"]
ACTIONS: tuple[Action, ...] = ("kill", "pause", "restart")
OUTAGE_EVERY = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    action: Action
    members: tuple[int, ...]
    for_s: float
    then_rest_s: float


def script(seed: int, members: int, duration_s: float) -> list[Fault]:
    """Faults whose lengths and rests fill `duration_s`; each action comes once before any comes twice."""
    draw = Random(seed)
    faults: list[Fault] = []
    actions: list[Action] = []
    spent = 0.0
    while spent < duration_s:
        actions = actions or draw.sample(ACTIONS, len(ACTIONS))
        count = 2 if len(faults) % OUTAGE_EVERY == OUTAGE_EVERY - 1 else 1
        fault = Fault(
            action=actions.pop(),
            members=tuple(draw.sample(range(members), count)),
            for_s=round(draw.uniform(1.0, 6.0), 2),
            then_rest_s=round(draw.uniform(0.5, 2.0), 2),
        )
        faults.append(fault)
        spent += fault.for_s + fault.then_rest_s
    return faults


@dataclass(slots=True)
class Played:
    """What was done, as `state` found it: a fault that did not bite is not in here."""

    bitten: list[tuple[Action, str]] = field(default_factory=list)
    took_s: float = 0.0


async def play(
    faults: Sequence[Fault], members: Sequence[Member], duration_s: float, note: Callable[[str], None] = print
) -> Played:
    """Play `faults` on `members`, each healed (started, thawed and healthy) before the next begins.

    Healing takes what it takes, so faults may be left over when `duration_s` has passed.
    """
    played, began = Played(), time.monotonic()
    for fault in faults:
        if time.monotonic() - began >= duration_s:
            break
        struck = [members[index] for index in fault.members]
        note(f"{time.monotonic() - began:6.1f} s  {fault.action} {' and '.join(member.name for member in struck)}")
        await asyncio.gather(*(asyncio.to_thread(_strike, fault.action, member, played) for member in struck))
        await asyncio.sleep(fault.for_s)
        for member in struck:
            await asyncio.to_thread(_heal, fault.action, member)
        await asyncio.gather(*(asyncio.to_thread(member.wait_healthy, 60.0) for member in struck))
        await asyncio.sleep(fault.then_rest_s)
    played.took_s = time.monotonic() - began
    return played


def _strike(action: Action, member: Member, played: Played) -> None:
    before = member.started_at
    match action:
        case "kill":
            member.kill()
            bitten = member.state == "exited"
        case "pause":
            member.pause()
            bitten = member.state == "paused"
        case "restart":
            member.restart()
            bitten = member.started_at != before
    if bitten:
        played.bitten.append((action, member.name))


def _heal(action: Action, member: Member) -> None:
    match action:
        case "kill":
            member.start()
        case "pause":
            member.unpause()
        case "restart":
            pass  # came back by itself
