"""Keys and their history: etcd's multi-version store.

Every change has a revision; all changes between `begin` and `end` share one. A key's past is readable at any revision
that was not compacted, and the changes themselves are kept in order for watchers. It knows nothing of leases (a lease
is one number of a key), guards or requests.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Sequence

from palm.sim.etcd.values import FROM_KEY, EtcdRefused, KeyValue, Refusal

_OVERHEAD_BYTES = 64


class Store:
    def __init__(self) -> None:
        self.revision = 1
        """Of the last finished change; a fresh etcd is at 1."""
        self.compact_revision = -1
        self.size_bytes = 0
        self._keys: list[bytes] = []
        self._versions: dict[bytes, list[KeyValue]] = {}
        self._log: list[tuple[KeyValue, ...]] = []
        self._log_start = 2
        self._open: list[KeyValue] | None = None

    # -- reading -------------------------------------------------------------------------------------------------------

    @property
    def visible_revision(self) -> int:
        """What a read between `begin` and `end` says it was made at: one more, once something has changed."""
        return self.revision + bool(self._open)

    def check_revision(self, revision: int) -> None:
        """Raise `EtcdRefused` when `revision` cannot be read: it is to come, or is compacted. 0 or less: newest."""
        if revision > self.visible_revision:
            raise EtcdRefused(Refusal.FUTURE_REVISION)
        if 0 < revision < self.compact_revision:
            raise EtcdRefused(Refusal.COMPACTED)

    def read(self, key: bytes, range_end: bytes = b"", revision: int = 0) -> list[KeyValue]:
        """The living keys of a range, ascending, as they were at `revision` (0 or less: now); own changes are seen."""
        self.check_revision(revision)
        at = revision if revision > 0 else self.visible_revision
        found = (self._at(name, at) for name in self._names(key, range_end))
        return [kv for kv in found if kv is not None]

    def get(self, key: bytes) -> KeyValue | None:
        """One key as it is now; None when it does not exist."""
        return self._at(key, self.visible_revision) if key in self._versions else None

    def changes(self, start: int, end: int) -> Iterator[tuple[int, Sequence[KeyValue]]]:
        """Each finished revision from `start` up to and including `end` with its changes in order, none compacted."""
        assert start >= self._log_start, f"revision {start} was compacted; history starts at {self._log_start}"
        for revision in range(start, min(end, self.revision) + 1):
            yield revision, self._log[revision - self._log_start]

    def before(self, kv: KeyValue) -> KeyValue | None:
        """The key as it was at the revision before that of `kv`; None when it did not exist, or that is compacted."""
        revision = kv.mod_revision - 1
        if revision < self.compact_revision:
            return None
        return self._at(kv.key, revision) if kv.key in self._versions else None

    def _names(self, key: bytes, range_end: bytes) -> Sequence[bytes]:
        if not range_end:
            return (key,) if key in self._versions else ()
        low = bisect_left(self._keys, key)
        high = len(self._keys) if range_end == FROM_KEY else bisect_left(self._keys, range_end)
        return self._keys[low:high]

    def _at(self, key: bytes, revision: int) -> KeyValue | None:
        versions = self._versions[key]
        newest = versions[-1]
        if newest.mod_revision > revision:
            place = bisect_right(versions, revision, key=_mod_revision)
            if place == 0:
                return None
            newest = versions[place - 1]
        return None if newest.deleted else newest

    # -- changing ------------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """What follows, until `end`, is one revision."""
        assert self._open is None, "a change is already open"
        self._open = []

    def put(self, key: bytes, value: bytes, lease: int) -> KeyValue:
        """Write one key."""
        old = self.get(key)
        at = self.revision + 1
        kv = KeyValue(
            key=key,
            value=value,
            create_revision=old.create_revision if old else at,
            mod_revision=at,
            version=old.version + 1 if old else 1,
            lease=lease,
        )
        self._append(kv)
        return kv

    def delete(self, key: bytes) -> KeyValue | None:
        """Delete one key; what it was, or None when it did not exist."""
        old = self.get(key)
        if old is not None:
            self._append(KeyValue(key=key, mod_revision=self.revision + 1))
        return old

    def end(self) -> bool:
        """Finish the revision; False when nothing changed, and there is no new revision then."""
        assert self._open is not None, "no change is open"
        changes, self._open = tuple(self._open), None
        if changes:
            self.revision += 1
            self._log.append(changes)
        return bool(changes)

    def _append(self, kv: KeyValue) -> None:
        assert self._open is not None, "no change is open"
        versions = self._versions.get(kv.key)
        if versions is None:
            insort(self._keys, kv.key)
            self._versions[kv.key] = [kv]
        else:
            versions.append(kv)
        self._open.append(kv)
        self.size_bytes += _size(kv)

    # -- forgetting ----------------------------------------------------------------------------------------------------

    def compact(self, revision: int) -> None:
        """Forget what cannot be seen at `revision` or later; the changes of `revision` itself are kept for watchers."""
        if revision <= self.compact_revision:
            raise EtcdRefused(Refusal.COMPACTED)
        if revision > self.revision:
            raise EtcdRefused(Refusal.FUTURE_REVISION)
        self.compact_revision = revision
        forgotten = max(0, revision - self._log_start)
        touched = sorted({kv.key for changes in self._log[:forgotten] for kv in changes})
        del self._log[:forgotten]
        self._log_start += forgotten
        for key in touched:
            self._forget(key, revision)

    def _forget(self, key: bytes, revision: int) -> None:
        versions = self._versions[key]
        keep = max(0, bisect_right(versions, revision, key=_mod_revision) - 1)
        if versions[keep].deleted and versions[keep].mod_revision < revision:
            keep += 1
        self.size_bytes -= sum(map(_size, versions[:keep]))
        del versions[:keep]
        if not versions:
            del self._versions[key]
            del self._keys[bisect_left(self._keys, key)]


def _mod_revision(kv: KeyValue) -> int:
    return kv.mod_revision


def _size(kv: KeyValue) -> int:
    return len(kv.key) + len(kv.value) + _OVERHEAD_BYTES
