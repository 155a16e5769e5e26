"""The simulator at 1,000 calls a second for a three-stage job: simulated seconds for each second of wall time.

The job is a scenario, `bench/three-stages.yaml`: messages come one by one at their rate, so little of their cost is
shared; links and handlers take times that are drawn, and what was recorded is judged. All of that is in the figure.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median
from time import perf_counter

from bench.figures import Figure
from bench.processes import ask

FILE = Path(__file__).with_name("three-stages.yaml")
LEAST = 20


def measure(*, smoke: bool, rounds: int) -> Figure:
    messages = 500 if smoke else 30_000
    speeds = [ask("bench.sim_rate:speed", messages=messages) for _ in range(rounds)]
    return Figure(
        bench="sim_rate",
        unit="simulated s per s at 1,000 calls/s",
        palm=median(speeds),
        raw=None,
        ratio=None,
        target=f"at least {LEAST} simulated s per s, for a job of three stages",
        met=median(speeds) >= LEAST,
        palm_rounds=speeds,
        more={"messages": messages, "stages": 3},
    )


def speed(messages: int) -> float:
    """Simulated seconds a second, until the last message is through and the run is judged."""
    from dataclasses import replace

    from palm.sim.scenario.scenario import load
    from palm.sim.simulation import run

    scenario = load(FILE)
    (job,) = scenario.load
    scenario = replace(scenario, load=(replace(job, messages=replace(job.messages, count=messages)),))
    begin = perf_counter()
    result = run(scenario, seed=7)
    seconds = perf_counter() - begin
    assert result.verdict.exit_code == 0 and result.ledger.delivered == messages, f"{result.checks}"
    # What runs on after the job is nearly free, and is not counted.
    return messages / 1_000 / seconds
