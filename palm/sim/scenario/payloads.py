"""What a job's messages carry: named generators, the lines of a file, bytes of drawn sizes; a function of the seed."""

from __future__ import annotations

from itertools import cycle, islice
from typing import TYPE_CHECKING, Callable, Iterator, Mapping

from palm.sim.draws import Key

if TYPE_CHECKING:
    from palm.sim.scenario.load import Messages

_SYLLABLES = ("ba", "den", "fi", "gor", "ha", "ka", "lim", "mo", "nes", "pu", "ra", "sol", "ti", "vu", "wen", "zo")


def _numbers(key: Key) -> Iterator[bytes]:
    number = 0
    while True:
        yield b"%d" % number
        number += 1


def _words(key: Key) -> Iterator[bytes]:
    number = 0
    while True:
        random = key.random(number)
        words = ("".join(random.choices(_SYLLABLES, k=random.randint(1, 3))) for _ in range(random.randint(3, 12)))
        yield " ".join(words).encode()
        number += 1


GENERATORS: Mapping[str, Callable[[Key], Iterator[bytes]]] = {"numbers": _numbers, "words": _words}
"""`numbers`: 0, 1, 2 ... as text, so that each message tells its place. `words`: lines of 3 to 12 made-up words."""


def payloads(messages: Messages, seed: int, job: str) -> Iterator[bytes]:
    """All payloads of a job, in order, made as they are asked for."""
    key = Key(seed, f"payload/{job}")
    if messages.payload is not None:
        return islice(GENERATORS[messages.payload](key), messages.count)
    if messages.file is not None:
        return islice(cycle(messages.file.read_bytes().splitlines()), messages.count)
    sizes = messages.sizes
    assert sizes is not None, "messages have one of payload, file and sizes"
    return (key.random(n).randbytes(sizes.sample(key.unit(n))) for n in range(messages.count))
