"""The determinism guard: one seed, two processes that have as little in common as possible, and one trace.

The processes differ in PYTHONHASHSEED (so in the order of sets), in where their objects lie (so in `id()`), in their
time zone, and by a second in when they begin. When what they wrote differs, the first event that does is found by
bisection, and both run again to look at that event closely: where it comes from, and which step of user code was the
first to do something else.
"""

from __future__ import annotations

import json
import linecache
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, Sequence

from palm.errors import HarnessError

_WORLDS = ({"PYTHONHASHSEED": "1", "TZ": "UTC"}, {"PYTHONHASHSEED": "4242", "TZ": "Asia/Kathmandu"})
_PATIENCE_S = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The first thing in which two runs of one seed differ."""

    event: int
    """How many events were the same before it."""
    one: str
    """What it is in the first run, in words."""
    other: str
    where: str
    """File and line of the step that was the first to differ; or where the event came from, a line for each caller."""
    step: str
    """What differs there, in words; empty where only the event is known."""
    advice: str

    def lines(self) -> list[str]:
        """For people."""
        shown = [f"after {self.event} events that are the same", f"  one    {self.one}", f"  other  {self.other}"]
        for number, place in enumerate(self.where.splitlines()):
            shown.append(f"  {'where' if number == 0 else '     '}  {place}")
        if self.step:
            shown.append(f"         {self.step}")
        return [*shown, f"  why    {self.advice}"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """What the guard found out about one seed. `difference` is None where both runs were the same."""

    seed: int
    trace_hashes: tuple[str, str]
    events: int
    difference: Difference | None


def guard(path: str | Path, seed: int) -> Guarded:
    """Run one seed of a scenario file in two processes. Raises HarnessError when one of them fails before it ran."""
    with Guard() as one:
        return one.compare(path, seed)


class Guard:
    """Two processes that stay for many runs, as starting them costs more than a short one takes. What a run leaves
    behind in its process is there in both."""

    def __init__(self) -> None:
        self._witnesses = _Witnesses()

    def __enter__(self) -> Self:
        self._witnesses.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._witnesses.__exit__(*error)

    def compare(self, path: str | Path, seed: int) -> Guarded:
        """As `guard`."""
        files = self._witnesses.ask("lines", path, seed)
        told = self._witnesses.told()
        lines = [file.read_text(encoding="utf-8").splitlines() for file in files]
        first = _first_difference(*lines)
        difference = None
        if first is not None:
            with _Witnesses() as witnesses:
                witnesses.ask("close", path, seed, first, _calls(lines[0], first))
                difference = _difference(first, [line[first : first + 1] for line in lines], witnesses.told())
        elif "failed" in told[0]:
            raise HarnessError(f"both runs of seed {seed} failed: {told[0]['failed']}")
        hashes = tuple(str(one.get("trace_hash", "")) for one in told)
        return Guarded(
            seed=seed,
            trace_hashes=(hashes[0], hashes[1]),
            events=int(told[0].get("events", 0)),
            difference=difference,
        )


class _Witnesses:
    """Two processes of `palm.sim.witness` beside each other, the second begun a second later. They are asked for runs,
    and tell of them in that order."""

    def __init__(self) -> None:
        self._kept = tempfile.TemporaryDirectory(prefix="palm-guard-")
        self._folder = Path(self._kept.name)
        self._running: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        for number, world in enumerate(_WORLDS):
            if number:
                time.sleep(1.0)  # not a wait for anything: a real clock is to show another second
            with self._errors(number).open("w") as errors:  # user code may write more than a pipe holds
                process = subprocess.Popen(
                    [sys.executable, "-m", "palm.sim.witness"],
                    env={**os.environ, **world, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    text=True,
                )
            self._running.append(process)
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._running:
            process.kill()
            process.communicate()
        self._kept.cleanup()

    def ask(self, name: str, path: str | Path, seed: int, event: int = -1, calls: Sequence[int] = ()) -> list[Path]:
        """Have both run it; the files that will hold their lines once they have told of it."""
        files = [self._folder / f"{name}.{number}" for number in range(len(_WORLDS))]
        for process, file in zip(self._running, files, strict=True):
            assert process.stdin is not None, "it was asked for"
            try:
                process.stdin.write(json.dumps([str(path), seed, str(file), event, *calls]) + "\n")
                process.stdin.flush()
            except BrokenPipeError:
                pass  # `told` says why
        return files

    def told(self) -> list[dict[str, Any]]:
        """What both say of the first run that they have not told of yet. Raises HarnessError where one cannot."""
        late = threading.Event()

        def give_up() -> None:
            late.set()
            for process in self._running:
                process.kill()

        patience = threading.Timer(_PATIENCE_S, give_up)
        patience.start()
        try:
            told = []
            for number, process in enumerate(self._running):
                assert process.stdout is not None, "it was asked for"
                line = process.stdout.readline()
                if not line:
                    if late.is_set():
                        raise HarnessError(f"a run under the guard took longer than {_PATIENCE_S} s")
                    last = self._errors(number).read_text(errors="replace").strip().splitlines()[-1:]
                    raise HarnessError(f"the guard's process failed: {(last or [f'exit code {process.wait()}'])[0]}")
                told.append(json.loads(line))
            return told
        finally:
            patience.cancel()

    def _errors(self, number: int) -> Path:
        return self._folder / f"errors.{number}"


def _first_difference(one: Sequence[str], other: Sequence[str]) -> int | None:
    """By bisection: each line begins with a hash of all before it, so once they differ, they differ for good."""
    low, high = 0, min(len(one), len(other))
    if one[:high][-1:] == other[:high][-1:]:
        return None if len(one) == len(other) else high
    while low < high:
        middle = (low + high) // 2
        if one[middle] == other[middle]:
            low = middle + 1
        else:
            high = middle
    return low


def _calls(lines: Sequence[str], event: int) -> list[int]:
    """The calls of user code that had begun and not ended when it differed: one of them may be why."""
    open_: dict[int, None] = {}
    for line in lines[: event + 1]:
        record = json.loads(line.partition(" ")[2])
        if "call" in record:
            if record["what"] == "took":
                open_[record["call"]] = None
            elif record["what"] in ("returned", "ended") and line is not lines[event]:
                open_.pop(record["call"], None)
    return list(open_)


def _difference(event: int, lines: list[list[str]], close: list[dict[str, Any]]) -> Difference:
    words = [_words(one) for one in lines]
    for one, other in zip(close[0]["steps"], close[1]["steps"], strict=False):
        if one != other:
            return Difference(
                event=event,
                one=words[0],
                other=words[1],
                where=_where(one if len(one[2]) >= len(other[2]) else other),
                step=_step(one, other),
                advice=_ADVICE,
            )
    stacks = [close[0]["stack"], close[1]["stack"]]
    place = _place(lines[0] or lines[1])
    where = place or "\n".join(reversed((stacks[0] or stacks[1])[-6:]))
    return Difference(event=event, one=words[0], other=words[1], where=where, step="", advice=_ADVICE)


_ADVICE = (
    "it comes from the order of a set, from id() or hash(), or from a clock or chance that the simulator cannot reach "
    "(a C extension): sort the set or use a dict, name things instead of using their id, and ask time and random"
)


def _where(step: list[Any]) -> str:
    file, line, _ = step
    return f"{file}:{line}: {linecache.getline(file, line).strip()}"


def _step(one: list[Any], other: list[Any]) -> str:
    if one[:2] != other[:2]:
        return f"the one run goes on at line {one[1]} of {Path(one[0]).name}, the other at line {other[1]}"
    for name in dict.fromkeys([*one[2], *other[2]]):
        values = [changed.get(name, "as it was") for changed in (one[2], other[2])]
        if values[0] != values[1]:
            return f"{name} is {values[0]} in the one run, {values[1]} in the other"
    return ""


def _words(line: list[str]) -> str:
    if not line:
        return "the run is over"
    record = json.loads(line[0].partition(" ")[2])
    if "call" in record:
        return f"{record['instance']}: {record['function']} {record['what']} {record['value']}"
    if "end" in record:
        return f"the end: {'; '.join(record['end'])}"
    if "failed" in record:
        return f"the run failed: {record['failed']}"
    return f"at {record['at']} ns, {record['from']} -> {record['to']}: {record['fate']}, {record['bytes']} bytes"


def _place(line: list[str]) -> str:
    """Where the user's function stands whose result it is; nothing for events of the network."""
    record = json.loads(line[0].partition(" ")[2]) if line else {}
    return str(record.get("where", ""))
