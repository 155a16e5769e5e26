"""YAML text to nodes that know their line and path, and nothing that YAML would guess.

Built on PyYAML's events, so that size, depth, aliases and tags are refused before anything is built. Scalars stay text:
whoever reads a node says what it expects. This file knows nothing of scenarios.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterator, Mapping, NoReturn

import yaml

from palm.errors import ScenarioError

BYTES_MAX = 1 << 20
NODES_MAX = 100_000
DEPTH_MAX = 50

SHOWN = 200
"""How much of a value an error shows at most."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node stands. The path is put together only when an error wants it: deep files have long ones."""

    file: str
    line: int
    step: str = ""
    parent: Place | None = None

    @property
    def path(self) -> str:
        """Like `script[2].for`; empty for the whole file."""
        steps = []
        place: Place | None = self
        while place is not None:
            steps.append(place.step[:SHOWN])
            place = place.parent
        return clipped("".join(reversed(steps)).lstrip("."))

    def key(self, name: str, line: int) -> Place:
        return Place(self.file, line, f".{name}", self)

    def item(self, index: int, line: int) -> Place:
        return Place(self.file, line, f"[{index}]", self)

    def refuse(self, text: str) -> NoReturn:
        """Raise a ScenarioError: `file:line: path: text`."""
        path = self.path
        raise ScenarioError(f"{self.file}:{self.line}: {path + ': ' if path else ''}{text}")


@dataclass(frozen=True, slots=True)
class Text:
    """A scalar. `kind` is what YAML takes it for: str (always, if it was quoted), int, float, bool, null or merge."""

    value: str
    kind: str
    place: Place

    def found(self) -> str:
        match self.kind:
            case "str":
                return clipped(repr(self.value))
            case "null":
                return "nothing"
            case "bool":
                return f"the YAML boolean {self.value}"
            case _:
                return f"the number {clipped(self.value)}"

    def refuse(self, expected: str, hint: str = "") -> NoReturn:
        self.place.refuse(f"expected {expected}, found {self.found()}{hint}")


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    items: tuple[Node, ...]
    place: Place

    def found(self) -> str:
        return f"a list of {len(self.items)}"

    def refuse(self, expected: str, hint: str = "") -> NoReturn:
        self.place.refuse(f"expected {expected}, found {self.found()}{hint}")


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping, in the file's order. The place of each entry is the line of its key."""

    entries: Mapping[str, Node]
    place: Place

    def found(self) -> str:
        return clipped(f"a mapping of {', '.join(self.entries)}") if self.entries else "an empty mapping"

    def refuse(self, expected: str, hint: str = "") -> NoReturn:
        self.place.refuse(f"expected {expected}, found {self.found()}{hint}")


Node = Text | Items | Table


def clipped(text: str) -> str:
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def at(node: Node, *path: str | int) -> Node:
    """The node below `node`, or the nearest one to it that is there: for errors found after reading."""
    for step in path:
        if isinstance(node, Table) and isinstance(step, str) and step in node.entries:
            node = node.entries[step]
        elif isinstance(node, Items) and isinstance(step, int) and step < len(node.items):
            node = node.items[step]
        else:
            break
    return node


def read_file(path: str | Path) -> str:
    """The file's text, read no further than the limit. ScenarioError: it cannot be read, is too large or not UTF-8."""
    try:
        with open(path, "rb") as file:
            data = file.read(BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        raise ScenarioError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if len(data) > BYTES_MAX:
        raise ScenarioError(f"{path}:1: a scenario file has at most {BYTES_MAX} bytes, this one has more")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ScenarioError(f"{path}:{line}: expected UTF-8 text, found the byte {data[error.start]:#04x}") from error


def parse(text: str, file: str) -> Node:
    """The one document of `text`. Everything wrong with it is a ScenarioError that names `file`, line and key."""
    if len(text.encode("utf-8", "surrogatepass")) > BYTES_MAX:
        raise ScenarioError(f"{file}:1: a scenario file has at most {BYTES_MAX} bytes, this one has more")
    try:
        return _Builder(text, file).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = ", ".join(part for part in (error.context, error.problem) if part)
        line = mark.line + 1 if mark else 1
        raise ScenarioError(f"{file}:{line}: this is not YAML: {clipped(problem)}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        code = ord(text[error.position])
        raise ScenarioError(f"{file}:{line}: this is not YAML: {error.reason} (U+{code:04X})") from error


@dataclass(slots=True)
class _Builder:
    """Walks the events once; recursion is bounded by DEPTH_MAX."""

    text: str
    file: str
    nodes: int = 0
    events: Iterator[yaml.Event] = field(init=False)
    resolver: yaml.SafeLoader = field(init=False)

    def __post_init__(self) -> None:
        self.resolver = yaml.SafeLoader(self.text)
        self.events = _events(self.resolver)

    def document(self) -> Node:
        whole = Place(self.file, 1)
        next(self.events)
        start = next(self.events)
        if not isinstance(start, yaml.DocumentStartEvent):
            whole.refuse("expected a scenario, found an empty file")
        if start.version or start.tags:
            whole.refuse("YAML directives are not taken: delete the line that begins with %")
        node = self.node(next(self.events), whole, 1)
        next(self.events)
        more = next(self.events)
        if not isinstance(more, yaml.StreamEndEvent):
            Place(self.file, _line(more)).refuse("a second document begins here: one file is one scenario")
        return node

    def node(self, event: yaml.Event, place: Place, depth: int) -> Node:
        self.nodes += 1
        if self.nodes > NODES_MAX:
            Place(self.file, _line(event)).refuse(
                f"a scenario has at most {NODES_MAX} keys and values, this one has more"
            )
        if depth > DEPTH_MAX:
            Place(self.file, _line(event)).refuse(f"nested deeper than {DEPTH_MAX} levels")
        if isinstance(event, yaml.AliasEvent):
            place.refuse(f"YAML aliases are not taken: write the value of *{clipped(str(event.anchor))} out")
        assert isinstance(event, yaml.ScalarEvent | yaml.SequenceStartEvent | yaml.MappingStartEvent), event
        if event.anchor is not None:
            place.refuse(f"YAML anchors are not taken: delete &{clipped(event.anchor)}")
        if event.tag is not None:
            place.refuse(f"YAML tags are not taken: delete the tag {clipped(event.tag)}")
        if isinstance(event, yaml.ScalarEvent):
            return self.scalar(event, place)
        if isinstance(event, yaml.SequenceStartEvent):
            return Items(tuple(self.items(place, depth)), place)
        return Table(self.entries(place, depth), place)

    def items(self, place: Place, depth: int) -> Iterator[Node]:
        for index, event in enumerate(iter(lambda: next(self.events), None)):
            if isinstance(event, yaml.SequenceEndEvent):
                return
            yield self.node(event, place.item(index, _line(event)), depth + 1)

    def entries(self, place: Place, depth: int) -> dict[str, Node]:
        entries: dict[str, Node] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            line = _line(event)
            key = self.node(event, Place(self.file, line, parent=place), depth + 1)
            if not isinstance(key, Text) or key.kind != "str" or not key.value:
                hint = "; quote it if it is meant" if isinstance(key, Text) and key.value else ""
                key.place.refuse(f"expected a key that is text, found {key.found()}{hint}")
            if key.value in entries:
                first = entries[key.value].place.line
                place.key(key.value, line).refuse(f"the key is here twice (first in line {first})")
            entries[key.value] = self.node(next(self.events), place.key(key.value, line), depth + 1)
        return entries

    def scalar(self, event: yaml.ScalarEvent, place: Place) -> Text:
        if any("\ud800" <= character <= "\udfff" for character in event.value):
            place.refuse("an escape of half a character (\\uD800 to \\uDFFF) is not text: write it as \\U and 8 digits")
        if not event.implicit[0]:
            return Text(event.value, "str", place)
        tag: str = self.resolver.resolve(yaml.ScalarNode, event.value, (True, False))  # type: ignore[no-untyped-call]  # PyYAML's stubs leave it out
        kind = tag.rpartition(":")[2]
        if kind == "timestamp":
            place.refuse(f"YAML takes {event.value!r} for a date: quote it if it is meant as text")
        if kind in ("int", "float") and ":" in event.value:
            shown = clipped(event.value)
            place.refuse(f"YAML takes {shown!r} for a number in base 60: quote it, or write a time as 90s or 15m")
        return Text(event.value, kind if kind != "value" else "str", place)


def _events(loader: yaml.SafeLoader) -> Iterator[yaml.Event]:
    while loader.check_event():
        yield loader.get_event()  # type: ignore[no-untyped-call]  # PyYAML's stubs leave it out


def _line(event: yaml.Event) -> int:
    assert event.start_mark is not None, "every event of a parsed text has its mark"
    return event.start_mark.line + 1
