"""`palm registry`: etcd's API in one process, for development; nothing is kept when it ends."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from typing import Any

ABOUT = "run an etcd of our own in this process: for development and tests, in memory only"


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    parser = subparsers.add_parser("registry", help=ABOUT, description=ABOUT)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=2379, help="0: any free one (default: %(default)s)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM, then 0; 1 with one line on stderr when the address cannot be had."""
    try:
        asyncio.run(_serve(args.host, args.port))
    except OSError as error:
        print(f"palm registry: {error.strerror}", file=sys.stderr)
        return 1
    return 0


async def _serve(host: str, port: int) -> None:
    # Imported late: grpc would cost every other verb its start-up time.
    from palm.gateway.registry import serve

    serving = asyncio.ensure_future(serve(host, port, lambda bound: _say_ready(host, bound)))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, serving.cancel)
    try:
        await serving
    except asyncio.CancelledError:
        return


def _say_ready(host: str, port: int) -> None:
    print(f"palm registry is ready on {host}:{port} (in memory only; Ctrl-C ends it)", flush=True)


def _port(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port (0 to 65535)")
    return int(text)
