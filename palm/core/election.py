"""Terms: who may lead, until when, and whose word is too old to be taken.

A term is the registry's revision at which a leader's key was created, so a later leader has a higher one. A leader
counts its time on its own clock, from the sending of the last renewal that was answered, and stops before the registry
can let anyone else lead (locks without fencing are not safe; Kleppmann, 2016). This file knows no registry.
"""

from __future__ import annotations

MARGIN = 500_000_000
"""A leader stops acting this long (ns) before its lease can end."""


class Mandate:
    """What one instance knows of its server's terms."""

    __slots__ = ("latest", "term", "until")

    def __init__(self) -> None:
        self.latest = 0
        """The highest term that was heard of, from anybody."""
        self.term = 0
        """The own one while this instance leads, else 0."""
        self.until = 0

    def heard_of(self, term: int) -> bool:
        """A word of that term came: False when it is from an older one, and is not to be taken."""
        if term < self.latest:
            return False
        self.latest = term
        return True

    def take(self, term: int, until: int, now: int) -> bool:
        """This instance was elected, or its lease renewed; whether it leads now. Too late is too late."""
        if now >= until or not self.heard_of(term):
            return False
        self.term, self.until = term, until
        return True

    def holds(self, now: int) -> bool:
        """It may act as the leader at `now`."""
        return self.term > 0 and now < self.until and self.term >= self.latest

    def lay_down(self) -> None:
        self.term = 0
