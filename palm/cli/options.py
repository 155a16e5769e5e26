"""Options that several verbs share, and what they mean together."""

from __future__ import annotations

import argparse
import logging
import os

from palm.core.names import is_name


def add_registry_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("registry")
    group.add_argument(
        "-e",
        "--etcd",
        default="",
        metavar="HOST:PORT[,...]",
        help="etcd endpoints (default: $PALM_ETCD, then 127.0.0.1:2379)",
    )
    group.add_argument("--namespace", type=name, default="palm", help="the cluster's name (default: %(default)s)")
    group.add_argument("--user", default="", help="etcd user; its password is read from $PALM_ETCD_PASSWORD")
    group.add_argument("--ca", default="", metavar="FILE", help="CA certificate of etcd (PEM)")
    group.add_argument("--cert", default="", metavar="FILE", help="our certificate for etcd (PEM)")
    group.add_argument("--key", default="", metavar="FILE", help="its key (PEM)")


def add_log_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-d", "--debug", action="store_true", help="log everything")
    parser.add_argument("-i", "--info", action="store_true", help="log what happens to links and leases")


def set_up_logging(args: argparse.Namespace) -> None:
    level = logging.DEBUG if args.debug else logging.INFO if args.info else logging.WARNING
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)-7s %(name)s %(message)s")


def endpoints(args: argparse.Namespace) -> tuple[str, ...]:
    """The endpoints that were named, by option or environment; empty where none were."""
    named = args.etcd or os.environ.get("PALM_ETCD", "")
    return tuple(part.strip() for part in named.split(",") if part.strip())


def password() -> str:
    """From the environment only: arguments are visible to everybody on the machine."""
    return os.environ.get("PALM_ETCD_PASSWORD", "")


def name(text: str) -> str:
    if not is_name(text):
        raise argparse.ArgumentTypeError(f"{text!r:.200} is not a name (1 to 128 of letters, digits, '_' and '-')")
    return text


def seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r:.200} is not a number of seconds above 0")
    return value


def workers(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:6]) <= 1024:
        raise argparse.ArgumentTypeError(f"{text!r:.200} is not a number from 1 to 1024")
    return int(text)
