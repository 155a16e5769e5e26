"""`palm simulate --html`: one run, its result on the terminal as always, and its report in a file."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Mapping, Sequence

from palm.errors import ScenarioError

if TYPE_CHECKING:
    from palm.sim.scenario.scenario import Scenario
    from palm.sim.sweep import Task


def write_report(file: str, scenarios: Mapping[str, Scenario], tasks: Sequence[Task], *, in_json: bool) -> int:
    """The verdict, as the exit code. Raises ScenarioError for more than one run, OSError when the file cannot be."""
    from palm.cli.verdict import as_json, show
    from palm.sim.report import Film, page
    from palm.sim.simulation import run

    if len(tasks) != 1:
        raise ScenarioError(f"--html shows one run, not {len(tasks)}: name one file, and its seed with --seed N")
    (task,) = tasks
    with open(file, "w", encoding="utf-8") as out:  # before the run: a path that cannot be is said at once
        scenario, film = scenarios[task.path], Film()
        result = run(scenario, task.seed, film=film)
        out.write(page(scenario, result, film, f"palm simulate {shlex.quote(task.path)} --seed {task.seed}"))
    if in_json:
        print(json.dumps(as_json(result)), flush=True)
    else:
        show(result, task.path)
        print(f"report  {Path(file)} ({Path(file).stat().st_size / 1_000_000:.1f} MB)")
    return result.verdict.exit_code
