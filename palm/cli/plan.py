"""`palm plan`: what more workers, instances, window or rate would do to a scenario, as a table and a picture."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING, Any

from palm.cli.simulate import jobs_option, seeds_option
from palm.errors import HarnessError, ScenarioError, did_you_mean

if TYPE_CHECKING:
    from palm.sim.plan import Plan, Point
    from palm.sim.scenario.scenario import Scenario

ABOUT = "simulate a scenario with several values of one number: throughput, latency, and where more helps no more"
BAD_FILE = 3


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    parser = subparsers.add_parser("plan", help=ABOUT, description=ABOUT)
    parser.add_argument("scenario", help="its YAML file; `calibration: FILE` in it makes it like a machine you have")
    parser.add_argument(
        "--vary",
        required=True,
        metavar="WHAT=VALUES",
        help="workers, instances, window or rate; of several servers or jobs, NAME.workers; values: 1..16, "
        "100..1000:100 or 1,2,4,8",
    )
    parser.add_argument("--job", default="", metavar="ID", help="count the messages of this job (default: of all)")
    parser.add_argument("--seeds", type=seeds_option, metavar="A..B", help="take medians (default: the first pinned)")
    parser.add_argument("--jobs", type=jobs_option, metavar="N", help="processes for the runs (default: one a core)")
    parser.add_argument("--svg", default="", metavar="FILE", help="draw it, too")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """0: done; 2: there are runs that do not hold, or do not end; 3: a scenario or an option that is none, or the
    simulator failed."""
    from palm.sim.plan import Plan, parse_vary
    from palm.sim.plan import plan as points_of
    from palm.sim.plan_svg import as_svg
    from palm.sim.scenario.scenario import load

    try:
        scenario = load(args.scenario)
        vary = parse_vary(args.vary, scenario, args.scenario)
        _check_job(args, scenario)
        seeds = scenario.runs.seeds.pinned[:1] if args.seeds is None else args.seeds
        jobs = min(args.jobs or len(os.sched_getaffinity(0)), len(vary.values) * len(seeds))
        points: list[Point] = []
        if not args.json:
            print(f"{vary.key:>9}  {'messages/s':>11} {'p50 ms':>10} {'p99 ms':>10}", flush=True)
        for point in points_of(args.scenario, vary, seeds, job=args.job, jobs=jobs):
            points.append(point)
            if not args.json:
                print(_row(point), flush=True)
        plan = Plan(vary=vary, points=tuple(points))
        if args.svg:
            with open(args.svg, "w", encoding="utf-8") as file:
                file.write(as_svg(plan, f"{scenario.name}: {vary.of}.{vary.key}"))
    except (ScenarioError, HarnessError) as error:
        print(f"palm plan: {error}", file=sys.stderr)
        return BAD_FILE
    except OSError as error:
        print(f"palm plan: {error.filename}: {error.strerror}", file=sys.stderr)
        return BAD_FILE
    print(json.dumps(_as_json(plan)) if args.json else _in_words(plan))
    return 0 if all(point.is_whole for point in points) else 2


def _check_job(args: argparse.Namespace, scenario: Scenario) -> None:
    known = [job.id for job in scenario.load]
    if args.job and args.job not in known:
        hint = did_you_mean(args.job, known) or f" (it has {', '.join(known)})"
        raise ScenarioError(f"{args.scenario}: --job: expected a job of this scenario, found {args.job!r:.100}{hint}")


def _row(point: Point) -> str:
    note = "" if point.verdict.exit_code == 0 else f"  {point.verdict.value}"
    if point.delivered < point.asked:
        note += f"  {point.delivered} of {point.asked} messages came: see palm simulate, or raise clock.limit"
    return f"{point.value:>9}  {point.throughput:>11.1f} {point.p50 / 1e6:>10.2f} {point.p99 / 1e6:>10.2f}{note}"


def _in_words(plan: Plan) -> str:
    if plan.knee is not None:
        return f"knee      {plan.vary.key} {plan.knee}: beyond it, throughput grows much less"
    first, last = plan.points[0].throughput, plan.points[-1].throughput
    if len(plan.points) < 3:
        return "knee      none: it takes three values to see one"
    return f"knee      none: throughput {'grows to the end' if last > 1.1 * first else 'does not grow'}"


def _as_json(plan: Plan) -> dict[str, Any]:
    return {
        "vary": plan.vary.key,
        "of": plan.vary.of,
        "knee": plan.knee,
        "points": [
            {
                "value": point.value,
                "throughput": round(point.throughput, 3),
                "p50_ms": point.p50 / 1e6,
                "p99_ms": point.p99 / 1e6,
                "delivered": point.delivered,
                "asked": point.asked,
                "verdict": point.verdict.value,
            }
            for point in plan.points
        ],
    }
