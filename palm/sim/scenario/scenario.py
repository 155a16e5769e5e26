"""A whole scenario file, read and checked: `load` a file, or `parse` text.

What comes out has been checked, also its names against each other; whoever runs it need not look again. All that is
wrong with a file is one `palm.errors.ScenarioError` that says `file:line: key: expected ..., found ...`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from palm.errors import did_you_mean
from palm.sim.scenario import yaml_strict
from palm.sim.scenario.calibration import calibrated
from palm.sim.scenario.chaos import CHAOS, Chaos
from palm.sim.scenario.expectations import Expect
from palm.sim.scenario.forms import NAME, TEXT, Form, Key, block_of, schema_of, take
from palm.sim.scenario.load import LOAD, Job
from palm.sim.scenario.references import check_references
from palm.sim.scenario.script import SCRIPT, Step
from palm.sim.scenario.stores import STORES, StoreUse
from palm.sim.scenario.world import CLOCK, LINKS, Clock, LinkBlock, Runs, World
from palm.sim.scenario.yaml_strict import Node, Table, Text

VERSION = "scenario/1"
FOUND_FORMAT = 1


def _version(node: Node) -> str:
    if not isinstance(node, Text) or node.value != VERSION:
        what = node.value if isinstance(node, Text) else ""
        hint = " (a file of another version: this PALM reads only this one)" if what.startswith("scenario/") else ""
        node.refuse(VERSION, hint or did_you_mean(what, [VERSION]))
    return node.value


_VERSION = Form(VERSION, _version, lambda: {"const": VERSION})


def _format(node: Node) -> int:
    if not isinstance(node, Text) or node.value != str(FOUND_FORMAT):
        node.refuse(f"format {FOUND_FORMAT}", " (found by another version of PALM: shrink its scenario again)")
    return FOUND_FORMAT


# Not written within the annotation: what a lambda names there is not found when it is called.
_FORMAT = Form(f"format {FOUND_FORMAT}", _format, lambda: {"const": FOUND_FORMAT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Where a file comes from that a search has written."""

    format: Annotated[int, Key("format", _FORMAT)]
    check: Annotated[str, Key("check", TEXT)]
    """What was broken when it was written."""
    of: Annotated[str, Key("of", TEXT)] = ""
    trace: Annotated[str, Key("trace", TEXT)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One file: who runs, what they are asked, what goes wrong, and what must hold."""

    version: Annotated[str, Key("palm", _VERSION)]
    name: Annotated[str, Key("name", NAME)]
    about: Annotated[str, Key("about", TEXT)]
    """One sentence: what it proves."""
    clock: Annotated[Clock, Key("clock", CLOCK)]
    world: Annotated[World, Key("world", block_of(World, "world"))]
    load: Annotated[tuple[Job, ...], Key("load", LOAD)]
    stores: Annotated[tuple[StoreUse, ...], Key("stores", STORES)] = ()
    runs: Annotated[Runs, Key("runs", block_of(Runs, "runs"))] = Runs()
    calibration: Annotated[str | None, Key("calibration", TEXT)] = None
    """A file of `palm calibrate`: times and costs of links and servers where the scenario says none."""
    links: Annotated[tuple[LinkBlock, ...], Key("links", LINKS)] = ()
    """Later entries override earlier ones."""
    script: Annotated[tuple[Step, ...], Key("script", SCRIPT)] = ()
    chaos: Annotated[Chaos | None, Key("chaos", CHAOS)] = None
    expect: Annotated[Expect, Key("expect", block_of(Expect, "expect"))] = Expect()
    found: Annotated[Found | None, Key("found", block_of(Found, "found"))] = None
    file: str = field(default="", compare=False)
    """Where it was read, for errors that only running finds."""


def load(path: str | Path) -> Scenario:
    """Read and check a file."""
    return parse(yaml_strict.read_file(path), str(path))


def parse(text: str, file: str = "scenario") -> Scenario:
    """Read and check text; `file` is the name for errors, and files that the text names are looked for from there."""
    root = yaml_strict.parse(text, file)
    if isinstance(root, Table) and "palm" in root.entries:
        _version(root.entries["palm"])  # first: in a file of another version everything else may be otherwise
    found = root.entries.get("found") if isinstance(root, Table) else None
    if isinstance(found, Table) and "format" in found.entries:
        _format(found.entries["format"])
    root = calibrated(root)
    scenario = take(root, Scenario, what="scenario")
    check_references(scenario, root)
    return replace(scenario, file=file)


def schema() -> dict[str, Any]:
    """JSON Schema of scenario files, made from the same tables that read them: for editors, and other tools."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"PALM {VERSION}",
        **schema_of(Scenario),
    }
