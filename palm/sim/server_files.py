"""Loads what a scenario names in Python files: the classes that its servers run, and checks of its own."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any, Callable

from palm.errors import HarnessError, ScenarioError
from palm.sim import sandbox
from palm.sim.still import Still


def load_class(path: Path, class_name: str, seed: int) -> Callable[[], object]:
    """The class of a server file, which is run as a module: what it does under `__main__` is not done.

    Raises ScenarioError for a file that does not load.
    """
    return _load(path, class_name, seed)


def load_function(path: Path, name: str) -> Callable[[Any], object]:
    """A function of one argument; loaded in the same way."""
    return _load(path, name, 0)


def _load(path: Path, name: str, seed: int) -> Callable[..., object]:
    module_name = f"palm_scenario_{path.stem}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None and spec.loader is not None, "the loader has found the file"
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    before = sandbox.enter(Still(seed, module_name, refuses=False))
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever a user's file raises is shown as one error
        raise ScenarioError(f"{path} does not load: {type(error).__name__}: {error}") from error
    finally:
        sandbox.enter(before)
    sandbox.adopt(module)
    found: Callable[..., object] | None = getattr(module, name, None)
    if not callable(found):
        raise HarnessError(f"{path} has lost {name} since the scenario was read")
    return found
