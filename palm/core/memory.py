"""What a server remembers of one job at one stage, so that no message is run twice for one that is sent twice.

It holds the sequences at or above the client's watermark, so it is bounded by the client's window. It knows nothing of
where answers go.
"""

from __future__ import annotations

from collections import deque
from itertools import repeat
from typing import Any, Iterable, NamedTuple, Sequence

from palm.core.message import Header, Payload, Peer, Status


class Answer(NamedTuple):
    """How a message ended at this stage; kept until the client says that it has ended for good."""

    payload: Payload
    status: int


class Memory:
    __slots__ = ("floor", "header", "_rows", "_went", "_parts", "_asked", "_refused")

    def __init__(self) -> None:
        self.floor = 0
        self.header: Header | None = None
        """Under which it was last asked for: who asked is who is answered."""
        # sequence -> payload where it is OK (the common case, without an object of its own), Answer where it is not,
        # None while it runs.
        self._rows: dict[int, bytes | Answer | None] = {}
        self._went: dict[int, Peer] = {}
        # Of messages that must not run twice: the attempt at which each was asked for, where it was not the first, and
        # the one at which it was turned away.
        self._asked: dict[int, int] = {}
        self._refused: dict[int, int] = {}
        # Parts by their message: a range of sequences does not find them.
        self._parts: dict[int, list[int]] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def advance(self, watermark: int) -> None:
        """Forget everything below `watermark`."""
        floor = self.floor
        if watermark <= floor:
            return
        self.floor = watermark
        if self._parts:
            self._forget_parts(watermark)
        rows = self._rows
        if watermark - floor > len(rows):
            ended: Sequence[int] = [sequence for sequence in rows if sequence < watermark]
        else:
            ended = range(floor, watermark)
        _drop(rows, ended)
        if self._went:
            _drop(self._went, ended)
        for attempts in (self._asked, self._refused):
            for sequence in [sequence for sequence in attempts if sequence < watermark]:
                del attempts[sequence]

    def take(self, sequence: int) -> bool:
        """True when it is new, and from now on runs; False when it is known or has ended."""
        if sequence < self.floor or sequence in self._rows:
            return False
        self._rows[sequence] = None
        return True

    def take_all(self, sequences: Sequence[int]) -> Sequence[int]:
        """Take each; the places of those that are new."""
        rows = self._rows
        if rows.keys().isdisjoint(sequences) and min(sequences, default=0) >= self.floor:
            taken = dict.fromkeys(sequences)
            if len(taken) == len(sequences):
                rows.update(taken)
                return range(len(sequences))
        return [i for i, sequence in enumerate(sequences) if self.take(sequence)]

    def knows(self, item: int) -> bool:
        """It runs here, or has ended."""
        return item in self._rows

    def untake(self, sequence: int) -> None:
        """It was taken, but is not going to run."""
        if self._rows.get(sequence, b"") is None:
            del self._rows[sequence]

    def forget(self, sequences: Sequence[int]) -> None:
        """As if they had not been here."""
        _drop(self._rows, sequences)

    def ask(self, sequences: Sequence[int], attempts: Sequence[int] | None) -> list[int]:
        """The places of those that were not turned away at this attempt: of the others a second copy has come, and who
        has sent it may have given it to somebody else."""
        if attempts is None and not self._refused:
            return list(range(len(sequences)))
        attempts = attempts or [1] * len(sequences)
        asked = [i for i, sequence in enumerate(sequences) if attempts[i] > self._refused.get(sequence, 0)]
        self._asked.update((sequences[i], attempts[i]) for i in asked if attempts[i] > 1)
        return asked

    def refuse(self, sequences: Sequence[int]) -> list[int]:
        """They are turned away, at the attempts that are the answer."""
        attempts = [self._asked.get(sequence, 1) for sequence in sequences]
        self._refused.update(zip(sequences, attempts, strict=True))
        return attempts

    def answer(self, sequence: int, payload: Payload, status: int) -> bool:
        """Keep its end; False when it was not running here (forgotten since, or answered)."""
        if self._rows.get(sequence, b"") is not None:
            return False
        plain = status == Status.OK and isinstance(payload, bytes)
        self._rows[sequence] = payload if plain else Answer(payload, status)  # type: ignore[assignment]  # plain says bytes
        return True

    def answer_all(
        self, sequences: Sequence[int], payloads: Sequence[Payload], statuses: Sequence[int] | None
    ) -> Sequence[int]:
        """Keep the end of each (statuses None: all are OK); the places of those that were running here."""
        rows = self._rows
        if statuses is None and all(row is None for row in map(rows.get, sequences, repeat(b""))):
            rows.update(zip(sequences, payloads, strict=True))  # type: ignore[arg-type]  # what is OK is bytes
            return range(len(sequences))
        statuses = statuses or [Status.OK] * len(sequences)
        return [i for i, sequence in enumerate(sequences) if self.answer(sequence, payloads[i], statuses[i])]

    def recall(self, sequence: int) -> Answer | None:
        """Its answer, or None while it runs or where it is unknown."""
        row = self._rows.get(sequence)
        if row is None or isinstance(row, Answer):
            return row
        return Answer(row, Status.OK)

    def runs(self, sequence: int) -> bool:
        return self._rows.get(sequence, b"") is None

    def went(self, sequences: Sequence[int], peer: Peer) -> None:
        """Its answer was sent to `peer`: a repeat goes there too, and it is named when that peer dies."""
        self._went.update(dict.fromkeys(filter(self._rows.__contains__, sequences), peer))

    def note_parts(self, parts: Sequence[int]) -> None:
        """These are parts: they are to be forgotten with their message."""
        for part in parts:
            self._parts.setdefault(int(part), []).append(part)

    def parts_went(self, parts: Sequence[int], peer: Peer) -> None:
        """The same as `went` for parts, also for those that were made here."""
        for part in parts:
            if part >= self.floor:
                if part not in self._went:
                    self.note_parts([part])
                self._went[part] = peer

    def _forget_parts(self, watermark: int) -> None:
        for sequence in [sequence for sequence in self._parts if sequence < watermark]:
            for part in self._parts.pop(sequence):
                self._rows.pop(part, None)
                self._went.pop(part, None)

    def went_to(self, sequence: int) -> Peer | None:
        return self._went.get(sequence)

    def exposed_to(self, peer: Peer) -> list[int]:
        """The messages of which anything went to `peer` last, in order; the client knows which of them have ended."""
        return sorted({int(item) for item, went in self._went.items() if went == peer})


def _drop(rows: dict[int, Any], sequences: Iterable[int]) -> None:
    deque(map(rows.pop, sequences, repeat(None)), maxlen=0)  # a loop in C; this runs for every message
