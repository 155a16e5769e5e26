"""Files under `scenarios/found/`: what a search has found, to be replayed on its own.

A found file is a scenario like any other, with its seed pinned, and a header that says what broke. It is named by the
check and the trace, so that the same failure is the same file.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from palm.sim.scenario.document import Tree, quoted, read, said, write
from palm.sim.scenario.files import find
from palm.sim.scenario.scenario import FOUND_FORMAT
from palm.sim.shrink.candidates import Target

_HASH_CHARS = 8
_NAMES_FILES = {"run", "to", "file", "empirical", "calibration"}


def folder_of(path: Path) -> Path:
    """`found/` in the nearest directory called `scenarios` at or above the file; where there is none, beside it."""
    for folder in path.absolute().parents:
        if folder.name == "found":
            return folder
        if folder.name == "scenarios":
            return folder / "found"
    return path.absolute().parent / "found"


def write_found(text: str, source: Path, seed: int, target: Target, why: str, trace_hash: str) -> Path:
    """Write it, with names of files as they read from its new place; its path."""
    folder = folder_of(source)
    folder.mkdir(exist_ok=True)
    found = folder / f"{_slug(target.check)}-{trace_hash[:_HASH_CHARS]}.yaml"
    tree = _moved(read(text, str(source)), source, found)
    rest = {key: value for key, value in tree.items() if key not in ("palm", "name", "about", "runs")}
    name = said(tree["name"])
    whole: Tree = {
        "palm": tree["palm"],
        "found": {
            "format": str(FOUND_FORMAT),
            "check": quoted(target.check),
            **({"of": quoted(target.of)} if target.of else {}),
            "trace": quoted(trace_hash),
        },
        "name": quoted(name if name.endswith("-shrunk") else f"{name}-shrunk"),
        "about": quoted(f"Breaks {target}."),
        "runs": {"worlds": ["sim"], "seeds": {"pinned": [str(seed)]}},
        **rest,
    }
    header = [f"Found and shrunk from {source.name}, seed {seed}: {target} is broken.", why, f"Trace {trace_hash}."]
    comments = "".join(f"# {' '.join(line.split())}\n" for line in header if line)
    found.write_text(comments + write(whole), encoding="utf-8")
    return found


def _slug(check: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", check.lower()).strip("-")


def _moved(value: Any, source: Path, found: Path, key: str = "") -> Any:  # a tree, a list or a word
    match value:
        case dict():
            return {name: _moved(one, source, found, name) for name, one in value.items()}
        case list():
            return [_moved(one, source, found) for one in value]
    names_a_file = key in _NAMES_FILES or (key == "payload" and ".py:" in said(value))
    return quoted(_from(said(value), source, found)) if names_a_file else value


def _from(name: str, source: Path, found: Path) -> str:
    """`file.py:Class` or a file, as it is named in `source`, named from where `found` is."""
    file, colon, attribute = name.rpartition(":") if ".py:" in name else (name, "", "")
    try:
        there = Path(os.path.abspath(find(file, str(source))))
    except ValueError:
        return name  # no file: an action or a check has a word of its own under that key
    for folder in found.absolute().parents:
        if there.is_relative_to(folder) and folder.parent != folder:
            short = there.relative_to(folder).as_posix()
            if find(short, str(found)) == there:
                return f"{short}{colon}{attribute}"
    return f"{os.path.relpath(there, found.parent)}{colon}{attribute}"
