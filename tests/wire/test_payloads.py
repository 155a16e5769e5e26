"""Payloads as values: what is encoded is decoded, and what is not such a value says where."""

from __future__ import annotations

import dataclasses
from typing import Any, Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.wire import palm_pb2
from palm.wire.payloads import BadPayload, codec_of, items_hint, result_hint


@dataclasses.dataclass
class Point:
    x: int
    y: float = 0.0


class Tag(msgspec.Struct):
    name: str
    values: list[int]


VALUES = [
    (str, st.text()),
    (int, st.integers(-(2**63), 2**63 - 1)),
    (float, st.floats(allow_nan=False, allow_infinity=False)),
    (list[int], st.lists(st.integers(0, 9))),
    (dict[str, int], st.dictionaries(st.text(), st.integers(0, 9))),
    (Point, st.builds(Point, st.integers(0, 9), st.floats(0, 1))),
    (Tag, st.builds(Tag, st.text(), st.lists(st.integers(0, 9)))),
    (bool | None, st.booleans()),
]


@pytest.mark.parametrize(("hint", "values"), VALUES, ids=[str(hint) for hint, _ in VALUES])
def test_what_is_encoded_is_decoded(hint: Any, values: st.SearchStrategy[Any]) -> None:
    """For every kind of hint."""
    codec = codec_of(hint)
    assert codec is not None

    @given(values)
    def check(value: Any) -> None:
        assert codec.decode(codec.encode(value)) == value

    check()


@pytest.mark.parametrize("hint", [None, bytes, Any, object, bytes | None, tuple[str, bytes], type(None)])
def test_bytes_are_the_default(hint: Any) -> None:
    """No hint, and every hint that mentions bytes, leaves the payload as it is."""
    assert codec_of(hint) is None


@given(st.binary(), st.sampled_from([str, int, list[int], Point, Tag, palm_pb2.Failure]))
def test_any_bytes_are_a_value_or_a_bad_payload(payload: bytes, hint: Any) -> None:
    """Nothing else is raised."""
    codec = codec_of(hint)
    assert codec is not None
    try:
        codec.decode(payload)
    except BadPayload as error:
        assert str(error)


def test_deep_json_is_a_bad_payload() -> None:
    """Not the end of the stack."""
    codec = codec_of(dict)
    assert codec is not None
    with pytest.raises(BadPayload):
        codec.decode(b'{"a":' * 100_000)


def test_hints_of_many_say_what_one_is() -> None:
    """Generators for results, lists for batches."""
    assert result_hint(Iterator[str]) is str and result_hint(list[str]) == list[str]
    assert items_hint(list[str]) is str and items_hint(tuple[int, ...]) is int and items_hint(str) is None


def test_pickle_is_for_those_who_ask() -> None:
    """No hint leads there."""
    codec = codec_of(None, "pickle")
    assert codec is not None and codec.decode(codec.encode({1})) == {1}
    for hint in (set, Point, object, str, dict):
        other = codec_of(hint)
        assert other is None or other.kind != "pickle"
