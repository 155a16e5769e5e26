"""Quantities with their units: text such as `12s`, `64KiB`, `500/s` and `0.5%` to exact values, and back.

Every function raises ValueError with a hint of what to write; whoever reads a file says where. No floats on the way:
`0.1s` is exactly 100,000,000 ns.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

NS, US, MS, S, M, H = 1, 1_000, 1_000_000, 1_000_000_000, 60_000_000_000, 3_600_000_000_000

DURATIONS = {"ns": NS, "us": US, "ms": MS, "s": S, "m": M, "h": H}
SIZES = {"B": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}

DURATION_MAX = 1000 * H
SIZE_MAX = 1 << 40
COUNT_MAX = 10**12

_NUMBER = r"((?:\d{1,18}|\d{1,3}(?:_\d{3}){1,5})(?:\.\d{1,9})?)"
_QUANTITY = re.compile(_NUMBER + r" ?([A-Za-zµ]+)")
_RATE = re.compile(_NUMBER + r" ?([A-Za-z]*)/([a-z]+)")
_CHANCE = re.compile(_NUMBER + r" ?%")
_BARE = re.compile(r"[\d._]{1,30}")


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` things each `per_ns` nanoseconds, exactly."""

    count: int
    per_ns: int

    def due_ns(self, n: int) -> int:
        """When the n-th of them (from 0) is due, if the first is due at 0."""
        return n * self.per_ns // self.count


def duration_ns(text: str) -> int:
    """`1500ms` to integer nanoseconds."""
    return _quantity(text, DURATIONS, "a time", "s", DURATION_MAX)


def shift_ns(text: str) -> int:
    """`1h` or `-90s` to integer nanoseconds, below 0 for back."""
    sign = -1 if text.startswith("-") else 1
    return sign * duration_ns(text.removeprefix("-"))


def size_bytes(text: str) -> int:
    """`64KiB` to bytes. KB is 1,000 bytes, KiB 1,024."""
    return _quantity(text, SIZES, "a size", "KiB", SIZE_MAX)


def rate(text: str) -> Rate:
    """`500/s` to a Rate of things."""
    match = _RATE.fullmatch(text)
    if match is None or match[2]:
        raise ValueError(f"write {text}/s" if _BARE.fullmatch(text) else "write a count per unit of time, as 500/s")
    return _rate(match[1], 1, match[3])


def bytes_per_s(text: str) -> int:
    """`10MiB/s` to bytes per second, rounded down."""
    match = _RATE.fullmatch(text)
    if match is None or match[2] not in SIZES:
        raise ValueError(f"write a size ({', '.join(SIZES)}) per unit of time, as 10MiB/s")
    exact = _rate(match[1], SIZES[match[2]], match[3])
    if exact.count * S < exact.per_ns:
        raise ValueError("the least is 1B/s")
    return exact.count * S // exact.per_ns


def chance(text: str) -> float:
    """`0.5%` to 0.005; also a bare decimal fraction such as `0.005`. A bare 1 is refused: is it 1 %, or always?"""
    match = _CHANCE.fullmatch(text)
    if match is not None:
        value = Fraction(match[1].replace("_", "")) / 100
    elif re.fullmatch(r"0?\.\d{1,15}|0|1\.0+", text):
        value = Fraction(text)
    else:
        raise ValueError(f"write {text}%" if _BARE.fullmatch(text) else "write a percentage, as 0.5%")
    if value > 1:
        raise ValueError("a chance is at most 100%")
    return float(value)


def show_duration(ns: int) -> str:
    """The shortest text that `duration_ns` reads back as `ns`, as `1500ms`."""
    for unit in ("h", "m", "s", "ms", "us"):
        if ns and ns % DURATIONS[unit] == 0:
            return f"{ns // DURATIONS[unit]}{unit}"
    return f"{ns}ns"


def _quantity(text: str, units: dict[str, int], what: str, example: str, most: int) -> int:
    match = _QUANTITY.fullmatch(text)
    if match is None:
        if _BARE.fullmatch(text):
            raise ValueError(f"a number alone is not {what}; the units are {', '.join(units)}, as in {text}{example}")
        raise ValueError(f"write one number and its unit: {', '.join(units)}")
    if match[2] not in units:
        near = [unit for unit in units if unit.lower() == match[2].replace("µ", "u").lower()]
        raise ValueError(f"{match[2]!r} is not a unit of {what}: {', '.join(near or units)}")
    value = _exact(match[1], units[match[2]], "ns" if units is DURATIONS else "B")
    if value > most:
        raise ValueError(f"the most is {show_duration(most) if units is DURATIONS else f'{most}B'}")
    return value


def _exact(number: str, factor: int, smallest: str) -> int:
    value = Fraction(number.replace("_", "")) * factor
    if value.denominator != 1:
        raise ValueError(f"this is not a whole number of {smallest}")
    return int(value)


def _rate(number: str, factor: int, unit: str) -> Rate:
    if unit not in DURATIONS:
        raise ValueError(f"{unit!r} is not a unit of time: {', '.join(DURATIONS)}")
    count = Fraction(number.replace("_", "")) * factor
    if not 0 < count <= COUNT_MAX:
        raise ValueError(f"a rate is more than 0, and at most {COUNT_MAX} per unit")
    return Rate(count.numerator, DURATIONS[unit] * count.denominator)
