"""`palm store`: read, write and watch the keys of a server's store."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

from palm.cli.asking import add_client_options, add_wait_option, as_json, open_client, say, say_error
from palm.cli.options import name, seconds
from palm.errors import PalmError
from palm.store import Change, Store, StoreSession

ABOUT = "read, write and watch the keys of a server's store"


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    parser = subparsers.add_parser("store", help=ABOUT, description=ABOUT)
    parser.add_argument("server", type=name, help="the server's name")
    verbs = parser.add_subparsers(dest="verb", metavar="OPERATION", required=True)
    for verb, about, arguments in (
        ("get", "print a value; exit code 1 where there is no such key", ("key",)),
        ("set", "write a value, and print its key", ("value", "key?")),
        ("append", "put a value behind what the key has, and print the length of it all", ("value", "key")),
        ("delete", "delete a key; exit code 1 where there was none", ("key",)),
        ("list", "print the keys", ("prefix?",)),
        ("watch", "print changes as they happen, until Ctrl-C", ("prefix?",)),
        ("drop", "delete every key of the session, and print how many there were", ()),
    ):
        one = verbs.add_parser(verb, help=about, description=about)
        for argument in arguments:
            if argument == "value":
                one.add_argument("value", help="'-' reads it from stdin")
            elif argument == "key?":
                one.add_argument("at", metavar="KEY", nargs="?", default=None, help="default: the store makes one")
            elif argument == "prefix?":
                one.add_argument("prefix", nargs="?", default="", help="of the keys (default: all)")
            else:
                one.add_argument("at", metavar="KEY")  # `key` is an option of the registry's
        one.add_argument(
            "--session", type=name, default=None, required=verb == "drop", help="the keys that begin with SESSION/"
        )
        one.add_argument(
            "--timeout", type=seconds, default=30.0, metavar="S", help="for the store (default: %(default)g s)"
        )
        if verb == "watch":
            one.add_argument("--count", type=int, default=0, metavar="N", help="end after that many changes")
        add_wait_option(one)
        add_client_options(one)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """0: done; 1: there is no such key, or an error went to stderr."""
    try:
        with open_client(args, timeout=args.timeout, wait=min(args.wait, args.timeout)) as client:
            store = client.store(args.server)
            return _perform(store.session(args.session) if args.session else store, args)
    except PalmError as error:
        say_error("store", error, debug=args.debug)
        return 1


def _perform(store: Store, args: argparse.Namespace) -> int:
    match args.verb:
        case "get":
            value = store.get(args.at)
            if value is None:
                return _missing(args)
            _put(value, args.json)
        case "set":
            _say(args, key=store.set(_value(args.value), args.at))
        case "append":
            _say(args, size=store.append(_value(args.value), args.at))
        case "delete":
            return 0 if store.delete(args.at) else _missing(args)
        case "list":
            keys = store.list(args.prefix)
            print(json.dumps(keys) if args.json else "".join(f"{key}\n" for key in keys), end="\n" if args.json else "")
        case "drop":
            assert isinstance(store, StoreSession), "the session is required"
            _say(args, dropped=store.drop())
        case "watch":
            for count, change in enumerate(store.watch(args.prefix), start=1):
                _show(change, args.json)
                if count == args.count:
                    break
    return 0


def _value(text: str) -> bytes:
    return sys.stdin.buffer.read() if text == "-" else os.fsencode(text)


def _put(value: bytes, json_wanted: bool) -> None:
    if json_wanted:
        print(json.dumps(as_json(value)))
        return
    end = b"\n" if sys.stdout.isatty() and not value.endswith(b"\n") else b""
    sys.stdout.buffer.write(value + end)
    sys.stdout.buffer.flush()


def _say(args: argparse.Namespace, **said: object) -> None:
    [value] = said.values()
    print(json.dumps(said) if args.json else value)


def _missing(args: argparse.Namespace) -> int:
    say("store", f"the store of {args.server} has no key {args.at!r:.200}")
    return 1


def _show(change: Change, json_wanted: bool) -> None:
    if json_wanted:
        said = {"kind": change.kind, "key": change.key, "version": list(change.version), **as_json(change.value)}
        print(json.dumps(said), flush=True)
    else:
        print(change.kind, change.key, as_json(change.value).get("text", repr(change.value)), flush=True)
