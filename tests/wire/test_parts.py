"""Parts, shapes and empty answers on the wire."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.core.message import Batch, Header, JobId, Peer, Status
from palm.core.route import Stage, parse_route
from palm.core.share import Part, Path, Step
from palm.errors import BadFrame
from palm.wire import palm_pb2 as pb
from palm.wire.codec import Codec
from palm.wire.frame import Body, pack

JOB = JobId(Peer("client-000000000"), 7, 1)
LINEAR = (Stage("a", "f"), Stage("b", "g"))
BRANCHING = parse_route(["a.f", {"x": ["b.g"], "y": ["c.h", "d.i"]}, "e.j"])


@st.composite
def steps(draw: st.DrawFn) -> Step:
    parts = draw(st.integers(1, 65_536))
    return Step(draw(st.integers(0, 255)), draw(st.integers(0, 2**64 - 1)), draw(st.integers(0, parts - 1)), parts)


paths: st.SearchStrategy[Path] = st.lists(steps(), min_size=1, max_size=5).map(tuple)
items = st.builds(Part, st.integers(0, 2**63), paths)


@given(st.lists(items, min_size=1, max_size=300), st.booleans(), st.integers(0, 40))
def test_parts_keep_their_paths(parts: list[int], branching: bool, plain: int) -> None:
    """In tables and alone, beside whole messages, also where a table is cut."""
    header = Header(JOB, BRANCHING if branching else LINEAR, 1, parts=True)
    whole = Header(JOB, header.route, 1)
    batches = [Batch(whole, 0, list(range(plain)), [b"x"] * plain)] if plain else []
    batches.append(Batch(header, 3, list(parts), [b"y"] * len(parts), None, None, [Status.EMPTY] * len(parts)))
    receiver, found = Codec(), []
    for frame in Codec().encode(batches):
        said = receiver.decode(frame)
        assert isinstance(said, list)
        found += said
    assert [item for batch in found if batch.header == header for item in batch.sequences] == parts
    assert sum(len(batch) for batch in found if batch.header == whole) == plain


def test_a_route_keeps_its_branches() -> None:
    """The shape, and all that follows from it."""
    (frame,) = Codec().encode([Batch(Header(JOB, BRANCHING, 0), 0, [1], [b"x"])])
    (batch,) = Codec().decode(frame)  # type: ignore[misc]  # a frame of one batch
    route = batch.header.route
    assert route == BRANCHING and route.after == BRANCHING.after and route.branches == BRANCHING.branches  # type: ignore[attr-defined]  # it has branches
    assert route != LINEAR and tuple(BRANCHING) != BRANCHING


def test_messages_without_parts_have_no_column_for_them() -> None:
    """The common case is as small as it was."""
    (frame,) = Codec().encode([Batch(Header(JOB, LINEAR, 0), 0, [1, 2], [b"x", b"y"])])
    table = pb.Table.FromString(frame[0][12:])
    assert not table.part and not pb.Message.FromString(table.header[0]).shape


def header(**fields: object) -> bytes:
    good = {"pipeline": "1", "client": JOB.client, "incarnation": 7, "route": ["a.f", "b.g"], "function": "a.f"}
    return pb.Message(**(good | fields)).SerializeToString()  # type: ignore[arg-type]  # by name


GOOD = {"stage": [0], "fork": [1], "place": [0], "parts": [2]}


@pytest.mark.parametrize(
    "wrong",
    [
        {"stage": []},
        {"fork": []},
        {"place": [2]},
        {"parts": [0]},
        {"parts": [65_537]},
        {"stage": [256]},
        {"fork": [1] * 257, "stage": [0] * 257, "place": [0] * 257, "parts": [2] * 257},
    ],
)
def test_a_path_out_of_its_ranges_is_a_bad_frame(wrong: dict[str, list[int]]) -> None:
    """Columns of unequal length, a place that there is none of, too deep."""
    single = pb.Single(header=header(parts=True), sequence=1, attempt=1, part=pb.Path(**(GOOD | wrong)))
    with pytest.raises(BadFrame):
        Codec().decode((pack(Body.SINGLE, single.SerializeToString()),))


@pytest.mark.parametrize(
    "single",
    [
        pb.Single(header=header(parts=True), sequence=1, attempt=1),
        pb.Single(header=header(), sequence=1, attempt=1, part=pb.Path(**GOOD)),
        pb.Single(header=header(shape=".[.|.]"), sequence=1, attempt=1),
        pb.Single(header=header(shape="[.|."), sequence=1, attempt=1),
        pb.Single(header=header(shape=".[:.|.]"), sequence=1, attempt=1),
        pb.Single(header=header(shape=".[" * 5000), sequence=1, attempt=1),
    ],
)
def test_parts_without_paths_and_shapes_of_other_routes_are_bad_frames(single: pb.Single) -> None:
    """What does not fit is dropped before a node sees it."""
    with pytest.raises(BadFrame):
        Codec().decode((pack(Body.SINGLE, single.SerializeToString()),))
