"""The demo's work as plain functions: what the two servers do to one Python file, and the totals over many.

`outline` is the first stage (parse), `score` the second; in one process they are the same work without a cluster.
"""

from __future__ import annotations

import ast
import json
import os
import sysconfig
import warnings
from dataclasses import dataclass, field
from typing import Any, Iterator

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
BRANCHES = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.match_case)
_INNER = ("body", "orelse", "handlers", "finalbody", "cases")


def standard_library() -> Iterator[str]:
    """Every .py file of this Python's own standard library, in a fixed order; what was installed beside it is not."""
    root = sysconfig.get_path("stdlib")
    for at, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in ("site-packages", "dist-packages", "__pycache__"))
        yield from (os.path.join(at, name) for name in sorted(names) if name.endswith(".py"))


def outline(source: bytes) -> bytes:
    """The functions and branches of a source file, as JSON rows (kind, name, first line, last line) in its order.

    Raises what `ast.parse` raises: SyntaxError for what is no Python of today.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of invalid escapes: the standard library's own tests are full of them
        tree = ast.parse(source)
    rows: list[tuple[str, str, int, int]] = []
    waiting: list[Any] = list(reversed(tree.body))
    while waiting:
        node = waiting.pop()
        if isinstance(node, FUNCTIONS):
            rows.append(("function", node.name, node.lineno, node.end_lineno or node.lineno))
        elif isinstance(node, BRANCHES):
            rows.append(("branch", type(node).__name__, getattr(node, "lineno", 0), 0))
        for name in _INNER:
            waiting += reversed(getattr(node, name, ()))
    return json.dumps(rows).encode()


def score(outlined: bytes) -> bytes:
    """How many functions and branches, and which function is the longest, as a JSON object."""
    functions = branches = longest_lines = 0
    longest = ""
    for kind, name, first, last in json.loads(outlined):
        if kind == "branch":
            branches += 1
            continue
        functions += 1
        if last - first + 1 > longest_lines:
            longest, longest_lines = name, last - first + 1
    return json.dumps(
        {"functions": functions, "branches": branches, "longest": longest, "longest_lines": longest_lines}
    ).encode()


@dataclass(slots=True)
class Totals:
    """What is known of all files, by name. Two are equal when the same work was done to the same files."""

    scores: dict[str, dict[str, Any]] = field(default_factory=dict)
    unparsed: dict[str, str] = field(default_factory=dict)
    """Files that are no Python of today, with the type of the error."""

    def add(self, path: str, scored: bytes) -> None:
        self.scores[path] = json.loads(scored)

    def sum(self, column: str) -> int:
        return sum(entry[column] for entry in self.scores.values())

    def top(self, column: str, count: int) -> list[tuple[str, dict[str, Any]]]:
        return sorted(self.scores.items(), key=lambda item: (-item[1][column], item[0]))[:count]


def in_one_process(files: dict[str, bytes]) -> Totals:
    """The whole work without a cluster."""
    totals = Totals()
    for path, source in files.items():
        try:
            totals.add(path, score(outline(source)))
        except Exception as error:  # as with a server: whatever it raises is the file's outcome
            totals.unparsed[path] = type(error).__name__
    return totals
