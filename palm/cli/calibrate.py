"""`palm calibrate`: fits the simulator's times to the recording of a real run, and says how well they fit."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from palm.errors import BadRecord

ABOUT = "fit the simulator's delays, service times and costs to the recording of a real run"
BAD_FILE = 3


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    parser = subparsers.add_parser("calibrate", help=ABOUT, description=ABOUT)
    parser.add_argument(
        "recording", nargs="+", help="from `palm run --record FILE` or `palm simulate --world real --trace FILE`"
    )
    parser.add_argument("--out", default="", metavar="FILE", help="write what a scenario takes as `calibration: FILE`")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """0: fitted; 3: a file that is no recording, or holds too little. The fragment goes to stdout, or with --out to a
    file, and what is known of its quality to stdout."""
    from palm.observe.record import read
    from palm.sim.calibrate import as_yaml, calibrate, report

    try:
        with ExitStack() as opened:
            found = calibrate(read({name: opened.enter_context(open(name, "rb")) for name in args.recording}))
        if not args.out:
            sys.stdout.write(as_yaml(found))
            return 0
        with open(args.out, "w", encoding="utf-8") as out:
            out.write(as_yaml(found))
    except BadRecord as error:
        print(f"palm calibrate: {error}", file=sys.stderr)
        return BAD_FILE
    except OSError as error:
        print(f"palm calibrate: {error.filename}: {error.strerror}", file=sys.stderr)
        return BAD_FILE
    print(*report(found), sep="\n")
    print(f"written to {args.out}: a scenario beside it takes it as `calibration: {Path(args.out).name}`")
    return 0
