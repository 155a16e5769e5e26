"""What a scatter-gather's class must have and may say, and what it is told where that cannot be."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from palm import ScatterGatherServer
from palm.core.scatter import Policy
from palm.errors import BadRequest
from palm.runtime.functions import functions_of, hooks_of, listed_by_default
from palm.runtime.traits import traits_of


class Words(ScatterGatherServer):
    partial = "skip"
    part_deadline = 1.5

    def scatter(self, payload: bytes) -> Iterator[bytes]:
        yield from payload.split()

    def count(self, part: bytes) -> bytes:
        return part

    def gather(self, results: tuple[bytes, ...]) -> bytes:
        return b"".join(results)


class Half(ScatterGatherServer):
    def scatter(self, payload: bytes) -> Iterator[bytes]:
        yield payload


def test_a_scatter_gather_has_a_policy_and_two_hooks() -> None:
    """The hooks are no functions: nobody may call them, nor name them as such."""
    server = Words()
    assert traits_of(server).scatter == Policy(partial="skip", part_deadline=1_500_000_000)
    assert sorted(hooks_of(server)) == ["gather", "scatter"]
    assert listed_by_default(server) == ["count"]
    with pytest.raises(BadRequest, match="'gather' of class Words is no function"):
        functions_of(server, ["count", "gather"])


def test_other_servers_may_have_functions_of_these_names() -> None:
    """They mean something to one kind only."""

    class Plain:
        kind = "RegisteredServer"

        def gather(self, message: bytes) -> bytes:
            return message

    assert listed_by_default(Plain()) == ["gather"] and hooks_of(Plain()) == {}


def test_what_is_missing_is_named() -> None:
    """Before the server serves."""
    with pytest.raises(BadRequest, match="class Half has no 'gather': a ScatterGatherServer needs one"):
        hooks_of(Half())


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("partial", "ignore", "class Words has partial = 'ignore'; it is one of 'fail', 'skip', 'show'"),
        ("part_deadline", 0, "part_deadline = 0; it is a time in seconds above 0, or None"),
        ("part_deadline", "1s", "part_deadline = '1s'"),
        ("part_deadline", True, "part_deadline = True"),
    ],
)
def test_a_policy_that_is_none_says_what_there_is(name: str, value: object, said: str) -> None:
    """With the class and the attribute."""
    server = Words()
    setattr(server, name, value)
    with pytest.raises(BadRequest, match=said):
        traits_of(server)
