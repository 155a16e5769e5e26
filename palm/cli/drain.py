"""`palm drain`: have instances finish what they have, and leave."""

from __future__ import annotations

import argparse
import json
from typing import Any

from palm.cli.asking import add_client_options, open_client, say, say_error
from palm.cli.options import name, seconds
from palm.errors import PalmError
from palm.runtime.draining import Departure

ABOUT = "have the instances of a server finish what they have, and leave, as SIGTERM does"


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    parser = subparsers.add_parser(
        "drain",
        help=ABOUT,
        description=f"{ABOUT}. A supervisor (palm run --workers, systemd) starts new ones in their place.",
    )
    parser.add_argument("server", type=name, help="the server's name")
    parser.add_argument("--instance", default="", metavar="ID", help="only this one: its id, or how that begins")
    parser.add_argument(
        "--wait", type=seconds, default=35.0, metavar="S", help="for them to leave (default: %(default)g s)"
    )
    add_client_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """0: all of them have left; 1: one has not within --wait, or there is none."""
    try:
        with open_client(args) as client:
            departures = client.drain(args.server, instance=args.instance, timeout=args.wait)
    except PalmError as error:
        say_error("drain", error, debug=args.debug)
        return 1
    if args.json:
        print(json.dumps([_entry(one) for one in departures]))
    else:
        for one in departures:
            say("drain", f"{one.instance.server} {one.instance.peer} on {one.instance.host}: {_state(one)}")
    return 0 if all(one.left for one in departures) else 1


def _entry(one: Departure) -> dict[str, Any]:
    return {"server": one.instance.server, "instance": one.instance.peer, "heard": one.heard, "left": one.left}


def _state(one: Departure) -> str:
    if one.left:
        return "has left"
    if one.heard:
        return "drains, and has not left yet (look again with `palm ps`)"
    return "did not answer (is it of an older release, or not to be reached?)"
