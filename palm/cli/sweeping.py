"""`palm simulate` over many runs: what is shown while they go, and what they came to."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from typing import Any, Iterator, Sequence

from palm.cli.shrinking import keep_plain, shrink_broken, shrink_failed
from palm.cli.verdict import as_json, show
from palm.sim.coverage import Coverage
from palm.sim.sweep import Outcome, Task, sweep

SEVERITY = (0, 2, 1, 3)
"""Exit codes from good to bad: a finding outweighs a doubt, and a harness that failed has judged nothing."""
_WORDS = {0: "hold", 1: "broken", 2: "inconclusive", 3: "failed in the harness"}
_SAY_EVERY_S = 10.0


def worst(codes: Sequence[int]) -> int:
    return max(codes, key=SEVERITY.index, default=0)


def run_sweep(tasks: list[Task], *, jobs: int, keep_going: bool, in_json: bool, shrink_s: int = 0) -> int:
    """Run them all, or up to the first that is broken or that the harness failed in; the worst exit code.

    The first of those is shrunk for at most `shrink_s`; 0: not at all.
    """
    count: Counter[int] = Counter()
    bad: list[Outcome] = []
    coverage, simulated_s, begin = Coverage(), 0.0, time.monotonic()
    runs = sweep(tasks, jobs)
    for outcome in _with_progress(runs, len(tasks), count, quiet=in_json):
        count[outcome.exit_code] += 1
        if outcome.result is not None:
            simulated_s += outcome.result.simulated_s
            coverage.add(outcome.task.path, outcome.pairs)
        if in_json:
            print(json.dumps(_json_of(outcome)), flush=True)
        if outcome.exit_code:
            bad.append(outcome)
            if not keep_going and outcome.exit_code != 2:
                runs.close()
                break
    shrunk = next((one for one in bad if one.exit_code != 2), None) if shrink_s else None
    if not in_json:
        _show(tasks, bad, shrunk, count, coverage, simulated_s, time.monotonic() - begin, jobs)
    if shrunk is not None and shrunk.result is not None:
        shrink_broken(shrunk.task.path, shrunk.result, jobs=jobs, seconds=shrink_s, in_json=in_json)
    elif shrunk is not None:
        shrink_failed(shrunk.task.path, shrunk.task.seed, jobs=jobs, seconds=shrink_s, in_json=in_json)
    return worst(list(count))


def _json_of(outcome: Outcome) -> dict[str, Any]:
    if outcome.result is not None:
        return as_json(outcome.result)
    return {"scenario": outcome.task.path, "seed": outcome.task.seed, "verdict": "failed", "error": outcome.error}


def _with_progress(runs: Iterator[Outcome], total: int, count: Counter[int], *, quiet: bool) -> Iterator[Outcome]:
    """A bar on a terminal, a line now and then elsewhere."""
    if quiet:
        yield from runs
    elif sys.stdout.isatty():
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
        with Progress(*columns, transient=True) as bar:
            task = bar.add_task("", total=total)
            for outcome in runs:
                bar.update(task, advance=1, description=f"{outcome.task.path}  {_tally(count)}")
                yield outcome
    else:
        said_at = time.monotonic()
        for number, outcome in enumerate(runs, 1):
            if time.monotonic() - said_at >= _SAY_EVERY_S:
                said_at = time.monotonic()
                print(f"{number} of {total} runs, {outcome.task.path} seed {outcome.task.seed}", flush=True)
            yield outcome


def _show(
    tasks: list[Task],
    bad: list[Outcome],
    shrunk: Outcome | None,
    count: Counter[int],
    coverage: Coverage,
    simulated_s: float,
    wall_s: float,
    jobs: int,
) -> None:
    for outcome in bad:
        if outcome.result is not None:
            show(outcome.result, outcome.task.path)
            if outcome is not shrunk:
                keep_plain(outcome.task.path, outcome.result)
        else:
            print(f"palm simulate {outcome.task.path} --seed {outcome.task.seed}\nFAILED  {outcome.error}")
        print()
    done, files = sum(count.values()), len(dict.fromkeys(task.path for task in tasks))
    left = f", {len(tasks) - done} not run" if done < len(tasks) else ""
    print(f"sweep     {done} runs of {files} scenarios: {_tally(count)}{left}")
    wall_s = wall_s or 1e-9
    print(
        f"speed     {done / wall_s:.1f} seeds/s, {simulated_s / wall_s:.0f} simulated s per s, "
        f"{wall_s:.1f} s with {jobs} process{'es' if jobs > 1 else ''}"
    )
    print(f"coverage  {coverage}")


def _tally(count: Counter[int]) -> str:
    return ", ".join(f"{count[code]} {_WORDS[code]}" for code in SEVERITY if count[code]) or "none"
