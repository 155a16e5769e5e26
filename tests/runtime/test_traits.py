"""What a server class says of itself, and what it must not say."""

from __future__ import annotations

import pytest

from palm import RegisteredServer, SinkServer, SourceServer
from palm.errors import BadRequest
from palm.runtime.traits import Traits, traits_of


class Sorts(SourceServer):
    outputs = {"sort": ["even", "odd"]}


class InOrder(SinkServer):
    join = "order"
    consume = True


def test_a_class_says_how_it_joins_and_what_it_names() -> None:
    """A sink its way of joining, a source its outputs, others their kind."""
    assert traits_of(Sorts()) == Traits("SourceServer", outputs=(("sort", ("even", "odd")),))
    assert traits_of(InOrder()) == Traits("SinkServer", "order", True)
    assert traits_of(RegisteredServer()) == Traits("RegisteredServer")


@pytest.mark.parametrize("outputs", [["even"], {"sort": "even"}, {"sort": ["no name"]}, {"a.b": ["even"]}])
def test_outputs_that_are_no_names_are_refused(outputs: object) -> None:
    """Before the server is served, saying how they are written."""

    class Wrong(SourceServer):
        pass

    Wrong.outputs = outputs  # type: ignore[assignment]  # the point of the test
    with pytest.raises(BadRequest):
        traits_of(Wrong())
