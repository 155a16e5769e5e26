"""Messages that were with an instance of a later stage when it died: which of them may go there again, and when.

A client cannot choose who of a later stage gets a message, so it goes by numbers. A few of those that were there once
go together; who was there twice goes alone. So the message that kills is found out at its third death, and what was
beside it has two at most. This file knows no links and no clock.
"""

from __future__ import annotations

from collections import deque
from typing import Container, Generic, TypeVar

FEW = 16
"""How many with one death may be under way at one time: if one of them kills, it costs each of them one more."""

Group = TypeVar("Group")


class Trials(Generic[Group]):
    """One job's. A group is one message, and whatever its owner needs to send it."""

    def __init__(self) -> None:
        self._once: deque[int] = deque()
        self._again: deque[int] = deque()
        self._groups: dict[int, Group] = {}
        # What is under way, and whether it must be alone.
        self._on: dict[int, bool] = {}

    def __bool__(self) -> bool:
        """Some wait."""
        return bool(self._groups)

    def __contains__(self, sequence: int) -> bool:
        """It waits, and is not to be sent otherwise."""
        return sequence in self._groups

    def add(self, sequence: int, group: Group, deaths: int) -> None:
        """It has died that often. Once more, where it waits already: as before."""
        self._on.pop(sequence, None)
        if sequence not in self._groups:
            (self._once if deaths < 2 else self._again).append(sequence)
        self._groups[sequence] = group

    def next(self, living: Container[int]) -> Group | None:
        """What may go now, of the messages that have not ended; from now on it is under way."""
        for sequence in [sequence for sequence in self._on if sequence not in living]:
            del self._on[sequence]
        for queue in (self._again, self._once):
            while queue and queue[0] not in living:
                self._groups.pop(queue.popleft(), None)
        if any(self._on.values()) or (self._again and self._on):
            return None
        if self._again:
            sequence = self._again.popleft()
            self._on[sequence] = True
        elif self._once and len(self._on) < FEW:
            sequence = self._once.popleft()
            self._on[sequence] = False
        else:
            return None
        return self._groups.pop(sequence)
