"""Parts of a message, and what each is worth: fan-out without a coordinator.

A message is worth one whole share. Who makes `count` parts of it divides its share evenly, so a part is worth one over
the product of the numbers on its path: exact, at any depth, in any order of arrival. The parts of a message are
complete when their shares add up to one. A step of the path also names the execution that made it: parts of two
attempts are never added up together, however differently these split.
"""

from __future__ import annotations

from fractions import Fraction
from hashlib import blake2b
from typing import Generic, Iterator, NamedTuple, TypeVar

MAX_PARTS = 65_536
"""Parts that one execution may make of one message."""

Value = TypeVar("Value")


class Step(NamedTuple):
    """One fan-out on the way of a part: it is number `place` of the `parts` that stage `stage` made in one
    execution."""

    stage: int
    fork: int
    """The execution, in 64 bits: see `fork_of`."""
    place: int
    parts: int


Path = tuple[Step, ...]
"""All fan-outs on the way of a part, the first one first. Empty: the whole message."""


class Part(int):
    """The identity of a part, where that of a whole message is its sequence: the number is its message's, and compares
    as such, but a part is equal to itself only.

    So a column of identities is a column of numbers, and a stage where nothing was ever split does not notice.
    """

    path: Path

    def __new__(cls, sequence: int, path: Path) -> Part:
        part = super().__new__(cls, sequence)
        part.path = path
        return part

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Part) and int(self) == int(other) and self.path == other.path

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((int(self), self.path))


def path_of(item: int) -> Path:
    """The path of an identity; that of a whole message is empty."""
    return item.path if isinstance(item, Part) else ()


def item_at(sequence: int, path: Path) -> int:
    """The identity of what is at `path` of a message: the message's own sequence at its root."""
    return Part(sequence, path) if path else int(sequence)


def divide(item: int, stage: int, fork: int, count: int) -> list[int]:
    """The identities of `count` parts of `item`. One part is all of it, and needs no step."""
    if count == 1:
        return [item]
    path = path_of(item)
    return [Part(item, (*path, Step(stage, fork, index, count))) for index in range(count)]


def share_of(item: int) -> Fraction:
    """What it is worth, of one whole message."""
    parts = 1
    for step in path_of(item):
        parts *= step.parts
    return Fraction(1, parts)


def fork_of(peer: str, ticket: int) -> int:
    """64 bits for one execution: the process life and its count of invocations, spread so that two are not the same."""
    return int.from_bytes(blake2b(f"{peer}/{ticket}".encode(), digest_size=8).digest())


class Gathering(Generic[Value]):
    """The parts of one message (or of one part) on their way back together.

    A tree of what has come: a place is complete when its own value is there, or when all parts of one execution that
    split it are. That is where their shares add up to what the place is worth; no share is counted on two executions.
    """

    __slots__ = ("_value", "_forks", "_chosen")

    def __init__(self) -> None:
        self._value: Value | None = None
        # By execution: how many parts it made, how many of them are complete, and what has come of each.
        self._forks: dict[tuple[int, int], tuple[list[int], dict[int, Gathering[Value]]]] = {}
        self._chosen: dict[int, Gathering[Value]] | None = None

    @property
    def is_complete(self) -> bool:
        return self._value is not None or self._chosen is not None

    def add(self, path: Path, value: Value) -> bool:
        """Take what came for the part at `path`; False where it is known already, or another attempt has made it
        needless."""
        trail: list[tuple[Gathering[Value], tuple[int, int]]] = []
        node = self
        for step in path:
            if node.is_complete and node._chosen is None:
                return False
            key = (step.fork, step.parts)
            fork = node._forks.get(key)
            if fork is None:
                if node.is_complete:
                    return False
                fork = node._forks[key] = ([0], {})
            child = fork[1].get(step.place)
            if child is None:
                child = fork[1][step.place] = Gathering()
            trail.append((node, key))
            node = child
        if node.is_complete:
            return False
        node._value = value
        node._forks = {}
        for above, key in reversed(trail):
            done, children = above._forks[key]
            done[0] += 1
            if done[0] < key[1]:
                break
            above._chosen = children
            above._forks = {key: (done, children)}
        return True

    def values(self) -> Iterator[Value]:
        """What came, in the order of paths; only of the attempt that is complete. Only where `is_complete`."""
        if self._chosen is None:
            assert self._value is not None, "only what is complete has values"
            yield self._value
            return
        for index in sorted(self._chosen):
            yield from self._chosen[index].values()

    def share(self) -> Fraction:
        """How much of it has come, at its best attempt: exactly one when it is complete."""
        if self._value is not None:
            return Fraction(1)
        best = Fraction(0)
        for (_, count), (_, children) in self._forks.items():
            best = max(best, sum((child.share() for child in children.values()), Fraction(0)) / count)
        return best
