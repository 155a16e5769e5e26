"""Tells the C library to keep large blocks for the next large payload.

glibc gives blocks of more than 128 KiB back to the system at once, so that each payload of 1 MiB pays for 256 page
faults, once at every hop. This costs PALM a third of its rate for such payloads (`python -m bench large`).
"""

from __future__ import annotations

import ctypes

MMAP_THRESHOLD_BYTES = 32 * 1024 * 1024
"""Blocks up to this size come from the heap: the largest that glibc takes."""

TRIM_THRESHOLD_BYTES = 128 * 1024 * 1024
"""Free memory at the end of the heap that is kept: two windows of 64 MiB."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def keep_large_blocks() -> None:
    """For the whole process; harmless to repeat. Does nothing on a C library without `mallopt`."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES)
    mallopt(_M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES)
