"""`palm run`: serve a class from a file or a module, in one process or several."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from palm.cli.loading import Announced, load_server
from palm.cli.options import (
    add_log_options,
    add_registry_options,
    endpoints,
    name,
    password,
    seconds,
    set_up_logging,
    workers,
)
from palm.errors import PalmError

ABOUT = "run a server until Ctrl-C, which drains it (a second one stops at once)"


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    parser = subparsers.add_parser("run", help=ABOUT, description=ABOUT)
    parser.add_argument("server", help="file.py, file.py:Class or module:Class")
    parser.add_argument(
        "--name", type=name, default=None, help="server name (default: what the file says, or the class's)"
    )
    parser.add_argument(
        "--functions", default="", metavar="F[,F...]", help="functions that may be called (default: all public)"
    )
    _add_serving_options(parser)
    parser.set_defaults(run=run)


def make_script_parser(server_name: str) -> argparse.ArgumentParser:
    """For `python server.py run ...`."""
    parser = argparse.ArgumentParser(description=f"server {server_name!r} of a PALM cluster")
    parser.add_argument("verb", choices=["run"], help=ABOUT)
    _add_serving_options(parser)
    return parser


def _add_serving_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-p", "--ip", default="", help="address to listen on (default: the one that faces the registry)"
    )
    parser.add_argument(
        "--advertise", default="", metavar="HOST", help="address that others dial, where it is another one"
    )
    parser.add_argument(
        "-b",
        "--db",
        default="",
        metavar="DIR",
        help="directory for its copy of the store, which outlasts it then, and for data of its own (self.db)",
    )
    parser.add_argument("--workers", type=workers, default=1, metavar="N", help="processes, under one supervisor")
    parser.add_argument(
        "--drain", type=seconds, default=30.0, metavar="S", help="how long to drain (default: %(default)g s)"
    )
    parser.add_argument(
        "--record", default="", metavar="FILE", help="append what it does to this file, for `palm calibrate`"
    )
    add_registry_options(parser)
    add_log_options(parser)


def run(args: argparse.Namespace) -> int:
    try:
        announced = load_server(args.server)
    except PalmError as error:
        print(f"palm run: {error}", file=sys.stderr)
        return 2
    named = tuple(part.strip() for part in args.functions.split(",") if part.strip())
    return run_announced(Announced(announced.server, args.name or announced.name, named or announced.functions), args)


def run_announced(announced: Announced, args: argparse.Namespace) -> int:
    # Imported late: loading errors come at once, and a supervisor's children pay for it only once each.
    from palm.core.kinds import PARALLEL, processes
    from palm.gateway.process import ServerOptions, serve_process
    from palm.gateway.supervisor import supervise

    set_up_logging(args)
    try:
        options = ServerOptions(
            name=announced.name,
            functions=announced.functions,
            etcd=endpoints(args),
            namespace=args.namespace,
            ip=args.ip,
            advertise=args.advertise,
            db=args.db,
            user=args.user,
            password=password(),
            ca=args.ca,
            cert=args.cert,
            key=args.key,
            drain_s=args.drain,
            record=args.record,
        )
        if args.workers > 1:
            parallel = getattr(announced.server, "kind", "") in PARALLEL
            return supervise(processes(args.workers, parallel=parallel), options)
    except PalmError as error:
        print(f"palm run: {error}", file=sys.stderr)
        return 2
    return serve_process(announced.server, options)
