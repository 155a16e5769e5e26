"""Peer ids of the real world: random, new for each life of a process."""

from __future__ import annotations

from secrets import token_hex

from palm.core.message import Peer


def new_peer() -> Peer:
    return Peer(token_hex(10))
