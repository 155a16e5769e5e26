"""From a user's server object and a list of names to the functions that may be called: a dictionary, never `getattr`
later."""

from __future__ import annotations

import inspect
from types import CodeType
from typing import Any, Callable, Iterable

from palm.core.folding import REDUCE
from palm.core.message import Header, Task
from palm.core.names import check_name
from palm.errors import BadRequest, did_you_mean
from palm.runtime.coding import coded
from palm.runtime.hooks import NAMES
from palm.runtime.options import options_of
from palm.runtime.traits import traits_of

Function = Callable[[bytes], Any]

WAITING = frozenset({"call"})
"""Methods of PALM's that wait for others in the cluster."""

HOOKS = NAMES
"""Methods of a user's class that PALM calls, and nobody else."""

HOOKS_OF_KIND: dict[str, tuple[str, ...]] = {"ScatterGatherServer": ("scatter", "gather"), REDUCE: ("key",)}
"""The same, for the kinds of servers that need them; other classes may have functions of these names."""

_HOOK_OF_TASK: dict[int, str] = {Task.SCATTER: "scatter", Task.GATHER: "gather"}


def called(header: Header) -> str:
    """The user's method that is to run for messages under that header."""
    return _HOOK_OF_TASK.get(header.task) or header.target.function


def hooks_of(server: object) -> dict[str, Function]:
    """What a server of its kind needs beside functions; `BadRequest` names what is missing."""
    hooks: dict[str, Function] = {}
    for name in HOOKS_OF_KIND.get(_kind(server), ()):
        hook: Callable[..., object] | None = getattr(server, name, None)
        if not callable(hook):
            raise BadRequest(f"class {type(server).__name__} has no {name!r}: a {_kind(server)} needs one")
        hooks[name] = hook
    return hooks


def _kind(server: object) -> str:
    return str(getattr(server, "kind", ""))



def functions_of(server: object, names: Iterable[str]) -> dict[str, Function]:
    """The named methods of `server`; `BadRequest` names what is missing or cannot be called, and what there is."""
    traits = traits_of(server)
    functions: dict[str, Function] = {}
    for name in names:
        check_name("function", name)
        if name.startswith("_"):
            raise BadRequest(f"function {name!r} begins with '_': such names are PALM's own")
        if name in HOOKS_OF_KIND.get(_kind(server), ()):
            raise BadRequest(
                f"{name!r} of class {type(server).__name__} is no function: PALM calls it for each of them"
            )
        function: Callable[..., object] | None = getattr(server, name, None)
        if not callable(function):
            known = listed_by_default(server)
            kind = type(server).__name__
            raise BadRequest(
                f"class {kind} has no function {name!r}{did_you_mean(name, known)}; it has {', '.join(known) or 'none'}"
            )
        if traits.kind == REDUCE:
            _check_folds(type(server).__name__, name, function)
            functions[name] = function
            continue
        if traits.join == "order":
            _keeps_order(function, name, server)
        functions[name] = coded(function, name, kind=traits.kind, zips=traits.join == "zip")
    if not functions:
        raise BadRequest(f"class {type(server).__name__} offers no function: define one, or name them")
    return functions


def _keeps_order(function: Callable[..., object], name: str, server: object) -> None:
    """`BadRequest` for options with which a message could be overtaken by one that was sent later."""
    options = options_of(function)
    beside = (options.concurrency or 1) > 1
    if not beside and not options.retries:
        return
    wrong = f"concurrency={options.concurrency}" if beside else f"retries={options.retries}"
    what = "runs several messages beside each other" if beside else "lets later messages go before one that failed"
    way = "take it away" if beside else "try again within the function, or at a stage before this one"
    raise BadRequest(
        f"function {name!r} of class {type(server).__name__} has {wrong}, which {what}, and the class has "
        f"join = 'order': {way}, or join by 'arrival'"
    )


def listed_by_default(server: object) -> list[str]:
    """The public methods that a user's class defines itself, in order of definition, base classes first.

    PALM's own base classes offer none of theirs.
    """
    names: dict[str, None] = {}
    hooks = HOOKS.union(HOOKS_OF_KIND.get(_kind(server), ()))
    for kind in reversed(type(server).__mro__):
        if kind is object or kind.__module__.partition(".")[0] == "palm":
            continue
        for name, value in vars(kind).items():
            if callable(value) and not name.startswith("_") and not isinstance(value, type) and name not in hooks:
                names[name] = None
    return list(names)


def _check_folds(kind: str, name: str, function: Callable[..., object]) -> None:
    """A reducer's function takes two payloads, and waits for nothing."""
    options = options_of(function)
    if not options.are_plain or options.at_most_once or options.codec not in ("", "bytes"):
        raise BadRequest(f"function {name!r} of {kind} has options: a reduction folds bytes, and may fold them again")
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise BadRequest(f"function {name!r} of {kind} is async: a reduction folds one message after another, use def")
    try:
        inspect.signature(function).bind(b"", b"")
    except TypeError as error:
        raise BadRequest(
            f"function {name!r} of {kind} does not take two payloads ({error}): def {name}(self, a, b)"
        ) from error


def may_wait(function: Function) -> bool:
    """Whether any code of the function's class names a method that waits for others: what was measured to be fast may
    run where the protocol runs, and must not wait there. Code elsewhere is not looked at."""
    owner = getattr(inspect.unwrap(function), "__self__", None)
    found = [function] if owner is None else [value for kind in type(owner).__mro__ for value in _own(kind)]
    return any(_names(code) & WAITING for code in map(_code_of, found) if code is not None)


def _own(kind: type) -> list[Any]:
    return [] if kind.__module__.partition(".")[0] == "palm" else list(vars(kind).values())


def _code_of(value: Any) -> CodeType | None:
    code = getattr(inspect.unwrap(value) if callable(value) else value, "__code__", None)
    return code if isinstance(code, CodeType) else None


def _names(code: CodeType) -> set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= _names(constant)
    return names
