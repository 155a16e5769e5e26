"""How often something may still happen, among all processes of a run: a pipe with a byte for each time.

Who reads a byte has that time, and nobody else: the kernel decides, without a word to the director, at the moment at
which it matters (in the middle of user code, or of a write).
"""

from __future__ import annotations

import fcntl
import os
import struct
import termios


class Tokens:
    """The director's end. `fd` is for the processes, who inherit it."""

    def __init__(self) -> None:
        self.fd, self._give = os.pipe()
        os.set_blocking(self.fd, False)
        self._given = 0

    def give(self, count: int) -> None:
        self._given += count
        os.write(self._give, b"." * count)

    @property
    def taken(self) -> int:
        """How many of those that were given."""
        left = struct.unpack("i", fcntl.ioctl(self.fd, termios.FIONREAD, b"\0" * 4))[0]
        return self._given - int(left)

    def take_back(self) -> None:
        """Those that nobody took."""
        while taken := _read(self.fd, 4096):
            self._given -= len(taken)

    def close(self) -> None:
        os.close(self.fd)
        os.close(self._give)


def take(fd: int) -> bool:
    """A process's end: whether there was one left. From any thread; never waits."""
    return bool(_read(fd, 1))


def _read(fd: int, count: int) -> bytes:
    try:
        return os.read(fd, count)
    except BlockingIOError:
        return b""
