"""What a user's server class says of itself, beside its functions."""

from __future__ import annotations

from typing import NamedTuple

from palm.core.joins import JOINS, Join
from palm.errors import BadRequest


class Traits(NamedTuple):
    kind: str
    join: Join = "arrival"
    consume: bool = False


def traits_of(server: object) -> Traits:
    """`BadRequest` where a sink asks for a way of joining that there is none of."""
    name = type(server).__name__
    kind = getattr(server, "kind", name)
    if kind != "SinkServer":
        return Traits(kind)
    wanted = getattr(server, "join", "arrival")
    for join in JOINS:
        if join == wanted:
            return Traits(kind, join, bool(getattr(server, "consume", False)))
    raise BadRequest(f"class {name} has join = {wanted!r}; a sink joins by one of {', '.join(map(repr, JOINS))}")
