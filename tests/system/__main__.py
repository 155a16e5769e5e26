"""Play one case again: `python -m tests.system 'Case(...)'`, as a failed test printed it."""

from __future__ import annotations

import sys

from palm.sim.history import Entry
from palm.testing.simulate import Simulation
from tests.system import case, play

SHOWN = {"started", "crashed", "stopped", "registered", "deregistered", "lease-expired", "elected", "deposed"}


def main(text: str) -> int:
    wanted = eval(text, vars(case))  # the caller's own shell: nothing that it could not do anyway
    runs: list[Simulation] = []
    try:
        trace = play.play(wanted, runs.append)
    except Exception as error:  # whatever is wrong with the case is the finding
        print(*map(line, shown(runs)), sep="\n")
        print(f"broken: {type(error).__name__}: {error}")
        return 1
    print(*map(line, shown(runs)), sep="\n")
    print(f"holds; trace {trace}")
    return 0


def shown(runs: list[Simulation]) -> list[Entry]:
    return [entry for sim in runs for entry in sim.cluster.recorder.entries if entry.kind.value in SHOWN]


def line(entry: Entry) -> str:
    return f"{entry.at / 1e9:9.4f} s  {entry.kind.value:14} {entry.instance} {entry.detail}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
