"""A scenario file as a tree that can be changed and written again: tables, lists, and words as they stand in the
file.

What a search changes is the file and not the values made of it, so that whatever it tries is read and checked like a
file written by hand, can be given to another process as text, and can be kept. This file knows YAML, and which blocks
of a scenario look better on lines of their own.
"""

from __future__ import annotations

import json
from typing import Any, Iterator

import yaml

from palm.sim.scenario.yaml_strict import Items, Node, Table, Text, parse

Tree = dict[str, Any]  # of trees, lists and words: as deep as the file is

_TABLES = {("world",), ("world", "servers"), ("expect",)}
_LISTS = {"links", "load", "stores", "script", "expect"}
_RESOLVER = yaml.SafeLoader("")
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-./%()")


def read(text: str, file: str) -> Tree:
    """ScenarioError where it is not a table in YAML."""
    root = parse(text, file)
    if not isinstance(root, Table):
        root.refuse("a scenario: a mapping of its blocks")
    return {key: _tree_of(node) for key, node in root.entries.items()}


def _tree_of(node: Node) -> Any:  # a tree, a list or a word, as the node is
    match node:
        case Table(entries=entries):
            return {key: _tree_of(one) for key, one in entries.items()}
        case Items(items=items):
            return [_tree_of(one) for one in items]
        case Text(value=value, kind="str"):
            return quoted(value)
        case Text(value=value):
            return value or "null"


def quoted(text: str) -> str:
    """The word that is read back as this text: bare where YAML would not take it for anything else."""
    kind: str = _RESOLVER.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]  # PyYAML's stubs leave it out
    if text and text[0].isalnum() and _PLAIN.issuperset(text) and kind.endswith(":str"):
        return text
    shown = json.dumps(text, ensure_ascii=False)
    return "".join(one if one.isprintable() else f"\\U{ord(one):08x}" for one in shown)


def said(word: object) -> str:
    """The text that a word stands for; nothing for what is no word."""
    if not isinstance(word, str):
        return ""
    return str(yaml.safe_load(word)) if word.startswith('"') else word


def write(tree: Tree) -> str:
    """The text of a file, in the form in which scenarios are written by hand."""
    return "".join(f"{line}\n" for line in _lines(tree, ()))


def _lines(tree: Tree, path: tuple[str, ...]) -> Iterator[str]:
    indent = "  " * len(path)
    for name, value in tree.items():
        key = f"{indent}{quoted(name)}:"
        if isinstance(value, dict) and value and (*path, name) in _TABLES:
            yield key
            yield from _lines(value, (*path, name))
        elif isinstance(value, list) and value and (*path, name)[0] in _LISTS:
            yield key
            yield from (f"{indent}  - {flow(one)}" for one in value)
        else:
            yield f"{key} {flow(value)}"


def flow(value: object) -> str:
    """On one line."""
    match value:
        case dict():
            return "{" + ", ".join(f"{quoted(key)}: {flow(one)}" for key, one in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(flow, value)) + "]"
        case _:
            return str(value)
