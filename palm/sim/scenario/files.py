"""Files that a scenario names: found from where the scenario is, and looked at without running them."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, Mapping

from palm.errors import did_you_mean
from palm.sim.scenario.yaml_strict import Node, Text

FILE_BYTES_MAX = 256 << 20


def find(name: str, scenario: str) -> Path:
    """The file `name`, relative to the directory of the scenario file or the nearest one above it that holds it.

    So a scenario means the same wherever it is run from. ValueError when there is none.
    """
    if Path(name).is_absolute():
        raise ValueError("write a path relative to the scenario's directory or one above it")
    here = Path(scenario).absolute().parent
    for directory in (here, *here.parents):
        if (directory / name).is_file():
            return directory / name
    known = [str(path.relative_to(here.parents[0])) for path in here.parents[0].glob(f"{Path(name).parent}/*")]
    raise ValueError(f"no such file in the scenario's directory or any above it{did_you_mean(name, known)}")


def find_at(node: Node, name: str) -> Path:
    """`find` for a name that stands at `node`; ScenarioError when there is no such file."""
    try:
        path = find(name, node.place.file)
        size = path.stat().st_size
    except (ValueError, OSError) as error:
        node.refuse("a file", f" ({error})")
    if size > FILE_BYTES_MAX:
        node.refuse(f"a file of at most {FILE_BYTES_MAX} bytes", f" ({size} bytes)")
    return path


@dataclass(frozen=True, slots=True)
class Source:
    """A source file, as read: its classes and functions, and what `run_server` in it says each of them serves."""

    classes: tuple[str, ...]
    functions: tuple[str, ...]
    served: Mapping[str, tuple[str, ...]]
    bases: Mapping[str, tuple[str, ...]]
    """Of each class: the names of what it is made from, as far as they are names."""
    methods: Mapping[str, tuple[str, ...]]
    """Of each class: what it defines itself."""
    calls: bool
    """Something in it may call another server."""
    marks: tuple[str, ...] | None
    """The names that it gives to `mark`; None where not all of them are written out."""


def read_source(node: Text, path: Path) -> Source:
    """Parsed, not run: a scenario can be checked without its servers' imports. ScenarioError where it is not Python."""
    try:
        tree = ast.parse(path.read_bytes(), filename=path.name)
    except (SyntaxError, ValueError, OSError, RecursionError) as error:
        node.refuse("a Python file", f" ({error})")
    served: dict[str, tuple[str, ...]] = {}
    for call in ast.walk(tree):
        match call:
            case ast.Call(
                func=ast.Name(id="run_server") | ast.Attribute(attr="run_server"),
                args=[ast.Name(id=name), _, ast.List(elts=functions) | ast.Tuple(elts=functions), *_],
            ):
                texts = [
                    item.value for item in functions if isinstance(item, ast.Constant) and isinstance(item.value, str)
                ]
                if len(texts) == len(functions):
                    served[name] = tuple(texts)
    bases = {item.name: tuple(_names(item.bases)) for item in ast.walk(tree) if isinstance(item, ast.ClassDef)}
    imported = [
        (alias.asname or alias.name)
        for item in ast.walk(tree)
        if isinstance(item, ast.ImportFrom)
        for alias in item.names
    ]
    defined = [item.name for item in tree.body if isinstance(item, ast.FunctionDef)]
    methods = {item.name: tuple(_defined(item.body)) for item in ast.walk(tree) if isinstance(item, ast.ClassDef)}
    calls = any(isinstance(item, ast.Attribute) and item.attr in ("call", "acall") for item in ast.walk(tree))
    return Source((*bases, *imported), tuple(defined), served, bases, methods, calls, _marks(tree))


def _marks(tree: ast.Module) -> tuple[str, ...] | None:
    names: list[str] = []
    for call in ast.walk(tree):
        match call:
            case ast.Call(func=ast.Attribute(attr="mark"), args=[ast.Constant(value=str(name)), *_]):
                names.append(name)
            case ast.Call(func=ast.Attribute(attr="mark")):
                return None
    return tuple(dict.fromkeys(names))


def _defined(body: list[ast.stmt]) -> Iterator[str]:
    """Methods, and names that something is given to, which may be one."""
    for one in body:
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef):
            yield one.name
        elif isinstance(one, ast.Assign):
            yield from (target.id for target in one.targets if isinstance(target, ast.Name))


def _names(bases: list[ast.expr]) -> Iterator[str]:
    """`ButterflyServer`, also where it reads `palm.ButterflyServer`."""
    for base in bases:
        if isinstance(base, ast.Name):
            yield base.id
        elif isinstance(base, ast.Attribute):
            yield base.attr
        else:
            yield ""
