"""Loads what a scenario names in Python files: the classes that its servers run, and checks of its own."""

from __future__ import annotations

import importlib.util
import sys
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from types import ModuleType
from typing import Any, Callable, Iterator

from palm.errors import HarnessError, ScenarioError
from palm.sim import sandbox
from palm.sim.blame import said_by
from palm.sim.still import Still
from palm.wire.schemas import side_by_side


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
    try:
        digest = blake2b(path.read_bytes(), digest_size=4).hexdigest()
    except OSError as error:
        raise ScenarioError(f"{path} cannot be read: {error.strerror}") from error
    # Another version of a file is another module: what its classes are annotated with is looked up by that name.
    spec = importlib.util.spec_from_file_location(f"{module_name}_{digest}", path)
    assert spec is not None and spec.loader is not None, "the loader has found the file"
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    before = sandbox.enter(Still(seed, module_name, refuses=False))
    try:
        with _beside(path.parent), side_by_side():
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever a user's file raises is shown as one error
        raise ScenarioError(f"{path} does not load: {said_by(error, path)}") from error
    finally:
        sandbox.enter(before)
    sandbox.adopt(module)
    found: Callable[..., object] | None = getattr(module, name, None)
    if not callable(found):
        raise HarnessError(f"{path} has lost {name} since the scenario was read")
    return found


_loaded_beside: dict[str, ModuleType] = {}
"""Modules that server files have imported from their own folders, by name: of several versions the last one."""


@contextmanager
def _beside(folder: Path) -> Iterator[None]:
    """What a server file imports from its folder is found there, as when it is run; it is loaded anew for each run, and
    another version of it, from another folder, is another module."""
    for name, module in _loaded_beside.items():
        if sys.modules.get(name) is module:
            del sys.modules[name]
    _loaded_beside.clear()
    here = str(folder)
    others = {path.stem: sys.modules.get(path.stem) for path in folder.glob("*.py")}
    aside = {name: module for name, module in others.items() if module is not None and not _is_in(folder, module)}
    for name in aside.keys() - sys.stdlib_module_names:
        del sys.modules[name]
    there_before = set(sys.modules)
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)
        for name in [name for name in sys.modules if name not in there_before]:
            module = sys.modules[name]
            if _is_in(folder, module):
                _loaded_beside[name] = module
                sandbox.adopt(module)
        for name in aside:
            _loaded_beside.pop(name, None)
        sys.modules.update(aside)


def _is_in(folder: Path, module: ModuleType) -> bool:
    return Path(getattr(module, "__file__", None) or "").parent.is_relative_to(folder)
