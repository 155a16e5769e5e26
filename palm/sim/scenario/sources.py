"""Code that a scenario names: the class that a server runs, as `examples/text/clean.py:Clean`, or its own checks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Mapping

from palm.core.kinds import PARALLEL
from palm.errors import did_you_mean
from palm.sim.scenario.files import Source, find_at, read_source
from palm.sim.scenario.forms import Form
from palm.sim.scenario.yaml_strict import Node, Text

KINDS = PARALLEL | {"RegisteredServer", "SourceServer", "SinkServer"}


@dataclass(frozen=True, slots=True)
class Run:
    """The class that a server runs, or a function. `served` is what `run_server` in the file lists for it; None where
    it does not."""

    file: Path
    class_name: str
    served: tuple[str, ...] | None
    parallel: bool | None = None
    """Its leader hands out the work; None where a base of the class is not in the file."""
    methods: tuple[str, ...] | None = None
    """What may be its functions; None where a base of the class is not in the file."""
    calls: bool = False
    """Its functions may call other servers."""
    marks: tuple[str, ...] | None = None
    """Those that its file places; None where not all of them are written out."""


def _named(node: Node, expected: str) -> tuple[str, str]:
    """The file and the name in it."""
    if not isinstance(node, Text):
        node.refuse(expected)
    file, colon, name = node.value.rpartition(":")
    if not colon or not file.endswith(".py") or not name.isidentifier():
        node.refuse(expected)
    return file, name


def _run(node: Node) -> Run:
    file, class_name = _named(node, RUN.expected)
    assert isinstance(node, Text), "it has been looked at"
    path = find_at(node, file)
    source = read_source(node, path)
    if class_name not in source.classes:
        node.refuse(f"a class of {file}", did_you_mean(class_name, source.classes))
    return Run(
        path,
        class_name,
        source.served.get(class_name),
        _is_parallel(class_name, source.bases),
        _methods(class_name, source),
        source.calls,
        source.marks,
    )


def _methods(class_name: str, source: Source) -> tuple[str, ...] | None:
    """Of the class and of its bases; None where one of them is neither in the file nor PALM's."""
    found: dict[str, None] = {}
    waiting, seen = [class_name], set[str]()
    while waiting:
        name = waiting.pop()
        if name in KINDS or name in seen:
            continue
        if name not in source.bases:
            return None
        seen.add(name)
        found.update(dict.fromkeys(source.methods[name]))
        waiting += source.bases[name]
    return None if "__getattr__" in found else tuple(name for name in found if not name.startswith("_"))


def _is_parallel(class_name: str, bases: Mapping[str, tuple[str, ...]]) -> bool | None:
    """By the names of the bases, through all classes of the file."""
    waiting, seen = [class_name], set[str]()
    known: bool | None = None
    while waiting:
        name = waiting.pop()
        if name in PARALLEL:
            return True
        if name in KINDS:
            known = False
        if name not in seen:
            seen.add(name)
            waiting += bases.get(name, ())
    return known


def _function(node: Node) -> Run:
    file, name = _named(node, FUNCTION.expected)
    assert isinstance(node, Text), "it has been looked at"
    path = find_at(node, file)
    functions = read_source(node, path).functions
    if name not in functions:
        node.refuse(f"a function of {file}", did_you_mean(name, functions))
    return Run(path, name, None)


RUN = Form("a server class such as examples/text/clean.py:Clean", _run, lambda: {"type": "string"})
FUNCTION = Form("a function such as checks/colours.py:all_blue", _function, lambda: {"type": "string"})
