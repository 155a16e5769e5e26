"""`palm simulate`: run a scenario in the simulator; the exit code is its verdict."""

from __future__ import annotations

import argparse
import json
import sys
from typing import IO, Any

from palm.errors import HarnessError, ScenarioError

ABOUT = "run a scenario file in the simulator (exit code: 0 holds, 1 broken, 2 inconclusive, 3 the harness failed)"
HARNESS_FAILED = 3


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    parser = subparsers.add_parser("simulate", help=ABOUT, description=ABOUT)
    parser.add_argument("scenario", help="the scenario's YAML file")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--seed", type=_seed, metavar="N", help="the seed (default: the file's first pinned one)")
    which.add_argument("--seeds", type=_seeds, metavar="A..B", help="every seed from A up to and including B")
    parser.add_argument("--json", action="store_true", help="one JSON object for each seed, on a line of its own")
    parser.add_argument("--trace", metavar="FILE", help="write every frame of the run as lines of JSON")
    parser.add_argument("--guard", action="store_true", help="run each seed in two unlike processes and compare")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """The worst verdict of all seeds, as the exit code."""
    from palm.sim.scenario.scenario import load

    try:
        scenario = load(args.scenario)
        seeds = args.seeds or range(args.seed, args.seed + 1) if args.seed is not None or args.seeds else None
        if args.guard:
            from palm.cli.guarding import guard_all

            return guard_all(args.scenario, seeds or scenario.runs.seeds.pinned[:1], as_json=args.json)
        codes = [
            _run_seed(args, scenario, seed, trace=_open(args.trace) if args.trace else None)
            for seed in seeds or scenario.runs.seeds.pinned[:1]
        ]
    except ScenarioError as error:
        print(f"palm simulate: {error}", file=sys.stderr)
        return HARNESS_FAILED
    except HarnessError as error:
        print(f"palm simulate: the simulator failed: {error}", file=sys.stderr)
        return HARNESS_FAILED
    except OSError as error:
        print(f"palm simulate: {error.filename}: {error.strerror}", file=sys.stderr)
        return HARNESS_FAILED
    return max(codes, key=[0, 2, 1].index)


def _run_seed(args: argparse.Namespace, scenario: Any, seed: int, trace: IO[str] | None) -> int:
    from palm.cli.verdict import as_json, show
    from palm.sim.simulation import run as run_scenario

    try:
        result = run_scenario(scenario, seed, trace=None if trace is None else lambda line: _write(trace, line))
    finally:
        if trace is not None:
            trace.close()
    if args.json:
        print(json.dumps(as_json(result)), flush=True)
    else:
        show(result, args.scenario)
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


def _seeds(text: str) -> range:
    first, dots, last = text.partition("..")
    if not dots:
        raise argparse.ArgumentTypeError(f"{text!r:.100} is not a range of seeds, such as 1..200")
    seeds = range(_seed(first), _seed(last) + 1)
    if not seeds:
        raise argparse.ArgumentTypeError(f"{text!r:.100} holds no seed: the first is after the last")
    return seeds
