"""Dead letters that outlive their client: a small SQLite file in the user's state directory, with a bound.

A client puts in what ended as dead-lettered, with its payload, its route and the evidence; `palm dlq` takes it from
there.
Every call opens the file anew, so any thread and any process may use one.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Mapping, NamedTuple, Sequence

from palm.core.route import RouteText
from palm.errors import BadRequest

FILE = "dead-letters.sqlite3"
MOST = 10_000
MOST_BYTES = 256 * 1024 * 1024
"""Of payloads. The oldest letters go first, of all namespaces."""

LOCK_S = 1.0

SCHEMA = """
CREATE TABLE IF NOT EXISTS letter (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, namespace TEXT NOT NULL, client TEXT NOT NULL,
    job INTEGER NOT NULL, sequence INTEGER NOT NULL, route TEXT NOT NULL, evidence TEXT NOT NULL, payload BLOB NOT NULL
)
"""


class DeadLetter(NamedTuple):
    """A message whose attempts are used up: its place in its job, what it was, where it was to go, and why it did
    not."""

    sequence: int
    payload: bytes
    route: RouteText
    evidence: str


class Kept(NamedTuple):
    """A letter in the store; `at_s` is Unix time."""

    id: int
    at_s: float
    namespace: str
    client: str
    job: int
    letter: DeadLetter


def default_folder() -> str:
    """PALM_DLQ, else `palm` in the user's state directory."""
    named = os.environ.get("PALM_DLQ")
    if named:
        return named
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(state, "palm")


class Letters:
    """The store in a folder, for one namespace. Nothing is made before the first letter."""

    def __init__(self, folder: str, namespace: str, *, most: int = MOST, most_bytes: int = MOST_BYTES) -> None:
        self.path = Path(folder) / FILE
        self._namespace = namespace
        self._most = most
        self._most_bytes = most_bytes

    def keep(self, client: str, job: int, letters: Sequence[DeadLetter]) -> None:
        """Put letters in. Never raises for a store that cannot be written: the caller of the job has the letters."""
        who = (time.time(), self._namespace, client, job)
        rows = [(*who, one.sequence, json.dumps(plain(one.route)), one.evidence, one.payload) for one in letters]
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with closing(self._open()) as store, store:
                store.execute(SCHEMA)
                store.executemany(
                    "INSERT INTO letter (at, namespace, client, job, sequence, route, evidence, payload) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    rows,
                )
                self._make_room(store)
        except (OSError, sqlite3.Error) as error:
            log = logging.getLogger("palm.client")
            log.warning("%d dead letters are not kept in %s: %s", len(rows), self.path, error)

    def _make_room(self, store: sqlite3.Connection) -> None:
        store.execute("DELETE FROM letter WHERE id <= (SELECT MAX(id) FROM letter) - ?", (self._most,))
        total, *_ = store.execute("SELECT COALESCE(SUM(LENGTH(payload)), 0) FROM letter").fetchone()
        while total > self._most_bytes:
            oldest, size = store.execute("SELECT id, LENGTH(payload) FROM letter ORDER BY id LIMIT 1").fetchone()
            store.execute("DELETE FROM letter WHERE id = ?", (oldest,))
            total -= size

    def all(self) -> list[Kept]:
        """All letters of the namespace, the oldest first. Raises BadRequest where the file cannot be read."""
        return self._select("namespace = ?", (self._namespace,))

    def get(self, ids: Sequence[int]) -> list[Kept]:
        """These letters, in their order. BadRequest names one that is not there."""
        known = {one.id: one for one in self.all()}
        for one in ids:
            if one not in known:
                there = f"there are {min(known)} to {max(known)}" if known else "there is none"
                raise BadRequest(f"no dead letter {one} in namespace {self._namespace!r} of {self.path}; {there}")
        return [known[one] for one in sorted(set(ids))]

    def remove(self, ids: Sequence[int]) -> int:
        """How many there were of these."""
        if not self.path.exists():
            return 0
        try:
            with closing(self._open()) as store, store:
                count = 0
                for one in ids:
                    count += store.execute(
                        "DELETE FROM letter WHERE id = ? AND namespace = ?", (one, self._namespace)
                    ).rowcount
                return count
        except sqlite3.Error as error:
            raise self._unreadable(error) from error

    def _select(self, where: str, values: tuple[str, ...]) -> list[Kept]:
        if not self.path.exists():
            return []
        try:
            with closing(self._open()) as store:
                rows = store.execute(
                    "SELECT id, at, namespace, client, job, sequence, route, evidence, payload FROM letter "
                    f"WHERE {where} ORDER BY id",
                    values,
                ).fetchall()
        except sqlite3.Error as error:
            raise self._unreadable(error) from error
        return [
            Kept(number, at, namespace, client, job, DeadLetter(sequence, bytes(payload), json.loads(route), evidence))
            for number, at, namespace, client, job, sequence, route, evidence, payload in rows
        ]

    def _open(self) -> sqlite3.Connection:
        new = not self.path.exists()
        store = sqlite3.connect(self.path, timeout=LOCK_S)
        if new:
            os.chmod(self.path, 0o600)  # payloads are nobody else's business
        return store

    def _unreadable(self, error: sqlite3.Error) -> BadRequest:
        return BadRequest(f"{self.path} cannot be read as a store of dead letters: {error} (name another with --dlq)")


def plain(route: object) -> object:
    """The route as JSON knows it."""
    if isinstance(route, str):
        return route
    if isinstance(route, Mapping):
        return {name: plain(branch) for name, branch in route.items()}
    assert isinstance(route, Sequence), "a route's parts are text, branches by name, and lists of these"
    return [plain(part) for part in route]
