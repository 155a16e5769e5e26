"""Payloads as values: what a type hint says of the bytes that a function takes and gives.

`bytes`, and no hint, are bytes as they are; `str` is UTF-8 text; protobuf messages are their own wire form; everything
else that msgspec knows (dataclasses, Structs, dict, list, int, float, ...) is JSON. Pickle is never chosen by a hint. A
codec turns None and generators over to the caller: they say how many results there are, not what one is.
"""

from __future__ import annotations

import collections.abc
import pickle
import types
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any, Callable, Literal, Union, get_args, get_origin

import msgspec
import msgspec.inspect
from google.protobuf.message import DecodeError, Message

Way = Literal["bytes", "text", "json", "pickle"]

_AS_THEY_ARE = (Any, object, bytes, types.NoneType, type(None))
_MANY = (
    collections.abc.Iterator,
    collections.abc.Generator,
    collections.abc.Iterable,
    collections.abc.AsyncIterator,
    collections.abc.AsyncGenerator,
    collections.abc.AsyncIterable,
)


class BadPayload(ValueError):
    """These bytes are no such value; says where."""


@dataclass(frozen=True, slots=True)
class Codec:
    """`kind` is for people."""

    kind: str
    decode: Callable[[bytes], Any]
    encode: Callable[[Any], bytes]


def codec_of(hint: Any, way: Way | None = None) -> Codec | None:
    """The codec of one value; None where bytes are taken as they are. TypeError for what has none."""
    if way == "bytes":
        return None
    if way == "text":
        return TEXT
    if way == "pickle":
        return PICKLE
    if way == "json":
        return _json(Any if hint is bytes or hint is None else _without_none(hint))
    hint = _without_none(hint)
    if hint is None or hint in _AS_THEY_ARE or _mentions_bytes(hint):
        return None
    if hint is str:
        return TEXT
    if isinstance(hint, type) and issubclass(hint, Message):
        return _protobuf(hint)
    return _json(hint)


def result_hint(hint: Any) -> Any:
    """What one result is, where a function gives several: the `str` of `Iterator[str]`."""
    if get_origin(hint) in _MANY:
        return (get_args(hint) or (None,))[0]
    return hint


def items_hint(hint: Any) -> Any:
    """What one item is, where a function takes or gives a list of them: the `str` of `list[str]`; None where the
    hint does not say."""
    arguments = get_args(hint)
    if get_origin(hint) in (list, tuple, collections.abc.Sequence, collections.abc.Iterable) and arguments:
        return arguments[0]
    return None


def _without_none(hint: Any) -> Any:
    """`X` of `X | None`."""
    if get_origin(hint) not in (Union, types.UnionType):
        return hint
    others = tuple(one for one in get_args(hint) if one is not type(None))
    return reduce(or_, others)


def _mentions_bytes(hint: Any) -> bool:
    """As in `bytes | None`, or the `tuple[str, bytes]` of a named output."""
    return bytes in get_args(hint)


# -- the codecs --------------------------------------------------------------------------------------------------------


def _decode_text(payload: bytes) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError as error:
        raise BadPayload(f"byte {error.start} is not UTF-8") from error


def _encode_text(value: Any) -> bytes:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} is no str")
    return value.encode()


def _decode_pickle(payload: bytes) -> Any:
    try:
        return pickle.loads(payload)
    except Exception as error:  # an unpickler raises whatever it comes across
        raise BadPayload(f"{type(error).__name__}: {error}") from error


TEXT = Codec("str", _decode_text, _encode_text)
PICKLE = Codec("pickle", _decode_pickle, pickle.dumps)


def _json(hint: Any) -> Codec:
    try:
        decoder = msgspec.json.Decoder(hint)
        foreign = _foreign(msgspec.inspect.type_info(hint))
    except TypeError as error:
        raise TypeError(f"msgspec knows no JSON for {_name(hint)}: {error}") from error
    if foreign is not None:
        raise TypeError(f"msgspec knows no JSON for {_name(foreign)}")

    def decode(payload: bytes) -> Any:
        try:
            return decoder.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadPayload(str(error)) from error

    def encode(value: Any) -> bytes:
        try:
            return msgspec.json.encode(value)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise TypeError(f"{type(value).__name__} is no JSON: {error}") from error

    return Codec(_name(hint), decode, encode)


def _foreign(info: Any) -> Any:
    """A type somewhere in this one that JSON has no form for; None where there is none."""
    waiting, seen = [info], set[int]()
    while waiting:
        one = waiting.pop()
        if isinstance(one, msgspec.inspect.CustomType):
            return one.cls
        if isinstance(one, list | tuple):
            waiting += one
        elif isinstance(one, msgspec.Struct) and id(one) not in seen:  # types may refer to themselves
            seen.add(id(one))
            waiting += [getattr(one, name) for name in one.__struct_fields__]
    return None


def _protobuf(kind: type[Message]) -> Codec:
    def decode(payload: bytes) -> Message:
        try:
            return kind.FromString(payload)
        except DecodeError as error:
            raise BadPayload(f"it does not parse as protobuf: {error}") from error

    def encode(value: Any) -> bytes:
        if not isinstance(value, kind):
            raise TypeError(f"{type(value).__name__} is no {kind.__name__}")
        return value.SerializeToString()

    return Codec(kind.__name__, decode, encode)


def _name(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint).replace("typing.", "")
