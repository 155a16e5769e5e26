"""The part of an instance that works for a leader: its link, what it asks for, and its answers on their way back.

Answers go back together: a frame for each would cost more than a short function does. What waits here does so for as
long as the worker has something else to do, and never longer than `GATHER`. The messages themselves are `ServerNode`'s
business.
"""

from __future__ import annotations

from palm.core.credit import Credit
from palm.core.effect import Effect, Send, Tell
from palm.core.links import Links
from palm.core.message import Batch, Control, Instance, Peer, Ping, Pong, Pull

GATHER = 15_000_000
"""How long (ns) an answer waits for others, while there is other work."""


class Desk:
    """`credit` is what this worker wants to have; `chief` its leader's record, None while it knows none."""

    def __init__(self, credit: Credit, *, cluster: str, server: str) -> None:
        self.credit = credit
        self.chief: Instance | None = None
        self.leaving = False
        self.runs = 0
        """Messages that this worker has not run to their end."""
        self._links = Links(cluster=cluster, name=server)
        self._said = 0
        self._answers: list[Batch] = []
        self._count = 0
        self._send_at: int | None = None
        self._pinged: tuple[int, int] | None = None

    @property
    def deadline(self) -> int | None:
        beat, send = self._links.deadline, self._send_at
        if beat is None:
            return send
        return beat if send is None else min(beat, send)

    def __contains__(self, peer: Peer) -> bool:
        return peer in self._links

    # -- the leader ---------------------------------------------------------------------------------------------------

    def work_for(self, chief: Instance | None, now: int) -> list[Effect]:
        """From now on, for that leader, or for nobody; what was to go to the former one does not."""
        before = self.chief
        self.chief = chief
        if chief is not None and before is not None and (chief.peer, chief.term) == (before.peer, before.term):
            return []
        effects: list[Effect] = []
        if before is not None and (chief is None or chief.peer != before.peer):
            effects += self._links.remove(before.peer, before.server)
        self._answers, self._count, self._send_at = [], 0, None
        if chief is not None:
            effects += self._links.add(chief, now)
            effects += self._pull()
        return effects

    def heard(self, peer: Peer, control: Control | None, now: int) -> list[Effect]:
        """Something came from the leader."""
        self._links.heard(peer, now)
        if isinstance(control, Pong) and self._pinged is not None and control.number == self._pinged[0]:
            self.credit.took(now - self._pinged[1])
        return [] if control is None else self._links.told(peer, control)

    def leave(self) -> list[Effect]:
        """Ask for nothing more."""
        self.leaving = True
        return self._pull()

    def ask(self) -> list[Effect]:
        """Say what is wanted now, where it is another quantity than before."""
        return [] if self._said == self._wanted else self._pull()

    @property
    def _wanted(self) -> int:
        return 0 if self.leaving else self.credit.size

    def _pull(self) -> list[Effect]:
        if self.chief is None:
            return []
        self._said = self._wanted
        return [Tell(self.chief.peer, Pull(self.chief.term, self._said, self.runs + self._count))]

    # -- answers ------------------------------------------------------------------------------------------------------

    def answer(self, batch: Batch, now: int) -> None:
        self._answers.append(batch)
        self._count += len(batch)
        if self._send_at is None:
            self._send_at = now + GATHER

    def hand_in(self, now: int, *, idle: bool) -> list[Effect]:
        """What is to go to the leader now: all answers, where they are many, old, or nothing else is to be done."""
        if self._send_at is None or not (idle or now >= self._send_at or 2 * self._count >= self.credit.size):
            return []
        answers, self._answers, self._count, self._send_at = self._answers, [], 0, None
        if self.chief is None:
            return []
        return [*self.ask(), *(Send(self.chief.peer, batch) for batch in answers)]

    def tick(self, now: int) -> list[Effect]:
        effects = self._links.tick(now)
        if not effects:
            return []
        for effect in effects:
            if isinstance(effect, Tell) and isinstance(effect.control, Ping):
                self._pinged = (effect.control.number, now)
        # Said again with each beat: a word may have been lost with a link.
        return effects + self._pull()
