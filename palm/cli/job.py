"""`palm job`: a stream of messages, one a line; their results one a line, as they come."""

from __future__ import annotations

import argparse
import json
import os
import stat
import time
from contextlib import ExitStack
from io import RawIOBase
from typing import Any, BinaryIO, Iterator

from palm.cli.asking import (
    add_client_options,
    add_wait_option,
    as_json,
    open_client,
    route,
    say,
    say_error,
    stages,
)
from palm.cli.options import seconds
from palm.errors import PalmError
from palm.jobs import Job

ABOUT = "send each line of a file through a route and print the results, one a line"
READ_BYTES = 1 << 16
LONGEST_LINE = 32 * 1024 * 1024
"""The client's own limit: a longer line is handed over as it is, for the client to refuse, and not gathered on."""

FAILURES_LISTED = 100


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    parser = subparsers.add_parser("job", help=ABOUT, description=ABOUT)
    parser.add_argument("route", type=route, help="my_server.f, or several stages: first.f,second.g")
    parser.add_argument("--in", dest="source", default="-", metavar="FILE", help="one message a line (default: stdin)")
    parser.add_argument("--out", dest="target", default="-", metavar="FILE", help="one result a line (default: stdout)")
    parser.add_argument("--ordered", action="store_true", help="results in the order of the messages")
    parser.add_argument(
        "--errors",
        choices=["raise", "yield", "skip"],
        default="yield",
        help="a message that fails ends the job, is named on stderr, or is only counted (default: %(default)s)",
    )
    parser.add_argument("--timeout", type=seconds, default=None, metavar="S", help="for each next result")
    parser.add_argument("--record", default="", metavar="FILE", help="append what it does, for `palm calibrate`")
    add_wait_option(parser)
    add_client_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """0: every message was delivered; 1: one was not, or the job failed; 2: a file cannot be opened."""
    with ExitStack() as files:
        try:
            source = files.enter_context(_open_source(args.source))
            target = None
            if not (args.json and args.target == "-"):  # then the results go into the one object on stdout
                target = files.enter_context(_open_target(args.target))
        except OSError as error:
            say("job", f"{error.filename}: {error.strerror}")
            return 2
        return _run(args, source, target)


def _run(args: argparse.Namespace, source: RawIOBase, target: BinaryIO | None) -> int:
    begin = time.monotonic()
    collected: list[dict[str, str]] = []
    failures: list[dict[str, Any]] = []
    job: Job | None = None
    code = 0
    try:
        with open_client(args, wait=args.wait) as client:
            job = client.job(_lines(source), stages(args.route), ordered=args.ordered, errors=args.errors)
            try:
                for result in client.submit(job, timeout=args.timeout, progress=not args.json):
                    if isinstance(result, PalmError):
                        _tell(result, failures, args)
                    elif target is None:
                        collected.append(as_json(result))
                    else:
                        target.write(result + b"\n")
            finally:
                # A ledger that says what became of the rest too: cancelled, and so ended.
                client.close()
    except (PalmError, OSError, TypeError) as error:
        if isinstance(error, BrokenPipeError):
            raise
        say_error("job", error, debug=args.debug)
        code = 1
    finally:
        elapsed_s = time.monotonic() - begin
        if job is not None and not args.json:
            say("job", f"{job.ledger}  ({_rate(job, elapsed_s):,.0f}/s)")
    if args.json and job is not None:
        _print_json(args, job, elapsed_s, failures, collected if target is None else None)
    ledger = job.ledger if job is not None else None
    if ledger is None or ledger.delivered < ledger.sent:
        code = 1
    return code


def _tell(error: PalmError, failures: list[dict[str, Any]], args: argparse.Namespace) -> None:
    sequence = getattr(error, "sequence", None)
    line = None if sequence is None else sequence + 1
    if len(failures) < FAILURES_LISTED:
        failures.append({"line": line, "error": type(error).__name__, "text": str(error)})
    say_error("job", error if line is None else PalmError(f"line {line}: {error}"), debug=False)


def _print_json(
    args: argparse.Namespace,
    job: Job,
    elapsed_s: float,
    failures: list[dict[str, Any]],
    results: list[dict[str, str]] | None,
) -> None:
    ledger = job.ledger
    value: dict[str, Any] = {
        "route": stages(args.route),
        "messages": ledger.sent,
        "seconds": round(elapsed_s, 6),
        "messages_per_s": round(_rate(job, elapsed_s), 1),
        "ledger": ledger._asdict(),
        "failures": failures,
    }
    if results is not None:
        value["results"] = results
    print(json.dumps(value))


def _rate(job: Job, elapsed_s: float) -> float:
    return job.ledger.sent / elapsed_s if elapsed_s else 0.0


def _open_source(name: str) -> RawIOBase:
    """Unbuffered: a thread may still wait in `read` when the program ends, and would hold a buffer's lock."""
    return open(0, "rb", buffering=0, closefd=False) if name == "-" else open(name, "rb", buffering=0)


def _open_target(name: str) -> BinaryIO:
    """Buffered only where nobody waits for the lines."""
    if name != "-":
        return open(name, "wb")
    buffering = -1 if stat.S_ISREG(os.fstat(1).st_mode) else 0
    return open(1, "wb", buffering=buffering, closefd=False)


def _lines(source: RawIOBase) -> Iterator[bytes]:
    """Lines without their ends, as soon as they are there."""
    rest = b""
    while chunk := source.read(READ_BYTES):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
        if len(rest) > LONGEST_LINE:
            yield rest
            return
    if rest:
        yield rest
