"""A broken run of a scenario file, from its result to a found file that has been replayed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from palm.errors import HarnessError
from palm.sim.chaos import as_plain_script
from palm.sim.scenario import yaml_strict
from palm.sim.scenario.scenario import load
from palm.sim.shrink.candidates import Runs, Target, targets
from palm.sim.shrink.found import write_found
from palm.sim.shrink.nearest import Nearest, nearest
from palm.sim.shrink.search import Shrunk, shrink
from palm.sim.simulation import Result, RunFailed, attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    target: Target
    shrunk: Shrunk
    file: Path
    result: Result | RunFailed
    """Of the found file, replayed."""
    nearest: Nearest | None


def find(
    path: Path, broken: Result | RunFailed, *, jobs: int, seconds: float, say: Callable[[str], None] = lambda line: None
) -> Finding:
    """Shrink a run of the file by the first of its checks that is broken, or by what the harness failed of, and write
    what is left.

    Raises HarnessError when the run does not come again, here or from the file that was written.
    """
    target, seed = targets(broken)[0], broken.seed
    text = yaml_strict.read_file(path)
    if broken.drawn:
        text = as_plain_script(text, broken.drawn)
    with Runs(str(path), seed, target, jobs=jobs, seconds=seconds) as runs:
        shrunk = shrink(text, str(path), runs, say)
    if shrunk is None:
        raise HarnessError(f"{target} of seed {seed} does not break again: `palm simulate --guard` finds out why")
    near = nearest(shrunk.text, shrunk.neighbours(), str(path), seed, target)
    file = write_found(shrunk.text, path, seed, target, shrunk.sight.why, shrunk.sight.trace_hash)
    again = attempt(load(file), seed)
    if target not in targets(again) or again.trace_hash != shrunk.sight.trace_hash:
        raise HarnessError(f"{file} does not replay the run that it was written for")
    return Finding(target=target, shrunk=shrunk, file=file, result=again, nearest=near)
