"""`palm scenario`: scenario files looked at without running them, and what they may contain."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from palm.errors import ScenarioError

ABOUT = "check scenario files, or print their JSON Schema"
BAD_FILE = 3


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    parser = subparsers.add_parser("scenario", help=ABOUT, description=ABOUT)
    verbs = parser.add_subparsers(metavar="WHAT", required=True)
    check = verbs.add_parser("check", help="read files and say the first thing wrong with each")
    check.add_argument("file", nargs="+", help="a scenario's YAML file")
    check.set_defaults(run=run_check)
    schema = verbs.add_parser("schema", help="print the JSON Schema of scenario files, for editors")
    schema.set_defaults(run=run_schema)


def run_check(args: argparse.Namespace) -> int:
    """0: all can be run; 3: at least one cannot."""
    from palm.sim.scenario import load

    code = 0
    for file in args.file:
        try:
            scenario = load(file)
        except ScenarioError as error:
            print(f"palm scenario: {error}", file=sys.stderr)
            code = BAD_FILE
        else:
            jobs, steps = len(scenario.load), len(scenario.script)
            print(f"{file}: {scenario.name}, {jobs} job{'s' * (jobs != 1)}, {steps} step{'s' * (steps != 1)}")
    return code


def run_schema(args: argparse.Namespace) -> int:
    from palm.sim.scenario import schema

    print(json.dumps(schema(), indent=2))
    return 0
