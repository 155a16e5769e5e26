"""`palm simulate --world real` and `--compare`: scenarios on real processes, and beside the simulator."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Mapping, Sequence

from palm.errors import ScenarioError

if TYPE_CHECKING:
    from palm.sim.scenario.scenario import Scenario
    from palm.sim.sweep import Task
    from palm.testing.real.compare import Pair
    from palm.testing.real.etcd import RealEtcd
    from palm.testing.real.run import RealResult

SIMULATOR_ONLY = ("html", "guard", "shrink")


def run_for_real(args: argparse.Namespace, scenarios: Mapping[str, Scenario], tasks: Sequence[Task]) -> int:
    """One after another; the worst verdict, as the exit code. Raises ScenarioError for what real processes cannot
    give."""
    from palm.cli.sweeping import worst
    from palm.testing.real.run import run_real

    for option in SIMULATOR_ONLY:
        if getattr(args, option):
            raise ScenarioError(f"--{option} shows what only the simulator sees: leave it out, or run --world sim")
    if args.trace and (args.compare or len(tasks) > 1):
        raise ScenarioError("--trace records one real run: leave out --compare, and name one file and one seed")
    if args.trace:
        with open(args.trace, "wb"):
            pass  # a run begins with an empty file, as processes append to it
    codes = []
    for task in tasks:
        scenario = scenarios[task.path]
        if args.compare:
            codes.append(_compare(args, scenario, task))
        else:
            result = run_real(
                scenario, task.path, task.seed, scale=args.scale, make_etcd=_maker(args), record=args.trace or ""
            )
            if args.json:
                print(json.dumps(_as_json(result)), flush=True)
            else:
                _show(result, task.path, args.scale)
            codes.append(result.verdict.exit_code)
        if codes[-1] == 1 and not args.keep_going:
            break
    return worst(codes)


def _maker(args: argparse.Namespace) -> Callable[[Path, int], RealEtcd]:
    from palm.testing.real.containers import contained_etcd
    from palm.testing.real.etcd import local_etcd

    return (lambda folder, count: contained_etcd(count)) if args.etcd == "containers" else local_etcd


def _compare(args: argparse.Namespace, scenario: Scenario, task: Task) -> int:
    """Run both; the worse of both verdicts."""
    from palm.cli.sweeping import worst
    from palm.sim.simulation import run
    from palm.testing.real.compare import checks_side_by_side, figures
    from palm.testing.real.run import run_real
    from palm.testing.real.scale import plain, scaled

    small = scaled(plain(scenario, task.seed), args.scale)
    sim = run(small, task.seed)
    real = run_real(scenario, task.path, task.seed, scale=args.scale, make_etcd=_maker(args))
    checks = checks_side_by_side(sim.checks, real.checks) if not real.impossible else []
    pairs = list(figures(small, sim.history, real.history)) if not real.impossible else []
    if args.json:
        print(json.dumps(_comparison_as_json(real, sim.verdict.value, checks, pairs)), flush=True)
        return worst([sim.verdict.exit_code, real.verdict.exit_code])
    print(f"palm simulate {task.path} --seed {task.seed} --compare{_scale_words(args.scale)}")
    print(f"{scenario.name}, seed {task.seed}: simulated {sim.verdict.value}, real {real.verdict.value}")
    if real.impossible:
        _show_impossible(real)
        return worst([sim.verdict.exit_code, real.verdict.exit_code])
    width = max(len(check) for check, _, _ in checks)
    for check, ours, theirs in checks:
        mark = "same" if ours.verdict is theirs.verdict else "DIFFERS"
        print(f"  {mark:>7}  {check:<{width}}  {ours.verdict.value:<12}  {theirs.verdict.value}")
        for world, result in (("simulated", ours), ("real", theirs)):
            print(f"  {'':>7}  {'':<{width}}  {world}: {result.why}")
    width = max(len(pair.what) for pair in pairs)
    print(f"{'':<{width}}  {'simulated':>12}  {'real':>12}  simulator is off by")
    for pair in pairs:
        off = "" if pair.off is None else f"{pair.off:+.0%}"
        print(f"{pair.what:<{width}}  {_figure(pair.sim, pair.unit):>12}  {_figure(pair.real, pair.unit):>12}  {off}")
    _show_skipped(real)
    print(f"time    simulated in {sim.wall_s:.1f} s, real in {real.wall_s:.1f} s")
    return worst([sim.verdict.exit_code, real.verdict.exit_code])


def _show(result: RealResult, path: str, scale: float) -> None:
    from palm.cli.verdict import show_checks

    print(f"palm simulate {path} --seed {result.seed} --world real{_scale_words(scale)}")
    show_checks(result.verdict, f"{result.scenario} on real processes, seed {result.seed}", result.checks)
    if result.impossible:
        _show_impossible(result)
        return
    _show_skipped(result)
    print(f"ledger  {result.ledger}")
    print(f"time    {result.history.end_ns / 1e9:.3f} s on real processes, {result.wall_s:.2f} s with their start")


def _show_impossible(result: RealResult) -> None:
    """Nothing was begun: a run without one of its faults would prove something else."""
    for what in result.impossible:
        print(f"not on real processes  {what}")


def _show_skipped(result: RealResult) -> None:
    for what in result.skipped:
        print(f"skipped  {what}")
    for what in result.refused:
        print(f"refused  {what}")


def _as_json(result: RealResult) -> dict[str, Any]:
    return {
        "scenario": result.scenario,
        "world": "real",
        "seed": result.seed,
        "verdict": result.verdict.value,
        "checks": [{"check": one.check, "verdict": one.verdict.value, "why": one.why} for one in result.checks],
        "impossible": list(result.impossible),
        "skipped": list(result.skipped),
        "refused": list(result.refused),
        "wall_s": round(result.wall_s, 3),
        "ledger": result.ledger._asdict(),
    }


def _comparison_as_json(real: RealResult, sim: str, checks: Sequence[Any], pairs: Sequence[Pair]) -> dict[str, Any]:
    return {
        **_as_json(real),
        "simulated": {
            "verdict": sim,
            "checks": {check: ours.verdict.value for check, ours, _ in checks},
            "verdicts": [ours.verdict.value for _, ours, _ in checks],
        },
        "figures": [
            {"what": one.what, "unit": one.unit, "sim": one.sim, "real": one.real, "off": one.off} for one in pairs
        ],
    }


def _figure(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    return f"{value:.3f} ms" if unit == "ms" else f"{value:.0f} {unit}"


def _scale_words(scale: float) -> str:
    return "" if scale == 1 else f" --scale {scale:g}"
