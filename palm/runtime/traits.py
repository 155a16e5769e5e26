"""What a user's server class says of itself, beside its functions."""

from __future__ import annotations

import inspect
from typing import Mapping, NamedTuple

from palm.core.folding import REDUCE
from palm.core.joins import JOINS, Join
from palm.core.names import check_name
from palm.core.scatter import PARTIALS, Policy
from palm.errors import BadRequest
from palm.runtime.fold import Reducing


class Traits(NamedTuple):
    kind: str
    join: Join = "arrival"
    consume: bool = False
    outputs: tuple[tuple[str, tuple[str, ...]], ...] = ()
    scatter: Policy | None = None
    """Of a ScatterGatherServer."""
    reducing: Reducing | None = None
    """Of a ReduceServer."""


def traits_of(server: object) -> Traits:
    """`BadRequest` where a sink asks for a way of joining that there is none of, a scatter-gather for a policy, a
    reducer for no number of messages, or outputs are not names."""
    name = type(server).__name__
    kind = getattr(server, "kind", name)
    if kind == "ScatterGatherServer":
        return Traits(kind, outputs=_outputs_of(server), scatter=_policy(server, name))
    if kind == REDUCE:
        return Traits(kind, reducing=_reducing(server))
    if kind != "SinkServer":
        return Traits(kind, outputs=_outputs_of(server))
    wanted = getattr(server, "join", "arrival")
    for join in JOINS:
        if join == wanted:
            return Traits(kind, join, bool(getattr(server, "consume", False)))
    raise BadRequest(f"class {name} has join = {wanted!r}; a sink joins by one of {', '.join(map(repr, JOINS))}")


def _policy(server: object, name: str) -> Policy:
    wanted, seconds = getattr(server, "partial", "fail"), getattr(server, "part_deadline", None)
    if seconds is not None and (isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0):
        raise BadRequest(f"class {name} has part_deadline = {seconds!r}; it is a time in seconds above 0, or None")
    for partial in PARTIALS:
        if partial == wanted:
            return Policy(partial=partial, part_deadline=None if seconds is None else round(seconds * 1e9))
    raise BadRequest(f"class {name} has partial = {wanted!r}; it is one of {', '.join(map(repr, PARTIALS))}")


def _outputs_of(server: object) -> tuple[tuple[str, tuple[str, ...]], ...]:
    declared = getattr(server, "outputs", {})
    name = type(server).__name__
    if not isinstance(declared, Mapping) or any(isinstance(names, str) for names in declared.values()):
        raise BadRequest(
            f"class {name} has outputs = {declared!r:.200}; "
            "write the names that each function gives its results, as {'sort': ['even', 'odd']}"
        )
    return tuple(
        (check_name("function", function), tuple(check_name("output", one) for one in names))
        for function, names in declared.items()
    )


def _reducing(server: object) -> Reducing:
    every = getattr(server, "every", None)
    if every is not None and (not isinstance(every, int) or isinstance(every, bool) or every < 1):
        raise BadRequest(
            f"class {type(server).__name__} has every = {every!r}; a reduction gives results each 1 or more messages, "
            "or with None at the end of a job"
        )
    key = getattr(server, "key", None)
    if inspect.iscoroutinefunction(key):
        raise BadRequest(f"class {type(server).__name__} has a key that is async: a reduction folds one after another")
    return Reducing(key if _is_users(server, "key") else None, every or 0)


def _is_users(server: object, name: str) -> bool:
    """Whether it is the user's own, and not the one of PALM's base class."""
    home = next((kind for kind in type(server).__mro__ if name in vars(kind)), object)
    return home is not object and home.__module__.partition(".")[0] != "palm"
