"""The route grammar: from what a user writes to a tuple of stages, and which stage comes after which.

A route is flat: stages in the order in which they are written, so that a stage is one number. Where branches are, a
`Branching` route also knows the numbers of what follows.
"""

from __future__ import annotations

from functools import lru_cache
from operator import add
from typing import Mapping, NamedTuple, Sequence

from palm.core.names import check_name, is_name
from palm.errors import BadRequest

LONGEST = 256
MOST_BRANCHES = 64
DEEPEST = 8


class Stage(NamedTuple):
    """One `server.function` of a route."""

    server: str
    function: str

    def __str__(self) -> str:
        return f"{self.server}.{self.function}"


class Branch(NamedTuple):
    """One branch: what a source calls it, and the number of its first stage.

    By default it is called as its first stage; two that begin with the same one have no name."""

    name: str
    first: int


class Branching(tuple[Stage, ...]):
    """A route with branches.

    `after[i]` is the stage after stage i, where one that branches are behind counts as followed by what they meet in;
    `branches[i]` are those behind it, if any; `joins[i]` is the stage whose branches meet in i; `within[i]` is the
    stage behind which i stands in a branch, the nearest such. `shape` is the route with a dot for each stage:
    `.[.|..].`, or `.[even:.|odd:..].` with names.
    """

    after: tuple[int, ...]
    branches: dict[int, tuple[Branch, ...]]
    joins: dict[int, int]
    within: dict[int, int]
    shape: str

    def __eq__(self, other: object) -> bool:
        return tuple.__eq__(self, other) is True and getattr(other, "shape", "") == self.shape

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((tuple(self), self.shape))


Route = tuple[Stage, ...]

RouteText = str | Sequence["str | Sequence[RouteText] | Mapping[str, RouteText]"]
"""What users write: a stage, a list of stages, and in it lists of branches, or mappings from their names."""


def stage_after(route: Route, stage: int) -> int:
    """The stage that follows; `len(route)` where that is the caller. Branches behind it are passed over."""
    return route.after[stage] if isinstance(route, Branching) else stage + 1


def branches_after(route: Route, stage: int) -> tuple[Branch, ...]:
    """The branches behind that stage; none is the common case."""
    return route.branches.get(stage, ()) if isinstance(route, Branching) else ()


def stages_before(route: Route, stage: int) -> Sequence[int]:
    """The stages that may send to that one."""
    if not isinstance(route, Branching):
        return (stage - 1,)
    return [
        before
        for before in range(stage)
        if route.after[before] == stage or any(branch.first == stage for branch in route.branches.get(before, ()))
    ]


def cut_route(route: Route, stage: int) -> tuple[Route, Route]:
    """The route in two: up to that stage, and what comes behind it, perhaps nothing. Not inside of a branch."""
    if not isinstance(route, Branching):
        return route[: stage + 1], route[stage + 1 :]
    assert stage not in route.within, "a branch has no end of its own"
    at = -1
    for _ in range(stage + 1):
        at = route.shape.index(".", at + 1)
    head, tail = route[: stage + 1], route[stage + 1 :]
    return build_route(head, route.shape[: at + 1]), build_route(tail, route.shape[at + 1 :]) if tail else ()


def parse_stage(text: object) -> Stage:
    """`"server.function"` to a Stage; `BadRequest` names the text and the form."""
    if not isinstance(text, str) or text.count(".") != 1:
        raise BadRequest(f"stage {text!r:.200} of the route is not of the form 'server.function'")
    server, function = text.split(".")
    return Stage(check_name("server", server), check_name("function", function))


def parse_route(route: RouteText) -> Route:
    """A route of 1 to 256 stages, visited in order; a server may appear more than once.

    Branches are a list of routes behind the stage that splits, or a mapping from names to routes. They meet in the
    stage behind them, or in the caller.
    """
    if isinstance(route, str):
        return _single(route)
    stages: list[Stage] = []
    shape = _write(route, stages, 0)
    return build_route(stages, shape)


@lru_cache(maxsize=1024)
def _single(text: str) -> Route:
    """Callers of single calls say the same one again and again."""
    return (parse_stage(text),)


def build_route(stages: Sequence[Stage], shape: str = "") -> Route:
    """The route of these stages; `BadRequest` where `shape` does not fit them. An empty one means no branches."""
    if not 1 <= len(stages) <= LONGEST:
        raise BadRequest(f"a route has 1 to {LONGEST} stages, this one has {len(stages)}")
    if "[" not in shape:
        return tuple(stages)
    return _Reader(stages, shape).route()


def _write(route: object, stages: list[Stage], depth: int) -> str:
    """Put the stages down in order; the shape."""
    if isinstance(route, str) or not isinstance(route, Sequence):
        raise BadRequest(f"a route or branch is a list of stages, not {route!r:.200}: write ['server.function', ...]")
    if depth > DEEPEST:
        raise BadRequest(f"branches of a route stand in one another {DEEPEST} deep at most")
    shape = ""
    for element in route:
        if isinstance(element, str):
            stages.append(parse_stage(element))
            shape += "."
        elif isinstance(element, Mapping):
            names = [check_name("branch", name) + ":" for name in element]
            bodies = [_write(branch, stages, depth + 1) for branch in element.values()]
            shape += f"[{'|'.join(map(add, names, bodies))}]"
        elif isinstance(element, Sequence):
            shape += f"[{'|'.join(_write(branch, stages, depth + 1) for branch in element)}]"
        else:
            parse_stage(element)
    return shape


class _Reader:
    """Reads a shape once, and fills in what follows what."""

    def __init__(self, stages: Sequence[Stage], shape: str) -> None:
        self._stages = stages
        self._shape = shape
        self._at = 0
        self._stage = 0
        self._after = [len(stages)] * len(stages)
        self._branches: dict[int, tuple[Branch, ...]] = {}
        self._joins: dict[int, int] = {}
        self._within: dict[int, int] = {}

    def route(self) -> Branching:
        ends = self._sequence(0, None)
        if self._at != len(self._shape) or self._stage != len(self._stages):
            raise BadRequest(f"the shape {self._shape!r:.200} is not that of {len(self._stages)} stages")
        assert all(self._after[end] == len(self._stages) for end in ends), "what is last is followed by the caller"
        route = Branching(self._stages)
        route.after = tuple(self._after)
        route.branches = self._branches
        route.joins = self._joins
        route.within = self._within
        route.shape = self._shape
        return route

    def _sequence(self, depth: int, behind: int | None) -> list[int]:
        """Stages and branches until the end of this route or branch; the stages that are last in it."""
        last: list[int] = []
        split: int | None = None
        while self._at < len(self._shape) and self._shape[self._at] in ".[":
            if self._shape[self._at] == ".":
                stage = self._stage
                if stage >= len(self._stages):
                    raise BadRequest(f"the shape {self._shape!r:.200} has more stages than the route")
                for end in last:
                    self._after[end] = stage
                if split is not None:
                    self._after[split] = stage
                    self._joins[stage] = split
                if behind is not None:
                    self._within[stage] = behind
                last, split = [stage], None
                self._at += 1
                self._stage += 1
                continue
            if len(last) != 1 or split is not None:
                raise BadRequest(
                    "branches of a route need a stage before them: one that splits at its beginning, "
                    "one that joins between two forks"
                )
            split = last[0]
            last = self._fork(split, depth)
        if not last:
            raise BadRequest("a branch of the route has no stage")
        return last if split is None else [*last, split]

    def _fork(self, split: int, depth: int) -> list[int]:
        self._at += 1
        if depth >= DEEPEST:
            raise BadRequest(f"branches of a route stand in one another {DEEPEST} deep at most")
        branches: list[Branch] = []
        ends: list[int] = []
        while True:
            first = self._stage
            name = self._name()
            ends += self._sequence(depth + 1, split)
            branches.append(Branch(name or str(self._stages[first]), first))
            if self._at >= len(self._shape) or self._shape[self._at] not in "|]":
                raise BadRequest(f"the branches in the shape {self._shape!r:.200} do not end")
            self._at += 1
            if self._shape[self._at - 1] == "]":
                break
        if not 2 <= len(branches) <= MOST_BRANCHES:
            raise BadRequest(f"a fork of a route has 2 to {MOST_BRANCHES} branches, this one has {len(branches)}")
        names = [branch.name for branch in branches]
        self._branches[split] = tuple(
            Branch(branch.name if names.count(branch.name) == 1 else "", branch.first) for branch in branches
        )
        return ends

    def _name(self) -> str:
        """The branch's own name, where it has one."""
        end = min((at for sign in ".[|]" if (at := self._shape.find(sign, self._at)) >= 0), default=len(self._shape))
        name = self._shape[self._at : end]
        if not name:
            return ""
        if not name.endswith(":") or not is_name(name[:-1]):
            raise BadRequest(f"the shape {self._shape!r:.200} holds {name!r:.200}")
        self._at = end
        return name[:-1]
