"""Tables of a reduction between core values and protobuf: what partial results are while they travel and wait.

Folds one behind the other parse as one, with their entries in order. So whoever holds partial results joins their
bytes, and opens none of them.
"""

from __future__ import annotations

from itertools import repeat
from typing import Sequence

from google.protobuf.message import DecodeError

from palm.core.folding import MAX_KEYS, Entry, Table
from palm.errors import BadFrame
from palm.wire.palm_pb2 import Fold


def encode_table(table: Table) -> bytes:
    good = [entry for entry in table if not entry.failed]
    bad = [entry for entry in table if entry.failed]
    return Fold(
        key=[entry.key for entry in good],
        value=[entry.value for entry in good],
        first=[entry.first for entry in good],
        failed_key=[entry.key for entry in bad],
        failure=[entry.value for entry in bad],
        failed_first=[entry.first for entry in bad],
    ).SerializeToString()


def decode_tables(raw: bytes) -> list[Entry]:
    """The entries of one or several tables, those that have a value before those that have none; `BadFrame` where they
    are none."""
    fold = _columns(raw)
    entries = list(map(Entry, fold.key[:], fold.value[:], fold.first[:]))
    return entries + list(map(Entry, fold.failed_key[:], fold.failure[:], fold.failed_first[:], repeat(True)))


def check_table(raw: bytes) -> None:
    """`BadFrame` where it is not one table, of as many keys as there may be."""
    fold = _columns(raw)
    keys = len(fold.key) + len(fold.failed_key)
    if keys > MAX_KEYS:
        raise BadFrame(f"a fold of {keys} keys")


def encode_parts(parts: Sequence[bytes]) -> bytes:
    """All parts of one message, for the worker that folds them."""
    return Fold(value=parts).SerializeToString()


def decode_parts(raw: bytes) -> list[bytes]:
    """`BadFrame` where it is none of `encode_parts`."""
    return _parsed(raw).value[:]


def _columns(raw: bytes) -> Fold:
    fold = _parsed(raw)
    keys, failed = len(fold.key), len(fold.failed_key)
    if not len(fold.value) == len(fold.first) == keys or not len(fold.failure) == len(fold.failed_first) == failed:
        raise BadFrame("the columns of a fold do not fit together")
    return fold


def _parsed(raw: bytes) -> Fold:
    try:
        return Fold.FromString(raw)
    except DecodeError as error:
        raise BadFrame("a fold that does not parse") from error
