"""`palm call`: one message, and its result on stdout."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from typing import Any

from palm.cli.asking import (
    add_client_options,
    add_wait_option,
    as_json,
    open_client,
    route,
    say_error,
    stages,
)
from palm.cli.options import seconds
from palm.errors import PalmError

ABOUT = "call a function with one message and print its result"


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    parser = subparsers.add_parser("call", help=ABOUT, description=ABOUT)
    parser.add_argument("route", type=route, help="my_server.f, or several stages: first.f,second.g")
    parser.add_argument("text", help="the message; '-' reads it from stdin")
    parser.add_argument(
        "--timeout", type=seconds, default=60.0, metavar="S", help="for the result (default: %(default)g s)"
    )
    add_wait_option(parser)
    add_client_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """0: the result's bytes went to stdout, with a line's end on a terminal; 1: an error went to stderr."""
    try:
        payload = sys.stdin.buffer.read() if args.text == "-" else os.fsencode(args.text)
        with open_client(args, timeout=args.timeout, wait=min(args.wait, args.timeout)) as client:
            begin = time.monotonic()
            result = client.call(stages(args.route), payload)
            elapsed_s = time.monotonic() - begin
    except PalmError as error:
        say_error("call", error, debug=args.debug)
        return 1
    if args.json:
        print(json.dumps({"route": stages(args.route), "result": as_json(result), "seconds": round(elapsed_s, 6)}))
        return 0
    if sys.stdout.isatty() and not result.endswith(b"\n"):
        result += b"\n"
    sys.stdout.buffer.write(result)
    sys.stdout.buffer.flush()
    return 0
