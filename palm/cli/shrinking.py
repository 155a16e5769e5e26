"""`palm simulate --shrink`: what is left of a broken run, where it was written, and where to look."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from palm.sim.shrink import Finding
    from palm.sim.simulation import Result, RunFailed

SECONDS = 60
"""How long a search may take: most need a part of it."""


def shrink_failed(path: str, seed: int, *, jobs: int, seconds: int, in_json: bool) -> None:
    """Of a run that the harness failed in, in another process: have it again, and shrink it; or say why not."""
    from palm.errors import ScenarioError
    from palm.sim.scenario.scenario import load
    from palm.sim.simulation import RunFailed, attempt

    try:
        seen = attempt(load(path), seed)
    except ScenarioError as error:
        print(f"\nnot shrunk: there is no run to make smaller: {error}", file=sys.stderr)
        return
    if isinstance(seen, RunFailed):
        shrink_broken(path, seen, jobs=jobs, seconds=seconds, in_json=in_json)
    else:
        print("\nnot shrunk: it does not fail again; `palm simulate --guard` finds out why", file=sys.stderr)


def keep_plain(path: str, result: Result) -> None:
    """What chaos drew for a broken run that is not shrunk, as a file of its own."""
    from palm.sim.chaos import write_found
    from palm.sim.verdict import Verdict

    if result.drawn and result.verdict is Verdict.BROKEN:
        print(f"script  {write_found(Path(path), result.seed, result.drawn)} holds it as a plain scenario")


def shrink_broken(path: str, result: Result | RunFailed, *, jobs: int, seconds: int, in_json: bool) -> None:
    """Shrink it, and say what came of it. Raises HarnessError when it does not break again."""
    from palm.sim.shrink import find

    if in_json:
        found = find(Path(path), result, jobs=jobs, seconds=seconds)
        print(json.dumps(_as_json(found)), flush=True)
    else:
        print(f"\nshrinking {path}, seed {result.seed} (at most {seconds} s; --no-shrink leaves it out)", flush=True)
        found = find(Path(path), result, jobs=jobs, seconds=seconds, say=lambda line: print(f"  {line}", flush=True))
        _show(found)


def _as_json(found: Finding) -> dict[str, Any]:
    near = found.nearest
    return {
        "shrunk": str(found.file),
        "check": found.target.check,
        "of": found.target.of,
        "why": found.shrunk.sight.why,
        "seed": found.result.seed,
        "events": found.result.events,
        "trace_hash": found.result.trace_hash,
        "faults": found.shrunk.after.faults,
        "messages": found.shrunk.after.messages,
        "processes": found.shrunk.after.processes,
        "runs": found.shrunk.runs,
        "wall_s": round(found.shrunk.wall_s, 3),
        "spent": found.shrunk.spent,
        "nearest": near and {"what": near.what, "same": near.same, "failing": near.failing, "passing": near.passing},
    }


def _show(found: Finding) -> None:
    from palm.sim.shrink.candidates import HARNESS

    shrunk, result, near = found.shrunk, found.result, found.nearest
    before, after = shrunk.before, shrunk.after
    more = "; its time was over: --shrink-for SECONDS gives it more" if shrunk.spent else ""
    print(
        f"shrunk  {before.faults} faults to {after.faults}, {before.messages} messages to {after.messages}, "
        f"{before.processes} processes to {after.processes}, in {shrunk.runs} runs and {shrunk.wall_s:.1f} s{more}"
    )
    print(f"{'FAILED' if found.target.check == HARNESS else 'BROKEN'}  {found.target}: {shrunk.sight.why}")
    print(f"run     seed {result.seed}, {result.events} events, trace {result.trace_hash}")
    script = shrunk.script
    print("script" + ("" if script else "  none: it breaks without any fault"), *script, sep="\n  ")
    if near is None:
        print("nearest none that passes: whatever is left out, it breaks")
    else:
        print(f"nearest passing run: {near.what}; {near.same} events are the same in both, then comes")
        print(f"  where it breaks  {near.failing}")
        print(f"  where it passes  {near.passing}")
    print(f"file    {_short(found.file)}")
    print(f"replay  palm simulate {shlex.quote(_short(found.file))}   (--html run.html: a picture of it)")


def _short(file: Path) -> str:
    return os.path.relpath(file) if file.is_relative_to(Path.cwd()) else str(file)
