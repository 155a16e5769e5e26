"""The `palm` command: finds the verb and hands over."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from typing import NoReturn, Sequence

from palm.gateway.children import obey_parent

VERDICTS = ("simulate", "scenario", "calibrate", "plan")
"""Verbs whose exit codes are verdicts: there 2 has a meaning of its own, and what cannot be run is 3."""

VERBS = ("run", "call", "job", "store", "ps", "drain", "dlq", "demo", "registry", *VERDICTS)
"""One module in `palm.cli` for each, with `add_parser` and `run`."""


class _OneLine(argparse.ArgumentParser):
    """A wrong command line is one line, and exit code 3, as anything else that cannot be run."""

    def error(self, message: str) -> NoReturn:
        self.exit(3, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """0: done; 1: it failed, with one line on stderr; 2: a wrong command line; `VERDICTS` have codes of their own."""
    obey_parent()
    arguments = list(sys.argv[1:] if argv is None else argv)
    # Only the verb that was asked for is imported: `palm run` should not wait for what `palm simulate` needs.
    wanted = next((argument for argument in arguments if argument in VERBS), None)
    make = _OneLine if wanted in VERDICTS else argparse.ArgumentParser
    parser = make(prog="palm", description="Clusters of streaming RPC servers that lose no message.")
    subparsers = parser.add_subparsers(metavar="VERB", required=True)
    for verb in VERBS if wanted is None else (wanted,):
        import_module(f"palm.cli.{verb}").add_parser(subparsers)
    args = parser.parse_args(arguments)
    try:
        code: int = args.run(args)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Nobody reads what Python would still flush at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code
