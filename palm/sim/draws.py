"""Randomness that is keyed, not streamed: each draw is a function of (seed, name, ordinal).

With one shared stream, losing one message shifts every later draw, and a fault script cannot be shrunk; with keyed
draws it shifts none. A draw is one number in [0, 1), and a distribution turns it into nanoseconds by its quantile
function: one number is enough for one delay, and distributions are plain values without state.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from math import exp, isfinite, log
from random import Random
from statistics import NormalDist
from struct import Struct
from typing import Protocol

from palm.errors import BadRequest

_UNIT = 1.0 / (1 << 53)
_FOUR = Struct("<4Q").unpack
_quantile = NormalDist().inv_cdf
_Z99 = _quantile(0.99)


class Key:
    """The draws of one name: the same for one (seed, name, ordinal) in every process, in whatever order they are
    made."""

    __slots__ = ("_four", "_key", "_unit")

    def __init__(self, seed: int, name: str) -> None:
        self._key = blake2b(f"{seed}/{name}".encode(), digest_size=32).digest()
        # Hashes that have taken the key: a copy of one costs a third of a new one. Most names never draw.
        self._four: blake2b | None = None
        self._unit: blake2b | None = None

    def four(self, ordinal: int) -> tuple[float, float, float, float]:
        """Four independent draws in [0, 1)."""
        if self._four is None:
            self._four = blake2b(digest_size=32, key=self._key)
        keyed = self._four.copy()
        keyed.update(ordinal.to_bytes(8, "little"))
        a, b, c, d = _FOUR(keyed.digest())
        return (a >> 11) * _UNIT, (b >> 11) * _UNIT, (c >> 11) * _UNIT, (d >> 11) * _UNIT

    def unit(self, ordinal: int) -> float:
        """One draw in [0, 1)."""
        return (self.integer(ordinal) >> 11) * _UNIT

    def integer(self, ordinal: int) -> int:
        """64 random bits, as a seed for something that wants one."""
        if self._unit is None:
            self._unit = blake2b(digest_size=8, key=self._key)
        keyed = self._unit.copy()
        keyed.update(ordinal.to_bytes(8, "little"))
        return int.from_bytes(keyed.digest(), "little")

    def random(self, ordinal: int) -> Random:
        """A random stream of its own, for user code and for draws whose number is not known beforehand."""
        return Random(self.integer(ordinal))


class Distribution(Protocol):
    """A time as a function of one draw in [0, 1): its quantile function, in ns, never negative."""

    def sample(self, draw: float) -> int: ...


@dataclass(frozen=True, slots=True)
class Fixed:
    """Always the same."""

    value: int

    def __post_init__(self) -> None:
        _not_negative(fixed=self.value)

    def sample(self, draw: float) -> int:
        return self.value


@dataclass(frozen=True, slots=True)
class Uniform:
    """Any time from `low` up to `high`, alike."""

    low: int
    high: int

    def __post_init__(self) -> None:
        _not_negative(low=self.low)
        if self.high < self.low:
            raise BadRequest(f"uniform: high ({self.high} ns) must not be under low ({self.low} ns)")

    def sample(self, draw: float) -> int:
        return self.low + int(draw * (self.high - self.low))


@dataclass(frozen=True, slots=True)
class Normal:
    """The bell curve, cut off at zero."""

    mean: int
    deviation: int

    def __post_init__(self) -> None:
        _not_negative(mean=self.mean, deviation=self.deviation)

    def sample(self, draw: float) -> int:
        return max(0, round(self.mean + self.deviation * _quantile(draw or _UNIT)))


@dataclass(frozen=True, slots=True)
class LogNormal:
    """The usual shape of a latency, given by its median and its 99th percentile."""

    p50: int
    p99: int
    _sigma: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.p50 <= 0:
            raise BadRequest(f"lognormal: p50 must be over 0, not {self.p50} ns")
        if self.p99 < self.p50:
            raise BadRequest(f"lognormal: p99 ({self.p99} ns) must not be under p50 ({self.p50} ns)")
        object.__setattr__(self, "_sigma", log(self.p99 / self.p50) / _Z99)

    def sample(self, draw: float) -> int:
        return round(self.p50 * exp(self._sigma * _quantile(draw or _UNIT)))


@dataclass(frozen=True, slots=True)
class Mix:
    """One of several distributions, each with its weight."""

    parts: tuple[tuple[float, Distribution], ...]

    def __post_init__(self) -> None:
        if not self.parts:
            raise BadRequest("mix: needs at least one part")
        for weight, _ in self.parts:
            if not (isfinite(weight) and weight > 0):
                raise BadRequest(f"mix: a weight must be over 0, not {weight}")

    def sample(self, draw: float) -> int:
        total = sum(weight for weight, _ in self.parts)
        place = draw * total
        for weight, part in self.parts:
            if place < weight:
                # What chose the part, stretched to [0, 1) again, is as good a draw as a second one.
                return part.sample(place / weight)
            place -= weight
        return self.parts[-1][1].sample(1.0 - _UNIT)  # rounding walked past the end


@dataclass(frozen=True, slots=True)
class Empirical:
    """Measured times, with straight lines between them: `samples` in ascending order."""

    samples: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.samples:
            raise BadRequest("empirical: needs at least one sample")
        _not_negative(sample=min(self.samples))
        if list(self.samples) != sorted(self.samples):
            raise BadRequest("empirical: samples must be in ascending order")

    @classmethod
    def of(cls, samples: Iterable[int]) -> Empirical:
        """From samples in any order."""
        return cls(tuple(sorted(samples)))

    def sample(self, draw: float) -> int:
        place = draw * (len(self.samples) - 1)
        below = int(place)
        low, high = self.samples[below], self.samples[min(below + 1, len(self.samples) - 1)]
        return low + int((place - below) * (high - low))


def _not_negative(**times: int) -> None:
    for name, value in times.items():
        if value < 0:
            raise BadRequest(f"{name} must not be negative, not {value} ns")


ZERO = Fixed(0)
