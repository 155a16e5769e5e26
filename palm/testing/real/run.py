"""Runs a scenario on real processes, and judges what happened: by the same script, the same jobs and the same checks as
the simulator does."""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Callable, Sequence

from palm.observe.ledger import Ledger
from palm.sim.checkers import CheckResult, Verdict
from palm.sim.history import History
from palm.sim.judge import judge, judged_until, overall
from palm.sim.scenario.expectations import Expect
from palm.sim.scenario.scenario import Scenario
from palm.sim.simulation import CALM, NS, TAIL, calm_at
from palm.sim.steps import Script
from palm.sim.store_load import StoreLoad
from palm.testing.real.able import impossible, notes
from palm.testing.real.etcd import RealEtcd, local_etcd
from palm.testing.real.scale import plain, scaled
from palm.testing.real.stage import COMMAND, Place, RealStage

LOOK_S = 0.02
LOOK_AT_CHECKS_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class RealResult:
    """What one run came to. `impossible`: why it was not begun, as real processes cannot do that, a line for each step.
    `skipped`: what was not as the file has it, though no fault. `refused`: instances that would not start, and why."""

    scenario: str
    seed: int
    verdict: Verdict
    checks: tuple[CheckResult, ...]
    impossible: tuple[str, ...] = ()
    skipped: tuple[str, ...]
    refused: tuple[str, ...]
    ledger: Ledger
    history: History
    wall_s: float


def run_real(
    scenario: Scenario,
    file: str,
    seed: int,
    *,
    scale: float = 1.0,
    command: Sequence[str] = COMMAND,
    make_etcd: Callable[[Path, int], RealEtcd] = local_etcd,
    record: str = "",
) -> RealResult:
    """`scenario` is what `file` holds. Raises ScenarioError, and HarnessError when the run itself fails.

    `command` runs one process, when its orders are put behind it. `make_etcd` gets a folder and the number of members.
    `record`: a file for `palm calibrate`.
    """
    small = scaled(plain(scenario, seed), scale)
    if cannot := impossible(small):
        return _not_begun(small, seed, cannot)
    with tempfile.TemporaryDirectory(prefix="palm-real-") as folder:
        return asyncio.run(_run(small, file, seed, scale, Path(folder), command, make_etcd, record))


def _not_begun(scenario: Scenario, seed: int, cannot: list[str]) -> RealResult:
    return RealResult(
        scenario=scenario.name,
        seed=seed,
        verdict=Verdict.INCONCLUSIVE,
        checks=(),
        impossible=tuple(cannot),
        skipped=(),
        refused=(),
        ledger=Ledger(),
        history=History(entries=(), end_ns=0, seed=seed),
        wall_s=0.0,
    )


async def _run(
    scenario: Scenario,
    file: str,
    seed: int,
    scale: float,
    folder: Path,
    command: Sequence[str],
    make_etcd: Callable[[Path, int], RealEtcd],
    record: str,
) -> RealResult:
    begin = time.perf_counter()
    stage = RealStage(scenario, file, seed, scale, folder, command, make_etcd, record)
    try:
        await stage.open()
        zones = {name: host.zone or "" for name, host in scenario.world.hosts.items()}
        script: Script[Place] = Script(scenario.script, stage, zones, seed)
        await stage.go()
        script.begin()
        await _run_phases(scenario, stage, script)
        left_open = await stage.left_open()
        stage.check()
        history = _history(scenario, stage, script, left_open)
    finally:
        await stage.close()
    checks = tuple(judge(scenario, history))
    return RealResult(
        scenario=scenario.name,
        seed=seed,
        verdict=overall(checks),
        checks=checks,
        skipped=(*notes(scenario), *_beyond(stage)),
        refused=tuple(stage.refused),
        ledger=Ledger(*(sum(column) for column in zip(*stage.ledgers.values(), strict=True))),
        history=history,
        wall_s=time.perf_counter() - begin,
    )


async def _run_phases(scenario: Scenario, stage: RealStage, script: Script[Place]) -> None:
    clock, now = scenario.clock, stage.clock
    jobs = {part for job in scenario.load for part in job.parts}
    jobs |= {store.client for store in StoreLoad.of(scenario.stores, now)}

    def is_over() -> bool:
        stage.check()
        return script.is_done and jobs <= stage.ended

    while not is_over() and now.now < clock.faults_until_ns:
        await asyncio.sleep(LOOK_S)
    script.heal()
    while not is_over() and now.now < clock.limit_ns:
        await asyncio.sleep(LOOK_S)
    await asyncio.sleep(max(0, min(TAIL, clock.limit_ns - now.now)) / NS)
    # What may take its time is waited for no longer than it takes.
    active = script.intervals()
    until = min(clock.limit_ns, max(judged_until(scenario, active), min(calm_at(active), now.now + CALM)))
    while now.now < until and not await _has_come(scenario, stage, script):
        await asyncio.sleep(LOOK_AT_CHECKS_S)


async def _has_come(scenario: Scenario, stage: RealStage, script: Script[Place]) -> bool:
    """What is to come eventually; and nothing is left open any more."""
    stage.check()
    if await stage.left_open():
        return False
    hoped = replace(scenario, script=(), expect=Expect(eventually=scenario.expect.eventually))
    checks = judge(hoped, _history(scenario, stage, script, []))
    return all(check.verdict is Verdict.HOLDS for check in checks)


def _history(scenario: Scenario, stage: RealStage, script: Script[Place], left_open: list[str]) -> History:
    jobs = {part for job in scenario.load for part in job.parts}
    return History(
        # Processes write to pipes of their own: what they saw is put in the order in which it was.
        entries=tuple(
            entry if entry.job in jobs else entry._replace(job="")
            for entry in sorted(map(stage.in_time, stage.recorder.entries), key=lambda entry: entry.at)
        ),
        end_ns=stage.clock.now,
        seed=stage.clock.seed,
        active=script.intervals(),
        touched=script.touched(),
        counts=stage.ledgers,
        sizes=stage.sizes,
        results=stage.results,
        operations=stage.operations,
        left_open=left_open,
    )


def _beyond(stage: RealStage) -> list[str]:
    return [
        f"links and faults for clients inside of functions of {name}: the shim is around the process's own"
        for name in sorted(stage.nested)
    ]
