"""Routes with branches: what is written, what follows what, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from palm.core.route import Branching, branches_after, build_route, parse_route, stage_after, stages_before
from palm.errors import BadRequest


def branching(*route: Any) -> Branching:
    parsed = parse_route(list(route))
    assert isinstance(parsed, Branching)
    return parsed


def test_branches_follow_a_stage_and_meet_in_the_next() -> None:
    """The example of the protocol."""
    route = branching("a.split", [["b.left"], ["c.right", "d.more"]], "e.join")
    assert [str(stage) for stage in route] == ["a.split", "b.left", "c.right", "d.more", "e.join"]
    assert route.shape == ".[.|..]." and route.after == (4, 4, 3, 4, 5)
    assert [(branch.name, branch.first) for branch in branches_after(route, 0)] == [("b.left", 1), ("c.right", 2)]
    assert route.joins == {4: 0} and route.within == {1: 0, 2: 0, 3: 0}
    assert [list(stages_before(route, stage)) for stage in range(1, 5)] == [[0], [0], [2], [0, 1, 3]]


def test_branches_may_end_in_the_caller_have_names_and_stand_in_branches() -> None:
    """A mapping names them; two that begin with one stage have no name."""
    route = branching("a.s", {"x": ["b.f", [["c.g"], ["c.g"]], "d.j"], "y": ["e.h"]})
    assert route.shape == ".[x:.[.|.].|y:.]"
    assert route.after == (6, 4, 4, 4, 6, 6) and route.joins == {4: 1}
    assert [branch.name for branch in branches_after(route, 0)] == ["x", "y"]
    assert [branch.name for branch in branches_after(route, 1)] == ["", ""]
    assert build_route(list(route), route.shape) == route


def test_a_route_without_branches_is_a_plain_tuple() -> None:
    """Nothing of this is paid for where it is not used."""
    route = parse_route(["a.f", "b.g"])
    assert type(route) is tuple and stage_after(route, 0) == 1 and branches_after(route, 0) == ()
    assert branching("a.f", [["b.g"], ["c.h"]]) != parse_route(["a.f", "b.g", "c.h"])


@pytest.mark.parametrize(
    ("route", "said"),
    [
        ([[["a.f"], ["b.g"]]], "need a stage before them"),
        (["a.f", [["b.g"], ["c.h"]], [["b.g"], ["c.h"]]], "need a stage before them"),
        (["a.f", [["b.g"]]], "2 to 64 branches, this one has 1"),
        (["a.f", [["b.g"], []]], "a branch of the route has no stage"),
        (["a.f", ["b.g", "c.h"]], "a list of stages, not 'b.g'"),
        (["a.f", {"x y": ["b.g"], "z": ["c.h"]}], "branch 'x y' is not a name"),
        (["a.f", 5], "stage 5 of the route"),
        (5, "a list of stages, not 5"),
    ],
)
def test_a_route_that_is_none_says_what_is_wrong(route: Any, said: str) -> None:
    """Each names what it found and the way out."""
    with pytest.raises(BadRequest, match=said):
        parse_route(route)


def test_branches_stand_in_one_another_to_a_limit() -> None:
    """Deeper ones are refused, also where they come from the wire."""
    deep: Any = ["a.f"]
    for _ in range(9):
        deep = ["a.f", [deep, ["b.g"]]]
    with pytest.raises(BadRequest, match="8 deep"):
        parse_route(deep)
    with pytest.raises(BadRequest):
        build_route([("a", "f")] * 200, ".[" * 200)  # type: ignore[list-item]  # stages enough
