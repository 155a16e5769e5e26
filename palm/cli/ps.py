"""`palm ps`: who lives in the cluster, and how each instance says that it stands."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from palm.cli.asking import add_client_options, open_client, say, say_error
from palm.errors import PalmError
from palm.runtime.survey import Standing

ABOUT = "show the live instances: functions, host, age, in flight, rate"

PIPE_WIDTH = 200


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    parser = subparsers.add_parser("ps", help=ABOUT, description=ABOUT)
    add_client_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """0, also when nobody lives; 1 where the registry cannot be asked."""
    try:
        with open_client(args) as client:
            standings = client.survey()
    except PalmError as error:
        say_error("ps", error, debug=args.debug)
        return 1
    entries = [_entry(standing, time.time()) for standing in standings]
    if args.json:
        print(json.dumps(entries))
    elif entries:
        _print_table(entries)
    else:
        say("ps", f"no server is registered in namespace {args.namespace!r} (start one with `palm run`)")
    return 0


def _entry(standing: Standing, wall_s: float) -> dict[str, Any]:
    """One instance. What only the instance itself can know is null where it does not answer."""
    instance, pong = standing.instance, standing.pong
    age_s = wall_s - instance.started_ms / 1e3 if pong is None else pong.uptime_us / 1e6
    return {
        "server": instance.server,
        "instance": instance.peer,
        "functions": list(instance.functions),
        "kind": instance.kind,
        "role": instance.role,
        "term": instance.term,
        "host": instance.host,
        "pid": instance.pid,
        "address": instance.address,
        "age_s": round(max(0.0, age_s), 1),
        "state": standing.state,
        "detail": standing.detail,
        "silent_s": round(standing.silent_s, 1),
        "in_flight": None if pong is None else pong.in_flight,
        "handled": None if pong is None else pong.handled,
        "failed": None if pong is None else pong.failed,
        "duplicates": None if pong is None else pong.duplicates,
        "bad_frames": None if pong is None else pong.bad_frames,
        "rate_per_s": None if standing.rate is None else round(standing.rate, 1),
    }


def _print_table(entries: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("server", "instance", "host"):
        table.add_column(name, overflow="fold")
    for name in ("pid", "age", "in flight", "rate/s"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    if any(entry["role"] for entry in entries):
        table.add_column("role", no_wrap=True)
    table.add_column("functions", overflow="fold")
    for entry in entries:
        table.add_row(
            entry["server"],
            entry["instance"],
            entry["host"],
            str(entry["pid"]),
            age(entry["age_s"]),
            *("?" if number is None else f"{number:,.0f}" for number in (entry["in_flight"], entry["rate_per_s"])),
            _colour(entry["state"]),
            *([_role(entry)] if any(one["role"] for one in entries) else []),
            ", ".join(entry["functions"]),
        )
    # Through a pipe there is no width to fit.
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)
    console.print(table)
    for entry in entries:
        if entry["detail"]:
            console.print(f"{entry['server']} {entry['instance']}: {entry['detail']}", markup=False, soft_wrap=True)


def _role(entry: dict[str, Any]) -> str:
    """`leader (term 17)`; nothing for servers without roles."""
    return f"{entry['role']} (term {entry['term']})" if entry["term"] else str(entry["role"])


def _colour(state: str) -> str:
    style = {"stuck": "red", "unreachable": "red", "refuses": "red", "busy": "yellow", "draining": "yellow"}.get(state)
    return f"[{style}]{state}[/{style}]" if style else state


def age(seconds: float) -> str:
    """In the largest unit that fits: `12s`, `3m20s`, `5h02m`, `2d04h`."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02}h"
