"""Broken twins: a module with one line changed, in memory, for as long as a block runs.

A scenario that still holds when the line that protects it is gone proves nothing. The modules' files are never touched.
"""

from __future__ import annotations

import inspect
import sys
from contextlib import contextmanager
from types import FunctionType, ModuleType
from typing import Any, Iterator


@contextmanager
def patched(module: ModuleType, line: str, instead: str) -> Iterator[None]:
    """Within the block, `module` behaves as if `line` (which it holds once) read `instead`.

    Functions, and methods of classes, are exchanged wherever PALM has them by name; constants that code has already
    imported by value are not. Raises ValueError where the line is not there exactly once, or changes nothing.
    """
    source = inspect.getsource(module)
    count = source.count(line)
    if count != 1:
        raise ValueError(f"{module.__name__} holds {line!r} {count} times, not once")
    changed: dict[str, Any] = dict(vars(module))
    exec(compile(source.replace(line, instead), module.__file__ or module.__name__, "exec"), changed)
    undo: list[tuple[Any, str, Any]] = []

    def exchange(holder: Any, name: str, old: Any, new: Any) -> None:
        undo.append((holder, name, old))
        setattr(holder, name, new)

    for name, new in list(changed.items()):
        old = vars(module).get(name)
        if getattr(new, "__module__", None) != module.__name__ or old is new:
            continue
        if isinstance(new, FunctionType):
            for holder in _holders(name, old):
                exchange(holder, name, old, new)
        elif isinstance(new, type) and isinstance(old, type):
            for attribute, value in list(vars(new).items()):
                if isinstance(value, (FunctionType, property)):
                    exchange(old, attribute, vars(old)[attribute], value)
            changed[name] = old  # what the new functions make and match are the classes that everybody else knows
    if not undo:
        raise ValueError(f"nothing of {module.__name__} was changed")
    try:
        yield
    finally:
        for holder, name, value in reversed(undo):
            setattr(holder, name, value)


def _holders(name: str, function: object) -> list[ModuleType]:
    """The modules that have it under that name: its own, and those that import it."""
    modules = [module for key, module in sys.modules.items() if key.partition(".")[0] == "palm"]
    return [module for module in modules if vars(module).get(name) is function]
