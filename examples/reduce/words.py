"""A word count in two servers: source files become words, and words become counts.

    palm run examples/reduce/words.py:Words
    palm run examples/reduce/words.py:Count --workers 2
    python examples/reduce/count.py            # the standard library's sources, beside a serial count
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from palm import ReduceServer, RegisteredServer

WORD = re.compile(rb"[A-Za-z_]+")


class Words(RegisteredServer):
    def of(self, source: bytes) -> Iterator[bytes]:
        """A part for each word of a file, with how often it is there: `word 12`."""
        for word, count in Counter(WORD.findall(source)).items():
            yield b"%s %d" % (word, count)


class Count(ReduceServer):
    """A result for each word of the job."""

    def key(self, counted: bytes) -> bytes:
        return counted.partition(b" ")[0]

    def add(self, one: bytes, other: bytes) -> bytes:
        word, _, count = one.partition(b" ")
        return b"%s %d" % (word, int(count) + int(other.partition(b" ")[2]))


class Sum(ReduceServer):
    """The sum of each 50 numbers."""

    every = 50

    def add(self, one: bytes, other: bytes) -> bytes:
        return b"%d" % (int(one) + int(other))


class Join(ReduceServer):
    """All messages behind each other, in the order sent: what is associative need not be commutative."""

    def lines(self, one: bytes, other: bytes) -> bytes:
        return one + b"," + other
