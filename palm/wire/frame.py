"""The twelve bytes before every body: checked before protobuf sees anything.

Random bytes parse as a protobuf message three times out of four; they do not pass a magic, a length and a checksum.
This file knows nothing of what bodies mean.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from zlib import crc32

from palm.errors import BadFrame

VERSION = 1
MAX_BODY_BYTES = 16 * 1024 * 1024
"""Far above what coalescing makes (64 KiB and one small payload), far below what would hurt to hold."""

_PREFIX = struct.Struct(">2sBBII")
_SIZE = _PREFIX.size
_MAGIC = b"PM"


class Body(IntEnum):
    CONTROL = 1
    SINGLE = 2
    TABLE = 3


def pack(kind: Body, body: bytes) -> bytes:
    return _PREFIX.pack(_MAGIC, VERSION, kind, len(body), crc32(body)) + body


def unpack(envelope: bytes) -> tuple[int, bytes]:
    """Kind and body of an envelope; `BadFrame` says what is wrong with it, never quoting its bytes."""
    if len(envelope) < _SIZE:
        raise BadFrame(f"{len(envelope)} bytes are too few for a frame")
    magic, version, kind, length, checksum = _PREFIX.unpack_from(envelope)
    if magic != _MAGIC:
        raise BadFrame("not a PALM frame")
    if version != VERSION:
        raise BadFrame(f"wire version {version}; this is {VERSION}")
    if length != len(envelope) - _SIZE or length > MAX_BODY_BYTES:
        raise BadFrame(f"announces {length} bytes of body and has {len(envelope) - _SIZE}")
    body = envelope[_SIZE:]
    if crc32(body) != checksum:
        raise BadFrame("checksum does not match")
    return kind, body
