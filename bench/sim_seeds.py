"""`palm simulate scenarios/partition.yaml --seeds --jobs 2`: runs for each second, as a user waits for them.

The whole command is timed: interpreters that start and import on both cores, the runs, their verdicts and coverage.
"""

from __future__ import annotations

import subprocess
import sys
from statistics import median
from time import perf_counter

from bench.figures import Figure
from bench.processes import REPOSITORY

FILE = "scenarios/partition.yaml"
JOBS = 2


def measure(*, smoke: bool, rounds: int) -> Figure:
    seeds = 2 if smoke else 40
    speeds = [seeds_per_s(seeds) for _ in range(rounds)]
    return Figure(
        bench="sim_seeds",
        unit="seeds/s of partition.yaml on two cores",
        palm=median(speeds),
        raw=None,
        ratio=None,
        target="all of them hold; no speed was promised",
        met=True,
        palm_rounds=speeds,
        more={"seeds": seeds, "jobs": JOBS, "scenario": FILE},
    )


def seeds_per_s(seeds: int) -> float:
    """Raises RuntimeError where a run did not hold: a sweep that stops early is no measure."""
    command = [sys.executable, "-m", "palm", "simulate", FILE, "--seeds", f"1..{seeds}", "--jobs", str(JOBS)]
    begin = perf_counter()
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    seconds = perf_counter() - begin
    if ended.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {ended.returncode}: {ended.stdout[-2000:]}")
    return seeds / seconds
