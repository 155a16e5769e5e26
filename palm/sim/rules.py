"""How a link behaves, which links are meant, and what a fault does to one frame: values, each with its own draw.

What lies where, and when, is the business of `palm.sim.network`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from palm.errors import BadRequest
from palm.sim.draws import Distribution, Fixed

if TYPE_CHECKING:
    from palm.sim.network import Rule


@dataclass(frozen=True, slots=True)
class Link:
    """How a link behaves while nothing is wrong with it. Chances are for each frame, `rate` in bytes per second."""

    delay: Distribution = Fixed(100_000)
    loss: float = 0.0
    burst: int = 1
    """A loss takes this many frames in a row; `loss` is the chance that one begins."""
    twice: float = 0.0
    shuffle: float = 0.0
    rate: int | None = None
    queue: int | None = None
    """How many bytes may wait for `rate`; a frame that comes on top is lost. None: as many as come."""

    def __post_init__(self) -> None:
        for name, chance in (("loss", self.loss), ("twice", self.twice), ("shuffle", self.shuffle)):
            _check_chance(name, chance)
        if self.burst < 1:
            raise BadRequest(f"burst must be at least 1 frame, not {self.burst}")
        if self.rate is not None and self.rate <= 0:
            raise BadRequest(f"rate must be over 0 bytes/s, not {self.rate}")


@dataclass(frozen=True, slots=True)
class Ends:
    """Which links are meant: from hosts that match `src` to hosts that match `dst`, and back if `both`.

    A pattern is a host's name, `zone:NAME`, or `*`. A link from a host to itself is never meant.
    """

    src: str
    dst: str
    both: bool = False

    @classmethod
    def parse(cls, text: str) -> Ends:
        """From `a -> b` or `a <-> b`."""
        for arrow, both in (("<->", True), ("->", False)):
            src, found, dst = text.partition(arrow)
            if found and src.strip() and dst.strip():
                return cls(src.strip(), dst.strip(), both)
        raise BadRequest(f"a link is written `a -> b` or `a <-> b`, not {text!r}")


class Fate:
    """What becomes of one frame: filled in by the link and by every rule that meets it."""

    __slots__ = ("copies", "delay", "held_by", "lost", "rate", "shuffled", "size")

    def __init__(self, delay: int, rate: int | None) -> None:
        self.delay = delay
        self.rate = rate
        self.size = 0
        self.copies = 1
        self.shuffled = False
        self.lost = ""
        self.held_by: Rule | None = None


class Action(Protocol):
    """What a rule does to a frame that meets it, by one draw; True when it did something."""

    def apply(self, fate: Fate, draw: float) -> bool: ...


@dataclass(frozen=True, slots=True)
class Cut:
    """Nothing passes."""

    def apply(self, fate: Fate, draw: float) -> bool:
        fate.lost = "cut"
        return True


@dataclass(frozen=True, slots=True)
class Lose:
    """A frame is lost, by chance, while its connection stays up."""

    chance: float

    def apply(self, fate: Fate, draw: float) -> bool:
        if draw < self.chance:
            fate.lost = "lost"
            return True
        return False


@dataclass(frozen=True, slots=True)
class Hold:
    """Frames wait, in order, until the rule is lifted."""

    def apply(self, fate: Fate, draw: float) -> bool:
        return True  # Pipe.send keeps the frame with the rule, which only it can reach


@dataclass(frozen=True, slots=True)
class Slow:
    """Frames take longer by a time of their own."""

    by: Distribution

    def apply(self, fate: Fate, draw: float) -> bool:
        extra = self.by.sample(draw)
        fate.delay += extra
        return extra > 0


@dataclass(frozen=True, slots=True)
class Twice:
    """A frame arrives a second time, by chance."""

    chance: float

    def apply(self, fate: Fate, draw: float) -> bool:
        if draw < self.chance:
            fate.copies += 1
            return True
        return False


@dataclass(frozen=True, slots=True)
class Shuffle:
    """A frame leaves its place in the order, by chance."""

    chance: float

    def apply(self, fate: Fate, draw: float) -> bool:
        if draw < self.chance:
            fate.shuffled = True
            return True
        return False


@dataclass(frozen=True, slots=True)
class Throttle:
    """The link carries no more than `rate` bytes per second."""

    rate: int

    def __post_init__(self) -> None:
        if self.rate <= 0:
            raise BadRequest(f"throttle: rate must be over 0 bytes/s, not {self.rate}")

    def apply(self, fate: Fate, draw: float) -> bool:
        fate.rate = self.rate if fate.rate is None else min(fate.rate, self.rate)
        return True


def _check_chance(name: str, chance: float) -> None:
    if not 0.0 <= chance <= 1.0:
        raise BadRequest(f"{name} is a chance from 0 to 1, not {chance}")
