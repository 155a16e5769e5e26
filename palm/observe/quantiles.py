"""Quantiles of many durations in little memory: counts in buckets that grow by an eighth."""

from __future__ import annotations


class Quantiles:
    """Of whole numbers from 0; what it answers is at most an eighth too large, and never too small."""

    __slots__ = ("count", "_buckets")

    def __init__(self) -> None:
        self.count = 0
        self._buckets: dict[int, int] = {}

    def add(self, value: int, times: int = 1) -> None:
        self.count += times
        bucket = _bucket(value)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + times

    def at(self, share: float) -> int:
        """A number that this share of all does not exceed; 0 where there are none."""
        wanted = share * self.count
        seen = 0
        last = 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            last = bucket
            if seen >= wanted:
                break
        return _most(last) if self.count else 0


def _bucket(value: int) -> int:
    """Eight to each power of two: the number's length in bits, and the three bits behind its first."""
    if value < 8:
        return max(0, value)
    length = value.bit_length()
    return 8 * (length - 3) + (value >> (length - 4) & 7)


def _most(bucket: int) -> int:
    """The largest value of a bucket."""
    if bucket < 8:
        return bucket
    length, place = bucket // 8 + 3, bucket % 8
    return ((8 + place + 1) << (length - 4)) - 1
