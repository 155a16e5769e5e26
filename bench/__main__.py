"""`python -m bench [NAME] [--json]`: measure one workload or all, and say how PALM stands beside raw pyzmq."""

from __future__ import annotations

import argparse
import json
import sys
from importlib import import_module

NAMES = (
    *("echo", "stream", "chain", "butterfly", "dispatch", "loss"),
    *("large", "startup", "memory", "butterfly_memory"),
    *("sim", "sim_nodes", "sim_rate", "sim_seeds", "sim_memory", "predict"),
)
"""One module of that name each, with `measure`."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("name", nargs="?", choices=(*NAMES, "all"), default="all")
    parser.add_argument("--json", action="store_true", help="one object on stdout; a list of them for all")
    parser.add_argument("--rounds", type=int, default=5, help="of each side, in turn (default: %(default)s)")
    parser.add_argument("--smoke", action="store_true", help="one round at a tiny size: it runs, no more is shown")
    args = parser.parse_args()
    figures = []
    rounds = 1 if args.smoke else max(1, args.rounds)
    for name in NAMES if args.name == "all" else (args.name,):
        figure = import_module(f"bench.{name}").measure(smoke=args.smoke, rounds=rounds)
        figures.append(figure.as_json())
        print(figure.as_line(), file=sys.stderr if args.json else sys.stdout, flush=True)
    if args.json:
        print(json.dumps(figures if args.name == "all" else figures[0], indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
