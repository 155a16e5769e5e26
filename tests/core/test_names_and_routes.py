"""Names and routes: one rule, and a route that reads back as it was written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.core.names import LONGEST, check_name, is_name
from palm.core.route import LONGEST as LONGEST_ROUTE
from palm.core.route import Stage, parse_route, parse_stage
from palm.errors import BadName, BadRequest

NAMES = st.text("abcXYZ019_-", min_size=1, max_size=LONGEST)
HOSTILE = ["", "..", "a/b", "a.b", "a\0", "a\n", "a" * 129, "\u202eabc", "caf\u00e9", "cafe\u0301", " a", "\ud800"]


@pytest.mark.parametrize("text", HOSTILE + [None, 7, b"bytes"])
def test_what_is_outside_the_rule_is_no_name(text: object) -> None:
    """Letters, digits, `_` and `-`, at most 128: nothing else, and the error shows the repr, cut."""
    assert not is_name(text)
    with pytest.raises(BadName) as caught:
        check_name("server", text)
    assert repr(text)[:50] in str(caught.value) and len(str(caught.value)) < 300


@given(NAMES)
def test_names_pass_as_they_are(name: str) -> None:
    """A name is given back unchanged."""
    assert is_name(name) and check_name("server", name) == name


@given(st.lists(st.builds(Stage, NAMES, NAMES), min_size=1, max_size=5))
def test_a_route_reads_back_as_written(stages: list[Stage]) -> None:
    """str and parse_route are each other's inverse; visiting a server twice is legal."""
    assert parse_route([str(stage) for stage in stages]) == tuple(stages)
    assert parse_route([str(stage) for stage in stages] * 2) == tuple(stages) * 2


@given(st.text(max_size=20))
def test_a_stage_is_two_names_or_a_bad_request(text: str) -> None:
    """Nothing but a BadRequest comes of a text that is not `server.function`."""
    parts = text.split(".")
    if len(parts) == 2 and all(map(is_name, parts)):
        assert parse_stage(text) == Stage(*parts)
    else:
        with pytest.raises(BadRequest):
            parse_stage(text)


@pytest.mark.parametrize("length", [0, LONGEST_ROUTE + 1])
def test_a_route_has_1_to_256_stages(length: int) -> None:
    """No stage, and one too many, are refused with both figures."""
    with pytest.raises(BadRequest, match=f"256 stages, this one has {length}"):
        parse_route(["a.b"] * length)
    assert len(parse_route(["a.b"] * LONGEST_ROUTE)) == LONGEST_ROUTE


def test_a_single_stage_may_be_written_as_a_text() -> None:
    """`"a.b"` is the route of one stage."""
    assert parse_route("a.b") == (Stage("a", "b"),)
