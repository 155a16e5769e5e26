"""What the verbs that ask a cluster share: the client, the route, how text and bytes meet, how errors are said."""

from __future__ import annotations

import argparse
import base64
import sys

from palm.cli.options import add_log_options, add_registry_options, endpoints, password, seconds, set_up_logging
from palm.client import Client
from palm.core.route import Route, parse_route
from palm.errors import HandlerFailed, PalmError

WAIT_S = 5.0
"""Who asks from a shell sits there: a wrong name should be said soon."""


def add_client_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON value on stdout")
    add_registry_options(parser)
    add_log_options(parser)


def add_wait_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--wait", type=seconds, default=WAIT_S, metavar="S", help="for servers to appear (default: %(default)g s)"
    )


def route(text: str) -> Route:
    """`my_server.f` or `first.f,second.g`."""
    try:
        return parse_route([part.strip() for part in text.split(",")])
    except PalmError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def open_client(args: argparse.Namespace, *, timeout: float | None = None, wait: float | None = None) -> Client:
    """A client for the options; the registry is asked at the first use. Raises BadRequest."""
    set_up_logging(args)
    return Client(
        endpoints(args) or None,
        namespace=args.namespace,
        timeout=timeout,
        ready_timeout=wait,
        user=args.user,
        password=password(),
        ca=args.ca,
        cert=args.cert,
        key=args.key,
        dead_letters=getattr(args, "dlq", "") or None,
        record=getattr(args, "record", "") or None,
    )


def stages(route: Route) -> list[str]:
    return [str(stage) for stage in route]


def say(verb: str, text: object) -> None:
    """One line for the person at the terminal."""
    print(f"palm {verb}: {text}", file=sys.stderr, flush=True)


def say_error(verb: str, error: Exception, *, debug: bool) -> None:
    """One line; what user code printed of its own error only on demand."""
    say(verb, str(error).replace("\n", " "))
    if debug and isinstance(error, HandlerFailed):
        print(error.remote_traceback, file=sys.stderr)


def as_json(result: bytes) -> dict[str, str]:
    """JSON knows no bytes: UTF-8 as `text`, anything else as `base64`."""
    try:
        return {"text": result.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(result).decode()}
