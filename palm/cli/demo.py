"""`palm demo`: a whole cluster at work on this machine, and gone again."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import sysconfig
from types import FrameType
from typing import TYPE_CHECKING, Any

from palm.errors import PalmError

if TYPE_CHECKING:
    from palm.demo.run import Report

ABOUT = "start a small cluster, stream the standard library through it, check the totals, and clean up"
TOP = 8


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    parser = subparsers.add_parser("demo", help=ABOUT, description=ABOUT)
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """0: the totals match those of one process and the ledger adds up; 1: they do not, or something did not start."""
    from palm.demo.run import run_demo

    signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        report = run_demo(progress=not args.json)
    except (PalmError, OSError) as error:
        print(f"palm demo: {error}", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps(_entry(report)))
    else:
        _print(report)
    return 0 if report.holds else 1


def _as_interrupt(number: int, frame: FrameType | None) -> None:
    """SIGTERM ends the demo as Ctrl-C does: with its processes."""
    raise KeyboardInterrupt


def _entry(report: Report) -> dict[str, Any]:
    return {
        "messages": report.messages,
        "seconds": round(report.seconds, 3),
        "messages_per_s": round(report.messages_per_s, 1),
        "totals_match": report.totals_match,
        "ledger": report.ledger._asdict(),
    }


def _print(report: Report) -> None:
    from rich.console import Console
    from rich.table import Table

    totals, root = report.totals, sysconfig.get_path("stdlib")
    table = Table(title=f"the standard library's {TOP} files with the most branches", header_style="bold")
    table.add_column("file", overflow="fold")
    table.add_column("functions", justify="right")
    table.add_column("branches", justify="right")
    table.add_column("longest function", overflow="fold")
    for path, entry in totals.top("branches", TOP):
        longest = f"{entry['longest']} ({entry['longest_lines']} lines)" if entry["longest"] else ""
        table.add_row(os.path.relpath(path, root), f"{entry['functions']:,}", f"{entry['branches']:,}", longest)
    table.add_section()
    table.add_row(f"all {len(totals.scores):,}", f"{totals.sum('functions'):,}", f"{totals.sum('branches'):,}", "")
    console = Console(highlight=False)
    console.print(table)
    console.print(f"{report.messages:,} messages in {report.seconds:.1f} s: {report.messages_per_s:,.0f} messages/s")
    console.print(f"ledger: {report.ledger}", soft_wrap=True)
    console.print(f"{len(totals.unparsed)} files are no Python of today: they failed, as they do in one process")
    if report.holds:
        console.print("totals match the same work done in one process; the ledger adds up")
    else:
        console.print("[red]totals differ from the same work done in one process, or the ledger does not add up[/red]")
