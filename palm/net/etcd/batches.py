"""Whole revisions out of watch answers, and the place to resume from. Pure: no stream, no clock.

etcd may cut an answer into fragments, in the middle of a revision; a lost connection may end it there. What is handed
on is always whole: of an unfinished answer, the last revision seen is held back until a later event or the last
fragment. So `resume_at` names a revision of which nothing has been handed on.
"""

from __future__ import annotations

from collections.abc import Sequence

from palm.net.etcd import records
from palm.ports.registry import Change
from palm.wire import etcd as wire


class Batches:
    """`after` is the last revision that the reader has."""

    def __init__(self, after: int) -> None:
        self._handed_on = after
        self._held: dict[bytes, wire.Event] = {}  # of one revision; a key changes at most once in a revision

    @property
    def resume_at(self) -> int:
        """The first revision to ask for after the stream broke. Never from a header: headers may be ahead of events."""
        return self._handed_on + 1

    def broken(self) -> None:
        """The stream is gone; its unfinished revision will come again, whole."""
        self._held.clear()

    def feed(self, events: Sequence[wire.Event], *, more: bool) -> tuple[Change, ...]:
        """Take one answer (`more`: it is a fragment, and not the last) and return what is complete by now.

        Events at or below what was handed on are dropped: etcd before 3.4.24 is known to repeat them.
        """
        ready: list[Change] = []
        for event in events:
            if self._held and event.kv.mod_revision > self._held_revision:
                ready += self._release()
            if event.kv.mod_revision > self._handed_on and event.kv.mod_revision >= self._held_revision:
                self._held[event.kv.key] = event
        if not more:
            ready += self._release()
        return tuple(ready)

    @property
    def _held_revision(self) -> int:
        return next(iter(self._held.values())).kv.mod_revision if self._held else 0

    def _release(self) -> list[Change]:
        if not self._held:
            return []
        self._handed_on = self._held_revision
        held, self._held = self._held, {}
        return [records.change(event) for event in held.values()]
