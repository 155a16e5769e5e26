"""How values are written: forms that turn one node into one typed value, and dataclasses that drive their own reading.

A block of a scenario is a frozen dataclass whose fields are annotated with a `Key` (its name in the file and its form).
`take` reads a mapping into such a class and refuses what the class does not have; nothing is written down twice, so a
schema can be made from the same annotations. This file knows YAML nodes and units, not what scenarios contain.
"""

from __future__ import annotations

import re
from dataclasses import MISSING, Field, dataclass, fields
from functools import cache
from types import MappingProxyType
from typing import (
    Annotated,
    Any,
    Callable,
    ClassVar,
    Generic,
    Iterable,
    Mapping,
    Protocol,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

from palm.core.names import is_name
from palm.errors import did_you_mean
from palm.sim.scenario import units
from palm.sim.scenario.yaml_strict import Items, Node, Table, Text

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class DataclassType(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


D = TypeVar("D", bound=DataclassType)


@dataclass(frozen=True, slots=True)
class Form(Generic[T_co]):
    """One way to write a value. `read` raises ScenarioError, which names `expected`."""

    expected: str
    read: Callable[[Node], T_co]
    schema: Callable[[], Mapping[str, Any]] = dict
    """The same as JSON Schema, as far as that can say it; empty: anything."""


@dataclass(frozen=True, slots=True)
class Key:
    """In `Annotated`: the field's key in the file, and its form. A field without one is not read from the file."""

    name: str
    form: Form[Any]  # the annotated type beside it says what the form reads


# -- scalars ----------------------------------------------------------------------------------------------------------


def scalar(expected: str, value: Callable[[str], T], kinds: Iterable[str] = ("str",)) -> Form[T]:
    """Text that `value` turns into a T, or says by ValueError what to write instead."""
    allowed = frozenset(kinds)

    def read(node: Node) -> T:
        if not isinstance(node, Text):
            node.refuse(expected)
        if node.kind not in allowed and node.kind in ("bool", "null"):
            node.refuse(expected)
        try:
            read_value = value(node.value)
        except ValueError as error:
            node.refuse(expected, f" ({error})" if str(error) else "")
        if node.kind not in allowed:
            node.refuse(expected, "; quote it")
        return read_value

    types = {"int": "integer", "float": "number", "bool": "boolean"}
    of = sorted({types.get(kind, "string") for kind in allowed})
    return Form(expected, read, lambda: {"type": of[0] if len(of) == 1 else of, "description": expected})


def whole(least: int, most: int) -> Form[int]:
    """A whole number within bounds, both inclusive; `20_000` is taken too."""
    expected = f"a whole number from {least} to {most}"

    def value(text: str) -> int:
        if re.fullmatch(r"0|-?[1-9]\d{0,18}|[1-9]\d{0,2}(_\d{3}){1,6}", text) is None:
            raise ValueError
        if not least <= int(text) <= most:
            raise ValueError
        return int(text)

    form = scalar(expected, value, ("int",))
    return Form(expected, form.read, lambda: {"type": "integer", "minimum": least, "maximum": most})


def one_of(what: str, known: Iterable[str], not_yet: Iterable[str] = ()) -> Form[str]:
    """One word of a literal table. A word of `not_yet` is refused as such, another with the nearest name."""
    known, not_yet = tuple(known), frozenset(not_yet)

    def value(text: str) -> str:
        if text in known:
            return text
        if text in not_yet:
            raise ValueError(f"{text} is not supported by this version")
        raise ValueError(did_you_mean(text, known).strip(" ()") or f"there are {', '.join(known)}")

    return Form(what, scalar(what, value).read, lambda: {"enum": list(known), "description": what})


def _name(text: str) -> str:
    if not is_name(text):
        raise ValueError("1 to 128 of letters, digits, '_' and '-'")
    return text


def _text(text: str) -> str:
    if not text.strip():
        raise ValueError("it is empty")
    return text


def _flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError
    return text == "true"


NAME = scalar("a name", _name)
TEXT = scalar("text", _text)
FLAG = scalar("true or false", _flag, ("bool",))
DURATION = scalar("a time such as 12s, 1500ms or 400us", units.duration_ns)
SHIFT = scalar("a time forward or back such as 1h or -90s", units.shift_ns)
SIZE = scalar("a size such as 100B or 64KiB", units.size_bytes)
RATE = scalar("a rate such as 500/s", units.rate)
BANDWIDTH = scalar("a bandwidth such as 10MiB/s", units.bytes_per_s)
CHANCE = scalar("a chance such as 0.5%", units.chance, ("str", "int", "float"))

# -- lists and mappings -----------------------------------------------------------------------------------------------


def list_of(form: Form[T], least: int = 0) -> Form[tuple[T, ...]]:
    expected = f"a list, each item {form.expected}"

    def read(node: Node) -> tuple[T, ...]:
        if not isinstance(node, Items):
            node.refuse(expected, ": put it in [brackets]" if isinstance(node, Text) else "")
        if len(node.items) < least:
            node.refuse(f"at least {least} of these: {form.expected}")
        return tuple(form.read(item) for item in node.items)

    return Form(expected, read, lambda: {"type": "array", "items": dict(form.schema()), "minItems": least})


def map_of(form: Form[T], least: int = 0) -> Form[Mapping[str, T]]:
    """A mapping from names of the writer's own to values of one form, in the file's order; read-only."""
    expected = f"a mapping from names to {form.expected}"

    def read(node: Node) -> Mapping[str, T]:
        if not isinstance(node, Table):
            node.refuse(expected)
        for name, value in node.entries.items():
            if not is_name(name):
                value.place.refuse(
                    f"the key is not a name: {NAME.expected} is 1 to 128 of letters, digits, '_' and '-'"
                )
        if len(node.entries) < least:
            node.refuse(expected)
        return MappingProxyType({name: form.read(value) for name, value in node.entries.items()})

    def schema() -> Mapping[str, Any]:
        return {"type": "object", "additionalProperties": dict(form.schema()), "minProperties": least}

    return Form(expected, read, schema)


def choice(what: str, known: Mapping[str, Form[T]], not_yet: Iterable[str] = (), *, bare: str = "") -> Form[T]:
    """A mapping of one key, which says which form its value has. `bare`: the key that a scalar alone stands for."""
    names = ", ".join(known)
    expected = (
        f"{what}: one of {names}" if not bare else f"{what}: {known[bare].expected}, or a mapping of one of {names}"
    )

    def read(node: Node) -> T:
        if bare and isinstance(node, Text):
            return known[bare].read(node)
        if not isinstance(node, Table) or len(node.entries) != 1:
            node.refuse(expected)
        [(name, value)] = node.entries.items()
        if name in known:
            return known[name].read(value)
        if name in not_yet:
            value.place.refuse(f"{name} is not supported by this version")
        value.place.refuse(f"expected {what}: one of {names}, found {name!r:.200}{did_you_mean(name, known)}")

    def schema() -> Mapping[str, Any]:
        properties = {name: dict(form.schema()) for name, form in known.items()}
        one: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
        one |= {"minProperties": 1, "maxProperties": 1}
        return {"anyOf": [dict(known[bare].schema()), one]} if bare else one

    return Form(expected, read, schema)


# -- blocks -----------------------------------------------------------------------------------------------------------


def keys_of(block: type[DataclassType]) -> Mapping[str, tuple[Field[Any], Key]]:
    """The keys that a mapping read as `block` may have, in the order of its fields."""
    return _keys_of(block)


@cache
def _keys_of(block: Any) -> Mapping[str, tuple[Field[Any], Key]]:  # mypy does not know that dataclasses hash as types
    hints = get_type_hints(block, include_extras=True)
    keys: dict[str, tuple[Field[Any], Key]] = {}
    for one in fields(block):
        hint = hints[one.name]
        notes = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
        for note in notes:
            if isinstance(note, Key):
                keys[note.name] = (one, note)
    return MappingProxyType(keys)


def required_of(block: type[DataclassType]) -> tuple[str, ...]:
    return tuple(
        name for name, (one, _) in keys_of(block).items() if one.default is MISSING and one.default_factory is MISSING
    )


def take(node: Node, block: type[D], *, what: str, beside: Iterable[str] = (), not_yet: Iterable[str] = ()) -> D:
    """Read a mapping as `block`. Keys in `beside` belong to another reader of the same mapping; any other is refused.

    A field named `line` gets the line that the mapping begins in.
    """
    if not isinstance(node, Table):
        node.refuse(f"a mapping with {', '.join([*beside, *keys_of(block)])}")
    known = keys_of(block)
    everything = [*beside, *known]
    for name, value in node.entries.items():
        if name in not_yet:
            value.place.refuse(f"{name} is not supported by this version")
        if name not in everything:
            hint = did_you_mean(name, everything) or f"; its keys are {', '.join(everything)}"
            value.place.refuse(f"{what} has no key {name!r:.200}{hint}")
    for name in required_of(block):
        if name not in node.entries:
            node.place.refuse(f"{what} needs the key {name!r}: {known[name][1].form.expected}")
    values = {one.name: key.form.read(node.entries[name]) for name, (one, key) in known.items() if name in node.entries}
    if "line" in block.__dataclass_fields__:
        values["line"] = node.place.line
    return block(**values)


def block_of(
    block: type[D], what: str, *, not_yet: Iterable[str] = (), check: Callable[[D, Node], None] | None = None
) -> Form[D]:
    """The form of a mapping read as `block`; `check` then refuses values that do not go together."""
    not_yet = frozenset(not_yet)

    def read(node: Node) -> D:
        value = take(node, block, what=what, not_yet=not_yet)
        if check is not None:
            check(value, node)
        return value

    return Form(what, read, lambda: schema_of(block))


def schema_of(block: type[DataclassType], *beside: type[DataclassType]) -> Mapping[str, Any]:
    """The mappings that `take` reads as `block`, with the keys of those `beside` it."""
    properties: dict[str, Any] = {}
    required: list[str] = []
    for one in (*beside, block):
        required += required_of(one)
        for name, (_, key) in keys_of(one).items():
            properties[name] = {"description": key.form.expected, **key.form.schema()}
    shape: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    if required:
        shape["required"] = required
    if block.__doc__:
        shape["description"] = " ".join(block.__doc__.split())
    return shape
