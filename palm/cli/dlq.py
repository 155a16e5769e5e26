"""`palm dlq`: the dead letters that this machine's clients have kept: list, show, replay and purge them."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any, NamedTuple

from palm.cli.asking import add_client_options, add_wait_option, as_json, open_client, say, say_error
from palm.cli.options import name, seconds
from palm.cli.ps import age
from palm.client import Client
from palm.core.route import parse_route
from palm.errors import BadRequest, DeadLettered, MessageFailed, PalmError
from palm.letters import Kept, Letters, default_folder, plain

ABOUT = "dead letters: list, show, replay or purge what clients on this machine have kept"


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    parser = subparsers.add_parser("dlq", help=ABOUT, description=ABOUT)
    verbs = parser.add_subparsers(metavar="ls|show|replay|purge", required=True)
    ls = verbs.add_parser("ls", help="one line for each")
    _add_store_options(ls)
    ls.set_defaults(run=_safely(_ls))
    show = verbs.add_parser("show", help="one with its route, its evidence and its payload")
    show.add_argument("id", type=int)
    show.add_argument("--payload", action="store_true", help="print the payload's bytes, and nothing else")
    _add_store_options(show)
    show.set_defaults(run=_safely(_show))
    replay = verbs.add_parser(
        "replay", help="stream them along their routes again, print the results, and remove what was delivered"
    )
    _add_choice(replay)
    replay.add_argument("--timeout", type=seconds, default=60.0, metavar="S", help="for each next result")
    add_wait_option(replay)
    add_client_options(replay)
    replay.add_argument("--dlq", default="", metavar="DIR", help="where they are kept")
    replay.set_defaults(run=_safely(_replay))
    purge = verbs.add_parser("purge", help="remove them")
    _add_choice(purge)
    _add_store_options(purge)
    purge.set_defaults(run=_safely(_purge))


def _add_store_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON value on stdout")
    parser.add_argument("--namespace", type=name, default="palm", help="the cluster's name (default: %(default)s)")
    parser.add_argument("--dlq", default="", metavar="DIR", help=f"where they are kept (default: {default_folder()})")
    parser.set_defaults(debug=False)


def _add_choice(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ids", type=int, nargs="*", metavar="ID")
    parser.add_argument("--all", action="store_true", help="all of the namespace")


def _safely(verb: Any) -> Any:
    """What it raises on purpose is one line, and 1."""

    def run(args: argparse.Namespace) -> int:
        try:
            code: int = verb(args)
        except PalmError as error:
            say_error("dlq", error, debug=args.debug)
            return 1
        return code

    return run


def _store(args: argparse.Namespace) -> Letters:
    return Letters(args.dlq or default_folder(), args.namespace)


def _chosen(args: argparse.Namespace) -> list[Kept]:
    if bool(args.ids) == args.all:
        raise BadRequest("name the letters by their ids, or say --all (`palm dlq ls` lists them)")
    return _store(args).all() if args.all else _store(args).get(args.ids)


# -- the verbs --------------------------------------------------------------------------------------------------------


def _ls(args: argparse.Namespace) -> int:
    letters = _store(args).all()
    if args.json:
        print(json.dumps([_entry(one) for one in letters]))
        return 0
    for one in letters:
        since = age(time.time() - one.at_s)
        print(f"{one.id:>6}  {since:>7}  {len(one.letter.payload):>9} B  {_route(one)}  {one.letter.evidence}")
    if not letters:
        say("dlq", f"no dead letters of namespace {args.namespace!r} in {_store(args).path}")
    return 0


def _show(args: argparse.Namespace) -> int:
    [one] = _store(args).get([args.id])
    if args.payload:
        sys.stdout.buffer.write(one.letter.payload)
        sys.stdout.buffer.flush()
    elif args.json:
        print(json.dumps(_entry(one) | {"payload": as_json(one.letter.payload)}))
    else:
        for key, value in _entry(one).items():
            print(f"{key:>10}  {value if isinstance(value, str) else json.dumps(value)}")
        print(f"{'payload':>10}  {one.letter.payload[:200]!r}{' ...' if len(one.letter.payload) > 200 else ''}")
    return 0


def _purge(args: argparse.Namespace) -> int:
    removed = _store(args).remove([one.id for one in _chosen(args)])
    if args.json:
        print(json.dumps({"removed": removed}))
    else:
        say("dlq", f"{removed} removed")
    return 0


class _Replayed(NamedTuple):
    delivered: list[int]
    dead_again: list[int]
    """Kept anew, with the new evidence."""
    failed: dict[int, str]


def _replay(args: argparse.Namespace) -> int:
    """0: all were delivered; 1: one was not."""
    routes: dict[str, list[Kept]] = {}
    for one in _chosen(args):
        routes.setdefault(json.dumps(plain(one.letter.route)), []).append(one)
    total = _Replayed([], [], {})
    results: list[dict[str, str]] = []
    with open_client(args, wait=args.wait) as client:
        for letters in routes.values():
            try:
                _stream(client, letters, args, total, results)
            finally:
                _store(args).remove(total.delivered + total.dead_again)
    if args.json:
        print(json.dumps(total._asdict() | {"results": results}))
    else:
        for number, text in total.failed.items():
            say("dlq", f"{number}: {text}")
        delivered, dead, failed = map(len, total)
        say("dlq", f"{delivered} delivered, {dead} dead again, {failed} failed and kept")
    return 0 if not (total.dead_again or total.failed) else 1


def _stream(
    client: Client, letters: list[Kept], args: argparse.Namespace, total: _Replayed, results: list[dict[str, str]]
) -> None:
    """One job. What has been delivered when it breaks off is not known by letter: all of them stay then."""
    job = client.job([one.letter.payload for one in letters], letters[0].letter.route, errors="yield")
    bad: dict[int, PalmError] = {}
    for result in client.submit(job, timeout=args.timeout):
        if isinstance(result, MessageFailed) and result.sequence is not None:
            bad[result.sequence] = result
        elif isinstance(result, PalmError):
            raise result
        elif args.json:
            results.append(as_json(result))
        else:
            sys.stdout.buffer.write(result + b"\n")
    sys.stdout.buffer.flush()
    for sequence, one in enumerate(letters):
        error = bad.get(sequence)
        if error is None:
            total.delivered.append(one.id)
        elif isinstance(error, DeadLettered):
            total.dead_again.append(one.id)
        else:
            total.failed[one.id] = str(error)


def _route(one: Kept) -> str:
    return " -> ".join(map(str, parse_route(one.letter.route)))


def _entry(one: Kept) -> dict[str, Any]:
    return {
        "id": one.id,
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(one.at_s)),
        "namespace": one.namespace,
        "client": one.client,
        "job": one.job,
        "sequence": one.letter.sequence,
        "route": plain(one.letter.route),
        "bytes": len(one.letter.payload),
        "evidence": one.letter.evidence,
    }
