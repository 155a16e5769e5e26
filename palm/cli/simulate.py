"""`palm simulate`: run scenarios in the simulator, or on real processes; the exit code is their worst verdict."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Sequence

from palm.errors import HarnessError, PalmError, ScenarioError

if TYPE_CHECKING:
    from palm.sim.scenario.scenario import Scenario
    from palm.sim.sweep import Task

ABOUT = "run scenario files, simulated or for real (exit code: 0 holds, 1 broken, 2 inconclusive, 3 the harness failed)"
HARNESS_FAILED = 3
JOBS_MAX = 256
SHRINK_S_MAX = 86_400


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    parser = subparsers.add_parser("simulate", help=ABOUT, description=ABOUT)
    parser.add_argument("scenario", nargs="+", help="the scenario's YAML file; several are run one after another")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--seed", type=_seed, metavar="N", help="the seed (default: the file's first pinned one)")
    which.add_argument("--seeds", type=seeds_option, metavar="A..B", help="every seed from A up to and including B")
    parser.add_argument("--base", metavar="COMMIT", help="make other seeds of these numbers, from a commit's id")
    parser.add_argument("--jobs", type=jobs_option, metavar="N", help="processes for many runs (default: one a core)")
    parser.add_argument("--keep-going", action="store_true", help="go on after a run that is broken")
    parser.add_argument(
        "--score", action="store_true", help="run planted bugs of PALM against the scenarios of this directory"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object for each seed, on a line of its own")
    parser.add_argument(
        "--trace", metavar="FILE", help="write every frame as a line of JSON; --world real: a recording to calibrate by"
    )
    parser.add_argument("--html", metavar="FILE", help="write a report of one run that a browser shows")
    parser.add_argument("--guard", action="store_true", help="run each seed in two unlike processes and compare")
    parser.add_argument("--world", choices=["sim", "real"], default="sim", help="real: processes, ZeroMQ and an etcd")
    parser.add_argument(
        "--etcd",
        choices=["local", "containers"],
        default="local",
        help="what the real world's registry runs as (containers: of the image PALM_ETCD_IMAGE; default: local)",
    )
    parser.add_argument("--compare", action="store_true", help="run in both worlds, and show how far they are apart")
    parser.add_argument(
        "--scale", type=_scale, default=1.0, metavar="F", help="F times the messages and the script, for the real world"
    )
    shrinking = parser.add_mutually_exclusive_group()
    shrinking.add_argument("--shrink", action="store_true", help="make a broken run as small as it goes")
    shrinking.add_argument("--no-shrink", action="store_true", help="not even after a sweep, where it is done unasked")
    parser.add_argument("--shrink-for", type=_seconds, metavar="SECONDS", help="how long that may take (default: 60)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """The worst verdict of all runs, as the exit code."""
    from palm.cli.reporting import write_report
    from palm.cli.shrinking import SECONDS
    from palm.cli.sweeping import run_sweep, worst
    from palm.sim.scenario.scenario import load
    from palm.sim.sweep import Task, derived_seeds

    try:
        if args.score:
            return _score(args)
        scenarios = {path: load(path) for path in dict.fromkeys(args.scenario)}
        tasks: list[Task] = []
        for path, scenario in scenarios.items():
            seeds: Sequence[int] = scenario.runs.seeds.pinned[:1]
            if args.seed is not None or args.seeds is not None:
                seeds = args.seeds if args.seeds is not None else [args.seed]
            elif args.base is not None:
                seeds = range(scenario.runs.seeds.sweep or 1)
            if args.base is not None:
                seeds = derived_seeds(args.base, scenario.name, seeds)
            tasks += [Task(path, seed) for seed in seeds]
        if args.world == "real" or args.compare:
            from palm.cli.worlds import run_for_real

            return run_for_real(args, scenarios, tasks)
        if args.etcd != "local":
            raise ScenarioError("--etcd is for --world real and --compare: the simulator has a registry of its own")
        if args.scale != 1:
            raise ScenarioError("--scale is for --world real and --compare: the simulator needs no less")
        if args.shrink and (args.guard or args.html is not None):
            raise ScenarioError("--shrink goes with neither --guard nor --html: use them on the file it writes")
        if args.guard:
            from palm.cli.guarding import guard_all

            return guard_all(tasks, as_json=args.json)
        if args.html is not None:
            return write_report(args.html, scenarios, tasks, in_json=args.json)
        if len(tasks) > 1 and args.trace is None:
            jobs = min(args.jobs or len(os.sched_getaffinity(0)), len(tasks))
            # Who reads JSON has asked for a line each seed: there, shrinking must be asked for.
            shrinks = args.shrink or not (args.no_shrink or args.json)
            seconds = (args.shrink_for or SECONDS) if shrinks else 0
            return run_sweep(tasks, jobs=jobs, keep_going=args.keep_going, in_json=args.json, shrink_s=seconds)
        codes = [
            _run_one(args, scenarios[task.path], task, trace=_open(args.trace) if args.trace else None)
            for task in tasks
        ]
    except ScenarioError as error:
        print(f"palm simulate: {error}", file=sys.stderr)
        return HARNESS_FAILED
    except HarnessError as error:
        what = "the run on real processes" if args.world == "real" else "the simulator"
        print(f"palm simulate: {what} failed: {error}", file=sys.stderr)
        return HARNESS_FAILED
    except PalmError as error:
        print(f"palm simulate: {error}", file=sys.stderr)
        return HARNESS_FAILED
    except OSError as error:
        said = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        print(f"palm simulate: {said}", file=sys.stderr)
        return HARNESS_FAILED
    return worst(codes)


def _score(args: argparse.Namespace) -> int:
    from palm.cli.scoring import run_score

    seeds = len(args.seeds) if args.seeds is not None else 3
    jobs = args.jobs or len(os.sched_getaffinity(0))
    return run_score(Path(args.scenario[0]), seeds=seeds, jobs=jobs, in_json=args.json)


def _run_one(args: argparse.Namespace, scenario: Scenario, task: Task, trace: IO[str] | None) -> int:
    from palm.cli.shrinking import SECONDS, keep_plain, shrink_broken
    from palm.cli.verdict import as_json, show
    from palm.sim.simulation import RunFailed
    from palm.sim.simulation import run as run_scenario
    from palm.sim.verdict import Verdict

    jobs, seconds = args.jobs or len(os.sched_getaffinity(0)), args.shrink_for or SECONDS
    try:
        result = run_scenario(scenario, task.seed, trace=None if trace is None else lambda line: _write(trace, line))
    except RunFailed as failed:
        if not args.shrink:
            raise
        print(f"palm simulate: the simulator failed: {failed}", file=sys.stderr)
        shrink_broken(task.path, failed, jobs=jobs, seconds=seconds, in_json=args.json)
        return HARNESS_FAILED
    finally:
        if trace is not None:
            trace.close()
    if args.json:
        print(json.dumps(as_json(result)), flush=True)
    else:
        show(result, task.path)
    if args.shrink and result.verdict is Verdict.BROKEN:
        shrink_broken(task.path, result, jobs=jobs, seconds=seconds, in_json=args.json)
    elif not args.json:
        keep_plain(task.path, result)
    return result.verdict.exit_code


def _open(path: str) -> IO[str]:
    return open(path, "w", encoding="utf-8")


def _write(file: IO[str], line: str) -> None:
    file.write(line)
    file.write("\n")


def _seed(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 19:
        raise argparse.ArgumentTypeError(f"{text!r:.100} is not a seed (a whole number from 0)")
    return int(text)


def jobs_option(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:5]) <= JOBS_MAX:
        raise argparse.ArgumentTypeError(f"{text!r:.100} is not a number of processes from 1 to {JOBS_MAX}")
    return int(text)


def _scale(text: str) -> float:
    try:
        scale = float(text)
    except ValueError:
        scale = 0.0
    if not 0.001 <= scale <= 1.0:
        raise argparse.ArgumentTypeError(f"{text!r:.100} is not a number from 0.001 to 1")
    return scale
def _seconds(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:6]) <= SHRINK_S_MAX:
        raise argparse.ArgumentTypeError(f"{text!r:.100} is not a number of seconds from 1 to {SHRINK_S_MAX}")
    return int(text)


def seeds_option(text: str) -> range:
    first, dots, last = text.partition("..")
    if not dots:
        raise argparse.ArgumentTypeError(f"{text!r:.100} is not a range of seeds, such as 1..200")
    seeds = range(_seed(first), _seed(last) + 1)
    if not seeds:
        raise argparse.ArgumentTypeError(f"{text!r:.100} holds no seed: the first is after the last")
    return seeds
