"""What PALM calls on a server object by itself: `on_start`, `on_stop`, `on_term`. Each may be `def` or `async def`."""

from __future__ import annotations

from typing import Any, Callable, NamedTuple

Hook = Callable[..., Any]


class Lifecycle(NamedTuple):
    """None where the class has none of its own."""

    on_start: Hook | None = None
    """Before the instance registers. What it raises ends the process."""
    on_stop: Hook | None = None
    """After the drain."""
    on_term: Hook | None = None
    """With the term, each time this instance has become leader."""


NAMES = frozenset(Lifecycle._fields)


def lifecycle_of(server: object) -> Lifecycle:
    found = (getattr(server, name, None) for name in Lifecycle._fields)
    return Lifecycle(*(hook if callable(hook) and not _is_palms(hook) else None for hook in found))


def _is_palms(hook: Hook) -> bool:
    """The empty one of a base class."""
    return getattr(hook, "__module__", "").partition(".")[0] == "palm"
