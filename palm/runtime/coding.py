"""Puts codecs in front of a user's function: what its type hints say of payload and result, or its `codec` option.

A function without hints, or with `bytes`, is left alone: then nothing stands between it and the wire.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from functools import wraps
from typing import Any, get_args, get_origin, get_type_hints

from palm.core.joins import SOURCE
from palm.errors import BadRequest
from palm.runtime.options import options_of
from palm.runtime.results import Refused
from palm.wire.payloads import BadPayload, Codec, Way, codec_of, items_hint, result_hint

Function = Callable[[Any], Any]

TAKE = "_palm_take"
"""Of a function that takes batches: what makes a value of one payload, to be called for each by whoever makes the
batch. A payload that is no such value fails alone."""


def coded(function: Function, name: str, *, kind: str, zips: bool = False) -> Function:
    """The function from bytes to bytes. `BadRequest` names a hint that there is no codec for.

    `kind` of the server: what a source returns may name its branch. `zips`: its payload is a tuple of parts.
    """
    options = options_of(function)
    batched = options.batch is not None
    way: Way | None = options.codec or None  # type: ignore[assignment]  # checked by the decorator
    payload, result = _hints(function, name, way)
    if batched or zips:
        payload = _item(payload, name, way)
    result = _item(result, name, way) if batched else result_hint(result)
    if kind == SOURCE and get_origin(result) is tuple and len(get_args(result)) == 2 and get_args(result)[0] is str:
        result = get_args(result)[1]
    try:
        take, give = codec_of(payload, way), codec_of(result, way)
    except TypeError as error:
        raise BadRequest(f"function {name!r}: {error}; use types that JSON has, or bytes") from error
    if take is None and give is None:
        return function
    taking, giving = _taking(take, zips), _giving(give, batched, names=kind == SOURCE)
    if not batched:
        return _wrapped(function, taking, giving)
    wrapped = _wrapped(function, _same, giving)
    setattr(wrapped, TAKE, taking)
    return wrapped


def _hints(function: Function, name: str, way: Way | None) -> tuple[Any, Any]:
    """Of the payload and of the result; None where there is none."""
    plain = inspect.unwrap(function)
    try:
        parameters = list(inspect.signature(plain).parameters.values())
    except (TypeError, ValueError):
        return None, None  # written in C
    if way == "bytes":
        return None, None
    try:
        hints = get_type_hints(plain)
    except Exception as error:  # a hint is any expression
        if way is not None:
            return None, None
        raise BadRequest(
            f"function {name!r}: its type hints cannot be read ({type(error).__name__}: {error}); "
            'say @palm.function(codec="bytes"), or make the names known where the server runs'
        ) from error
    payload = hints.get(parameters[0].name) if parameters else None
    return payload, hints.get("return")


def _item(hint: Any, name: str, way: Way | None) -> Any:
    """The hint of one payload or result, where the function has lists of them."""
    if hint is None or hint is Any:
        return None
    item = items_hint(hint)
    if item is None and hint not in (list, tuple) and way is None:
        raise BadRequest(f"function {name!r} works on lists: its hint is {hint}; write list[...]")
    return item


def _taking(codec: Codec | None, zips: bool) -> Callable[[Any], Any]:
    if codec is None:
        return _same

    def take(payload: Any) -> Any:
        try:
            return codec.decode(payload)
        except BadPayload as error:
            text = f"cannot read its payload as {codec.kind}: {error}"
            raise Refused("BAD_REQUEST", "BadPayload", text) from error

    def take_parts(parts: Any) -> Any:
        return tuple(None if part is None else take(part) for part in parts)

    return take_parts if zips else take


def _giving(codec: Codec | None, batched: bool, names: bool) -> Callable[[Any], Any]:
    if codec is None:
        return _same

    def encode(value: Any) -> bytes:
        try:
            return codec.encode(value)
        except Exception as error:  # a value may be of any kind, and its encoding raise anything
            text = f"returned a value that is not {codec.kind}: {error}"
            raise Refused("BAD_RESULT", type(error).__name__, text) from error

    def one(value: Any) -> Any:
        if value is None:
            return None
        if names and isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str):
            return value[0], encode(value[1])
        return encode(value)

    def give(value: Any) -> Any:
        return map(one, value) if isinstance(value, Iterator) else one(value)

    def each(value: Any) -> Any:
        if isinstance(value, BaseException):
            return value
        try:
            return give(value)
        except Refused as refused:
            return refused  # of this message alone

    def give_all(values: Any) -> Any:
        return [each(value) for value in values] if isinstance(values, list | tuple) else values

    return give_all if batched else give


def _same(value: Any) -> Any:
    return value


def _wrapped(function: Function, take: Callable[[Any], Any], give: Callable[[Any], Any]) -> Function:
    if inspect.isasyncgenfunction(function):

        @wraps(function)
        async def many(payload: Any) -> AsyncIterator[Any]:
            async for value in function(take(payload)):
                yield give(value)

        return many
    if inspect.iscoroutinefunction(function):

        @wraps(function)
        async def later(payload: Any) -> Any:
            return give(await function(take(payload)))

        return later

    @wraps(function)
    def now(payload: Any) -> Any:
        return give(function(take(payload)))

    return now
