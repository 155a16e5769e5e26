"""Broken twins: a module of PALM with one line changed, in memory, for as long as a test needs it.

A scenario that still holds when the line that protects it is gone proves nothing.
"""

from __future__ import annotations

import inspect
from contextlib import contextmanager
from types import FunctionType, ModuleType
from typing import Any, Iterator


@contextmanager
def twin(module: ModuleType, line: str, instead: str) -> Iterator[None]:
    """Within the block, `module` behaves as if `line` (which it holds once) read `instead`."""
    source = inspect.getsource(module)
    assert source.count(line) == 1, f"{module.__name__} holds {line!r} {source.count(line)} times, not once"
    changed: dict[str, Any] = dict(vars(module))
    exec(compile(source.replace(line, instead), module.__file__ or module.__name__, "exec"), changed)
    undo: list[tuple[Any, str, Any]] = []
    for name, new in list(changed.items()):
        old = vars(module).get(name)
        if getattr(new, "__module__", None) != module.__name__ or old is new:
            continue
        if isinstance(new, FunctionType):
            undo.append((module, name, old))
            setattr(module, name, new)
        elif isinstance(new, type) and isinstance(old, type):
            for attribute, value in list(vars(new).items()):
                if isinstance(value, FunctionType):
                    undo.append((old, attribute, vars(old)[attribute]))
                    setattr(old, attribute, value)
            changed[name] = old  # what the new functions make and match are the classes that everybody else knows
    assert undo, f"nothing of {module.__name__} was changed"
    try:
        yield
    finally:
        for holder, name, value in reversed(undo):
            setattr(holder, name, value)
