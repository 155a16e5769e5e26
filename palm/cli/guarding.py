"""`palm simulate --guard`: what the determinism guard found, for people and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Iterable

from palm.sim.guard import Guard
from palm.sim.sweep import Task

SAME, DIFFERS = 0, 3


def guard_all(tasks: Iterable[Task], *, as_json: bool) -> int:
    """Guard each run; 3 as soon as one differs, as what the simulator says cannot be trusted then."""
    with Guard() as guard:
        for task in tasks:
            if _differs(guard, task, as_json=as_json):
                return DIFFERS
    return SAME


def _differs(guard: Guard, task: Task, *, as_json: bool) -> bool:
    path, seed = task.path, task.seed
    found = guard.compare(path, seed)
    if as_json:
        print(json.dumps({"guard": "same" if found.difference is None else "differs", **asdict(found)}), flush=True)
    else:
        print(f"palm simulate {path} --seed {seed} --guard")
        if found.difference is None:
            print(f"SAME     seed {seed}: {found.events} events, trace {found.trace_hashes[0]} in both processes")
        else:
            print(f"DIFFERS  two runs of seed {seed} went apart")
            print("  small  it is not shrunk: two runs that differ tell nothing of a smaller one")
            print("\n".join(found.difference.lines()), flush=True)
    return found.difference is not None
