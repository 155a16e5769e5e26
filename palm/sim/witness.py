"""One of the two processes of `palm.sim.guard`: runs scenarios and writes down everything that could differ.

Each line of what it writes is an event of the trace, or a result that user code gave, and begins with a hash of all
lines up to it; so two such files can be bisected. Asked to, it also looks closely: at where one event comes from, and
at each step of chosen calls of user code, with what the step changed.
"""

from __future__ import annotations

import functools
import inspect
import json
import os
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from types import FrameType
from typing import IO, Any

from palm.errors import PalmError
from palm.runtime.functions import Function
from palm.sim.scenario.scenario import load

STEPS_MOST = 20_000
"""Steps of user code that are written down; a difference later than that is told without its line."""
_HASH_CHARS = 16
_SHOWN = 200
_DEEP, _WIDE = 3, 50


@dataclass(slots=True)
class Look:
    """What to look at closely. `event`: the number of the line whose stack is wanted; `calls`: calls of user code, by
    their number, whose steps are wanted."""

    event: int = -1
    calls: frozenset[int] = frozenset()
    stack: list[str] = field(default_factory=list)
    steps: list[tuple[str, int, dict[str, str]]] = field(default_factory=list)


class Witness:
    """Writes the lines of one run. `wrap` is put around every function of every server."""

    def __init__(self, write: Callable[[str], object], look: Look) -> None:
        self._write = write
        self._look = look
        self._hash = blake2b(digest_size=_HASH_CHARS // 2)
        self._lines = 0
        self._calls = 0

    def note(self, line: str) -> None:
        self._hash.update(line.encode())
        self._hash.update(b"\n")
        self._write(f"{self._hash.hexdigest()} {line}\n")
        if self._lines == self._look.event:
            self._look.stack = [f"{one.filename}:{one.lineno} in {one.name}" for one in traceback.extract_stack()[:-1]]
        self._lines += 1

    def wrap(self, instance: str, function: Function) -> Function:
        """A function that does the same, and has each call and each result written down."""
        begin = functools.partial(self._begin, instance, function)
        say = functools.partial(self._said, instance, function)

        if inspect.isasyncgenfunction(function):

            @functools.wraps(function)
            async def each_later(payload: bytes) -> AsyncIterator[Any]:
                call = begin(payload)
                async for result in function(payload):
                    say(call, "gave", result)
                    yield result
                say(call, "ended", None)

            return each_later
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def later(payload: bytes) -> Any:
                call = begin(payload)
                return say(call, "returned", await function(payload))

            return later

        @functools.wraps(function)
        def now(payload: bytes) -> Any:
            call = begin(payload)
            with _Steps(self._look, call):
                result = function(payload)
                if isinstance(result, Iterator):
                    result = [say(call, "gave", one) for one in result]
                    say(call, "ended", None)
                    return iter(result)
            return say(call, "returned", result)

        return now

    def _begin(self, instance: str, function: Function, payload: bytes) -> int:
        call = self._calls
        self._calls += 1
        self._said(instance, function, call, "took", payload)
        return call

    def _said(self, instance: str, function: Function, call: int, what: str, value: Any) -> Any:
        code = getattr(inspect.unwrap(function), "__code__", None)
        where = "" if code is None else f"{code.co_filename}:{code.co_firstlineno}"
        name = getattr(function, "__qualname__", "a function")
        told = {"instance": instance, "function": name, "call": call, "what": what, "value": plain(value)}
        self.note(json.dumps({**told, "where": where}))
        return value


class _Steps:
    """Writes the steps of user code while a call that is looked at runs: where, and what it changed.

    A call that waits lets others run meanwhile; their steps come between, in the same order in both processes.
    """

    def __init__(self, look: Look, call: int) -> None:
        self._look = look
        self._wanted = call in look.calls
        self._at: dict[FrameType, tuple[int, dict[str, str]]] = {}

    def __enter__(self) -> None:
        if self._wanted:
            sys.settrace(self._enters)

    def __exit__(self, *error: object) -> None:
        if self._wanted:
            sys.settrace(None)

    def _enters(self, frame: FrameType, event: str, argument: object) -> Callable[..., Any] | None:
        if not _is_users(frame.f_code.co_filename):
            return None
        self._at[frame] = frame.f_lineno, {}
        return self._steps

    def _steps(self, frame: FrameType, event: str, argument: object) -> Callable[..., Any]:
        line, before = self._at[frame]
        values = _values(frame)
        changed = {name: value for name, value in values.items() if before.get(name) != value}
        if event == "return":
            changed["the result"] = plain(argument)
        if len(self._look.steps) < STEPS_MOST:
            self._look.steps.append((frame.f_code.co_filename, line, changed))
        self._at[frame] = frame.f_lineno, values
        return self._steps


def _is_users(file: str) -> bool:
    return not file.startswith((sys.prefix, sys.base_prefix, _PACKAGE, "<"))


_PACKAGE = __file__.rpartition("sim")[0]


def _values(frame: FrameType) -> dict[str, str]:
    values = {}
    for name, value in frame.f_locals.items():
        if name == "self":
            own = getattr(value, "__dict__", {})
            values.update({f"self.{attribute}": plain(one) for attribute, one in own.items()})
        else:
            values[name] = plain(value)
    return values


def plain(value: Any, deep: int = _DEEP) -> str:
    """A value in words that are the same in every process if the value is: no addresses, and sets in order."""
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | bytearray):
        shown = repr(value)
        return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}... ({len(shown)} characters)"
    if deep and isinstance(value, list | tuple):
        return _all("[]" if isinstance(value, list) else "()", (plain(one, deep - 1) for one in value[:_WIDE]), value)
    if deep and isinstance(value, set | frozenset):
        return _all("{}", sorted(plain(one, deep - 1) for one in value)[:_WIDE], value)
    if deep and isinstance(value, dict):
        items = list(value.items())[:_WIDE]
        return _all("{}", (f"{plain(key, deep - 1)}: {plain(one, deep - 1)}" for key, one in items), value)
    return f"<{type(value).__qualname__}>"


def _all(brackets: str, shown: Iterable[str], value: Any) -> str:
    more = f", ... of {len(value)}" if len(value) > _WIDE else ""
    return f"{brackets[0]}{', '.join(shown)}{more}{brackets[1]}"


def testify(path: str, seed: int, out: IO[str], look: Look) -> dict[str, Any]:
    """Run it; what the guard is to know, besides the lines."""
    from palm.sim.simulation import run

    witness = Witness(out.write, look)
    told: dict[str, Any] = {}
    try:
        result = run(load(path), seed, trace=witness.note, wrap=witness.wrap)
        witness.note(json.dumps({"end": [repr(check) for check in result.checks]}))
        told = {"trace_hash": result.trace_hash, "events": result.events, "verdict": result.verdict.value}
    except PalmError as error:
        told = {"failed": f"{type(error).__name__}: {error}"}
        witness.note(json.dumps(told))
    return {**told, "stack": look.stack, "steps": look.steps}


def main() -> None:
    """For each line on stdin, a run and what to look at in it: one line of JSON on stdout, once it is over."""
    told_to = os.fdopen(os.dup(1), "w")
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)  # user code may print
    for line in sys.stdin:
        path, seed, out_path, event, *calls = json.loads(line)
        look = Look(event, frozenset(calls))
        with open(out_path, "w", encoding="utf-8") as out:
            told = testify(path, seed, out, look)
        told_to.write(json.dumps(told) + "\n")
        told_to.flush()


if __name__ == "__main__":
    main()
