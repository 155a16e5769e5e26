"""The two little languages inside a scenario: which links (`zone:a <-> registry`) and which processes (`one(worker)`).

Parsed here to values, with names not yet looked up: `references` does that, once the whole file is read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Mapping

from palm.core.names import is_name
from palm.sim.network import Ends

LOCAL = Ends("local", "local", True)
"""`local`: between the processes of one host, whichever it is. No rule touches these links."""

REGISTRY = "registry"
"""The registry's host: an end of a link like any other, in no zone."""


@dataclass(frozen=True, slots=True)
class Servers:
    """`worker`: every instance of the server."""

    server: str


@dataclass(frozen=True, slots=True)
class InstanceOf:
    """`worker[1]`: one instance, counted from 0."""

    server: str
    index: int


@dataclass(frozen=True, slots=True)
class OnHost:
    """`two`: every instance on that host."""

    host: str


@dataclass(frozen=True, slots=True)
class InZone:
    """`zone:a`: every instance on the zone's hosts."""

    zone: str


@dataclass(frozen=True, slots=True)
class OneOf:
    """`one(worker)`: one of its instances that live, drawn by the step's name."""

    server: str


@dataclass(frozen=True, slots=True)
class HalfOf:
    """`half(worker)`: half of its living instances, or of all hosts for `half(hosts)`; rounded down, at least one."""

    of: str


@dataclass(frozen=True, slots=True)
class LeaderOf:
    """`leader(worker)`: the instance of the server that was elected last."""

    server: str


@dataclass(frozen=True, slots=True)
class Subject:
    """`that`: the instance that the trigger's event was about."""


@dataclass(frozen=True, slots=True)
class SameAs:
    """`step:die`: what that step did its action to."""

    step: str


@dataclass(frozen=True, slots=True)
class TheRegistry:
    """`registry`: all of its members; `registry.leader`: the one that leads; `registry[1]`: one, counted from 0."""

    leader: bool = False
    member: int | None = None

    @property
    def is_one(self) -> bool:
        """One member of it, and not all."""
        return self.leader or self.member is not None


@dataclass(frozen=True, slots=True)
class Named:
    """A bare name, until `references` knows whether it is a server or a host."""

    name: str


Target = Servers | InstanceOf | OnHost | InZone | OneOf | HalfOf | LeaderOf | Subject | SameAs | TheRegistry | Named

_NAME = r"[A-Za-z0-9_-]{1,128}"
_LINK = re.compile(r"\s*(\S+)\s+(<->|->)\s+(\S+)\s*")
_CALL = re.compile(rf"([a-z]+)\(({_NAME})\)")
_INDEX = re.compile(rf"({_NAME})\[(0|[1-9]\d{{0,5}})\]")

_CALLS: Mapping[str, type[OneOf | HalfOf | LeaderOf]] = {"one": OneOf, "half": HalfOf, "leader": LeaderOf}


def parse_between(text: str) -> Ends:
    """A link, or `local`."""
    return LOCAL if text == "local" else parse_link(text)


def parse_link(text: str) -> Ends:
    """`a -> b`, `a <-> b`, `zone:x <-> zone:y`, `* <-> registry`. ValueError with a hint otherwise."""
    match = _LINK.fullmatch(text)
    if match is None:
        raise ValueError("write two ends with ' -> ' or ' <-> ' between them, as one -> two")
    left, arrow, right = match[1], match[2], match[3]
    if left == right and left != "*" and not left.startswith("zone:"):
        raise ValueError(f"both ends are {left!r}, and what a host says to itself is on no link")
    _check_end(left)
    _check_end(right)
    return Ends(left, right, arrow == "<->")


def parse_target(text: str) -> Target:
    """Who an action is done to. ValueError with a hint otherwise."""
    if text == "that":
        return Subject()
    if text in (REGISTRY, f"{REGISTRY}.leader"):
        return TheRegistry(leader=text != REGISTRY)
    prefix, colon, rest = text.partition(":")
    if colon:
        if prefix not in ("zone", "step") or not is_name(rest):
            raise ValueError("the forms with a colon are zone:NAME and step:ID")
        return InZone(rest) if prefix == "zone" else SameAs(rest)
    if call := _CALL.fullmatch(text):
        if call[1] not in _CALLS:
            raise ValueError(
                "the forms with parentheses are one(SERVER), leader(SERVER), half(SERVER) and half(hosts)"
            )
        return _CALLS[call[1]](call[2])
    if index := _INDEX.fullmatch(text):
        if index[1] == REGISTRY:
            return TheRegistry(member=int(index[2]))
        return InstanceOf(index[1], int(index[2]))
    if not is_name(text):
        raise ValueError(
            "write a server, SERVER[INDEX], one(SERVER), half(SERVER), a host, zone:NAME, registry, registry.leader, "
            "registry[INDEX], that, or step:ID"
        )
    return Named(text)


def members_meant(end: str) -> TheRegistry | None:
    """What an end of a link means of the registry; None for hosts, zones and `*`."""
    if end in (REGISTRY, f"{REGISTRY}.leader"):
        return TheRegistry(leader=end != REGISTRY)
    index = _INDEX.fullmatch(end)
    return TheRegistry(member=int(index[2])) if index and index[1] == REGISTRY else None


def _check_end(text: str) -> None:
    if text != "*" and members_meant(text) is None and not is_name(text.removeprefix("zone:")):
        raise ValueError(
            f"{text!r:.80} is not an end of a link: write a host, zone:NAME, registry, registry.leader, "
            "registry[INDEX] or *"
        )
