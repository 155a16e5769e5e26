"""The route grammar: from what a user writes to a tuple of stages."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple, Sequence

from palm.core.names import check_name
from palm.errors import BadRequest

LONGEST = 256


class Stage(NamedTuple):
    """One `server.function` of a route."""

    server: str
    function: str

    def __str__(self) -> str:
        return f"{self.server}.{self.function}"


Route = tuple[Stage, ...]


def parse_stage(text: object) -> Stage:
    """`"server.function"` to a Stage; `BadRequest` names the text and the form."""
    if not isinstance(text, str) or text.count(".") != 1:
        raise BadRequest(f"stage {text!r:.200} of the route is not of the form 'server.function'")
    server, function = text.split(".")
    return Stage(check_name("server", server), check_name("function", function))


def parse_route(route: str | Sequence[str]) -> Route:
    """A route of 1 to 256 stages, visited in order; a server may appear more than once."""
    if isinstance(route, str):
        return _single(route)
    stages = list(route)
    if not 1 <= len(stages) <= LONGEST:
        raise BadRequest(f"a route has 1 to {LONGEST} stages, this one has {len(stages)}")
    return tuple(parse_stage(stage) for stage in stages)


@lru_cache(maxsize=1024)
def _single(text: str) -> Route:
    """Callers of single calls say the same one again and again."""
    return (parse_stage(text),)
