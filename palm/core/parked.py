"""Answers that wait for an instance of the next server, or for their client's link.

Each also stands in the memory of its stage, so what there is no room for costs a retry and no message.
"""

from __future__ import annotations

from typing import Iterator

from palm.core.message import Batch, JobId, Peer

Where = str | Peer
"""A server's name, or a client."""


class Parked:
    """At most `most` of them."""

    def __init__(self, most: int) -> None:
        self.count = 0
        self._most = most
        # With each, since when.
        self._waiting: dict[Where, list[tuple[Batch, int]]] = {}

    def put(self, where: Where, batch: Batch, now: int) -> None:
        if self.count + len(batch) <= self._most:
            self._waiting.setdefault(where, []).append((batch, now))
            self.count += len(batch)

    def take(self, where: Where, now: int) -> Iterator[Batch]:
        """What waited for it, with what is left of its time."""
        for batch, since in self._waiting.pop(where, []):
            self.count -= len(batch)
            if batch.remaining is not None:
                batch.remaining = max(0, batch.remaining - (now - since))
            yield batch

    def drop(self, where: Where) -> None:
        self.count -= sum(len(batch) for batch, _ in self._waiting.pop(where, []))

    def forget(self, job: JobId) -> None:
        for where, batches in list(self._waiting.items()):
            kept = [(batch, since) for batch, since in batches if batch.header.job != job]
            self.count -= sum(len(batch) for batch, _ in batches) - sum(len(batch) for batch, _ in kept)
            self._waiting[where] = kept
