"""Watches: who is to hear of which change, from which revision on.

A watch has no queue. It is either *even* (all that concerns it has been taken) or *behind* from some revision on, and
then its events are read from the store's history at the time when its stream is taken from. So what is replayed and
what is live take one path, memory is bounded by the history, and a reader that is slower than a compaction learns of
it, as from etcd.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from palm.sim.etcd.store import Store
from palm.sim.etcd.values import FROM_KEY, Event, KeyValue, WatchAnswer, WatchRequest

PROGRESS_INTERVAL = 600_000_000_000
"""How often a quiet watch with `progress_notify` hears how far it is: etcd's ten minutes."""

MAX_REVISIONS = 1000
"""How many revisions one answer holds at most, when a watch is that far behind."""

_EVENT_OVERHEAD_BYTES = 48


@dataclass(slots=True)
class _Watch:
    id: int
    key: bytes
    range_end: bytes
    request: WatchRequest
    start: int
    """Changes before this revision are not of interest."""
    behind_from: int | None = None
    """The first revision that may hold something not yet taken; None: even."""
    quiet: bool = False
    """Nothing was said since the last progress interval began."""

    def wants(self, kv: KeyValue) -> bool:
        if kv.mod_revision < self.start or (self.request.no_delete if kv.deleted else self.request.no_put):
            return False
        return _is_within(kv.key, self.key, self.range_end)


@dataclass(slots=True)
class _Stream:
    next_progress_at: int
    watches: dict[int, _Watch] = field(default_factory=dict)
    compacted: set[int] = field(default_factory=set)
    """Watches that ended by compaction: their ids are taken until they are cancelled by request, too."""
    said: deque[WatchAnswer] = field(default_factory=deque)
    progress_requests: int = 0
    next_id: int = 0

    def knows(self, id: int) -> bool:
        return id in self.watches or id in self.compacted


class Hub:
    """All streams of one member, and what each has to say."""

    def __init__(self, store: Store, *, progress_interval: int, max_answer_bytes: int) -> None:
        self._store = store
        self._progress_interval = progress_interval
        self._max_answer_bytes = max_answer_bytes
        self._streams: dict[int, _Stream] = {}
        # Found by what they watch, as thousands may watch one range; and those few that want to hear of progress.
        self._by_range: dict[tuple[bytes, bytes], dict[tuple[int, int], _Watch]] = {}
        self._notified: dict[int, _Stream] = {}
        self._ticked_at = 0
        self._ready: set[int] = set()
        self._opened = 0
        self._seen_revision = store.revision

    # -- what readers ask ----------------------------------------------------------------------------------------------

    def open(self, now: int) -> int:
        self._opened += 1
        self._streams[self._opened] = _Stream(next_progress_at=now + self._progress_interval)
        return self._opened

    def close(self, number: int) -> None:
        stream = self._streams.pop(number, None)
        self._ready.discard(number)
        self._notified.pop(number, None)
        if stream is not None:
            for watch in stream.watches.values():
                self._forget(number, watch)

    def create(self, number: int, request: WatchRequest) -> int:
        stream = self._streams[number]
        self._ready.add(number)
        revision = self._store.revision
        key = request.key or b"\0"
        reason = ""
        if request.range_end not in (b"", FROM_KEY) and key >= request.range_end:
            reason = "mvcc: watcher range is empty"
        elif request.watch_id and stream.knows(request.watch_id):
            reason = "mvcc: duplicate watch ID provided on the WatchStream"
        if reason:
            stream.said.append(
                WatchAnswer(revision=revision, watch_id=-1, created=True, canceled=True, cancel_reason=reason)
            )
            return -1
        id = request.watch_id or self._number(stream)
        start = request.start_revision or revision + 1
        watch = _Watch(id, key, request.range_end, request, start, quiet=True)
        watch.behind_from = start if start <= revision else None
        stream.watches[id] = watch
        self._by_range.setdefault((watch.key, watch.range_end), {})[number, id] = watch
        if request.progress_notify and number not in self._notified:
            self._notified[number] = stream
            late = self._ticked_at - stream.next_progress_at
            if late >= 0:  # the intervals in which nobody wanted to hear of it are over
                stream.next_progress_at += (late // self._progress_interval + 1) * self._progress_interval
        stream.said.append(WatchAnswer(revision=revision, watch_id=id, created=True))
        return id

    def cancel(self, number: int, id: int) -> None:
        stream = self._streams[number]
        if not stream.knows(id):
            return
        watch = stream.watches.pop(id, None)
        if watch is not None:
            self._forget(number, watch)
        stream.compacted.discard(id)
        stream.said.append(WatchAnswer(revision=self._store.revision, watch_id=id, canceled=True))
        self._ready.add(number)

    def request_progress(self, number: int) -> None:
        self._streams[number].progress_requests += 1
        self._ready.add(number)

    @staticmethod
    def _number(stream: _Stream) -> int:
        while stream.knows(stream.next_id):
            stream.next_id += 1
        stream.next_id += 1
        return stream.next_id - 1

    # -- what happens --------------------------------------------------------------------------------------------------

    def committed(self) -> None:
        """The store may have new revisions: find whom they concern."""
        first, last = self._seen_revision + 1, self._store.revision
        self._seen_revision = last
        for revision, changes in self._store.changes(first, last) if last >= first else ():
            for (first_key, range_end), watches in self._by_range.items():
                for kv in changes:
                    # Most ranges fall out at the comparison: no call for those.
                    if kv.key >= first_key and _is_within(kv.key, first_key, range_end):
                        self._look_at(watches, revision, changes)
                        break

    def _look_at(self, watches: dict[tuple[int, int], _Watch], revision: int, changes: Sequence[KeyValue]) -> None:
        for (number, _), watch in watches.items():
            if watch.behind_from is None and any(map(watch.wants, changes)):
                watch.behind_from = revision
                self._ready.add(number)

    @property
    def deadline(self) -> int | None:
        """When `tick` has progress to send; None when no watch wants it."""
        return min((stream.next_progress_at for stream in self._notified.values() if _notified(stream)), default=None)

    def tick(self, now: int) -> None:
        """Tell quiet watches that asked for it how far they are, once an interval."""
        self._ticked_at = now
        for number, stream in self._notified.items():
            if now < stream.next_progress_at:
                continue
            stream.next_progress_at = now + self._progress_interval
            for watch in _notified(stream):
                if watch.quiet and watch.behind_from is None:
                    stream.said.append(WatchAnswer(revision=self._store.revision, watch_id=watch.id))
                    self._ready.add(number)
                watch.quiet = True

    # -- what readers hear ---------------------------------------------------------------------------------------------

    def ready(self) -> list[int]:
        return sorted(self._ready)

    def take(self, number: int) -> list[WatchAnswer]:
        stream = self._streams[number]
        self._ready.discard(number)
        answers = list(stream.said)
        stream.said.clear()
        for watch in list(stream.watches.values()):
            if watch.behind_from is None:
                continue
            if watch.behind_from < self._store.compact_revision:
                answers.append(
                    WatchAnswer(
                        revision=0, watch_id=watch.id, canceled=True, compact_revision=self._store.compact_revision
                    )
                )
                del stream.watches[watch.id]
                self._forget(number, watch)
                stream.compacted.add(watch.id)
                continue
            for events in self._batches(watch):
                answers.extend(self._fragments(watch, events))
                watch.quiet = False
            watch.behind_from = None
        progress = WatchAnswer(revision=self._store.revision, watch_id=-1)
        answers.extend([progress] * stream.progress_requests)
        stream.progress_requests = 0
        return answers

    def _forget(self, number: int, watch: _Watch) -> None:
        watches = self._by_range[watch.key, watch.range_end]
        del watches[number, watch.id]
        if not watches:
            del self._by_range[watch.key, watch.range_end]

    def _batches(self, watch: _Watch) -> Iterator[list[Event]]:
        assert watch.behind_from is not None
        events: list[Event] = []
        revisions = 0
        for _, changes in self._store.changes(max(watch.behind_from, 2), self._store.revision):
            wanted = [kv for kv in changes if watch.wants(kv)]
            if not wanted:
                continue
            events.extend(self._event(watch, kv) for kv in wanted)
            revisions += 1
            if revisions == MAX_REVISIONS:
                yield events
                events, revisions = [], 0
        if events:
            yield events

    def _event(self, watch: _Watch, kv: KeyValue) -> Event:
        return Event(kv=kv, prev_kv=self._store.before(kv) if watch.request.prev_kv else None)

    def _fragments(self, watch: _Watch, events: list[Event]) -> Iterator[WatchAnswer]:
        parts = list(_cut(events, self._max_answer_bytes)) if watch.request.fragment else [events]
        for place, part in enumerate(parts, start=1):
            yield WatchAnswer(
                revision=self._store.revision, watch_id=watch.id, events=tuple(part), fragment=place < len(parts)
            )


def _is_within(key: bytes, first: bytes, range_end: bytes) -> bool:
    if not range_end:
        return key == first
    return key >= first and (range_end == FROM_KEY or key < range_end)


def _notified(stream: _Stream) -> list[_Watch]:
    return [watch for watch in stream.watches.values() if watch.request.progress_notify]


def _cut(events: Iterable[Event], max_bytes: int) -> Iterator[list[Event]]:
    part: list[Event] = []
    size = 0
    for event in events:
        event_size = _EVENT_OVERHEAD_BYTES + sum(
            len(kv.key) + len(kv.value) for kv in (event.kv, event.prev_kv) if kv is not None
        )
        if part and size + event_size >= max_bytes:
            yield part
            part, size = [], 0
        part.append(event)
        size += event_size
    yield part
