"""A server's key-value store as a pure state machine: values, versions, sessions, and what was said to whom.

The state is a set of *rows*; applying an entry of the log computes the rows that change, and putting those is all there
is. So the same rows make a copy on disk, a copy on another instance, and the way back when a disk refuses. Answers to
writes are part of the state (RIFL; Lee et al., 2015): a write that is asked for again, of whichever leader, is not
applied again. This file knows no leader, no link and no disk.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque
from enum import IntEnum
from typing import Iterable, Iterator, Literal, NamedTuple

from palm.core.message import JobId

FUNCTION = "_store"
"""What every server's store is asked by; like a function of the server, and its leader answers."""

MAX_KEY_BYTES = 512
MAX_VALUE_BYTES = 16 * 1024 * 1024
MAX_STORE_BYTES = 1 << 30
"""Keys and values of one server: every copy holds them in memory."""

PAGE_KEYS = 1_000
PAGE_BYTES = 4 * 1024 * 1024

HISTORY = 65_536
HISTORY_BYTES = 64 * 1024 * 1024
"""Changes that are kept for who watches, and for a copy that is a little behind."""

CALLERS = 16_384
"""Clients' jobs whose writes are remembered; beyond it the one that wrote longest ago is forgotten."""

ROW_BYTES = 64


class Op(IntEnum):
    GET = 1
    SET = 2
    APPEND = 3
    DELETE = 4
    DROP = 5
    LIST = 6
    WATCH = 7


WRITES = frozenset({Op.SET, Op.APPEND, Op.DELETE, Op.DROP})


class Code(IntEnum):
    OK = 0
    MISSING = 1
    REFUSED = 2
    """It was not done, and will not be; `text` says why."""
    WAITING = 3
    """It was not done: the store cannot serve now; `text` says what it waits for."""
    GAP = 4
    """The changes that a watch asked for are not all there any more."""


class Request(NamedTuple):
    """`key` is a prefix for DROP, LIST and WATCH, and for a SET whose key is to be `made`. LIST gives keys behind
    `start`; WATCH changes after version `after` of `epoch`."""

    op: Op
    key: str = ""
    value: bytes = b""
    made: bool = False
    start: str = ""
    after: int = 0
    epoch: int = 0


class Change(NamedTuple):
    """What a write did. For "drop", `key` is the prefix of all that is gone."""

    version: int
    kind: Literal["set", "delete", "drop"]
    key: str
    value: bytes = b""


class Reply(NamedTuple):
    """`version` is that of the key read or written, for LIST and WATCH that of the store; `size` the new length of an
    appended value, or how many keys were dropped; `more`: there is another page."""

    code: Code = Code.OK
    text: str = ""
    key: str = ""
    value: bytes = b""
    version: int = 0
    epoch: int = 0
    size: int = 0
    keys: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()
    more: bool = False


class Position(NamedTuple):
    """How far a copy is: the term and version of its last entry. Two copies that are at one position are equal."""

    term: int = 0
    version: int = 0


class Entry(NamedTuple):
    """One write in the log. `job` and `sequence` say whose it is, `floor` that all before it are through."""

    position: Position
    request: Request
    job: JobId
    sequence: int
    floor: int = 0


class Item(NamedTuple):
    value: bytes
    version: int


# -- rows -------------------------------------------------------------------------------------------------------------


class Held(NamedTuple):
    """A key and its item; None: there is none."""

    key: str
    item: Item | None


class Said(NamedTuple):
    """The answer to a write; None: it is forgotten."""

    job: JobId
    sequence: int
    reply: Reply | None


class Caller(NamedTuple):
    """A job that writes: all its sequences below `floor` are through, its last write was `version`. None: forgotten."""

    job: JobId
    floor: int | None
    version: int = 0


class Mark(NamedTuple):
    """How far this copy is. A new `epoch` begins where a store begins anew."""

    epoch: int
    position: Position


Row = Held | Said | Caller | Mark


class Member(NamedTuple):
    """A copy that has every write that was acknowledged. `peer` and `host` are where it was last."""

    copy: str
    durable: bool
    peer: str
    host: str


class StoreRecord(NamedTuple):
    """What the registry holds of a server's store: which copies count (PacificA; Lin et al., 2008). `closed`: the last
    of them ended on purpose and kept nothing."""

    epoch: int
    members: tuple[Member, ...]
    closed: bool = False


def objection(request: Request) -> str:
    """What is wrong with a request by itself, in words; nothing, where it may be served."""
    key, what = request.key, "prefix" if request.op in (Op.DROP, Op.LIST, Op.WATCH) else "key"
    if not key and what == "key" and not request.made:
        return "a key of the store is 1 to 512 bytes of text, this one is empty"
    size = len(key.encode())
    if size > MAX_KEY_BYTES:
        return f"{what} of {size} bytes exceeds {MAX_KEY_BYTES} (a shorter one will do: keep what is long in the value)"
    if not key.isprintable():
        return f"{what} {key!r:.200} holds characters that cannot be shown (use printable text)"
    if len(request.value) > MAX_VALUE_BYTES:
        return (
            f"value of {len(request.value)} bytes for {key!r:.200} exceeds {MAX_VALUE_BYTES} "
            "(split it over several keys, or keep it in a file and store its name)"
        )
    return ""


class Store:
    """One copy of one server's store."""

    def __init__(self) -> None:
        self.epoch = 0
        self.position = Position()
        self.bytes = 0
        self._items: dict[str, Item] = {}
        self._keys: list[str] = []
        self._said: dict[JobId, dict[int, Reply]] = {}
        self._callers: dict[JobId, Caller] = {}
        self._history: deque[tuple[Entry, tuple[Change, ...]]] = deque()
        self._history_bytes = 0
        self._before_history = Position()

    @classmethod
    def of(cls, rows: Iterable[Row]) -> Store:
        """From the rows of a disk, or of another copy. Callers come back in the order of their last writes."""
        store = cls()
        callers: list[Caller] = []
        for row in rows:
            if isinstance(row, Caller):
                callers.append(row)
            else:
                store.put(row)
        for caller in sorted(callers, key=_version_of):
            store.put(caller)
        store._before_history = store.position
        return store

    @classmethod
    def anew(cls, epoch: int) -> Store:
        return cls.of([Mark(epoch, Position(epoch, 0))])

    @property
    def version(self) -> int:
        return self.position.version

    def __len__(self) -> int:
        return len(self._items)

    # -- rows ---------------------------------------------------------------------------------------------------------

    def rows(self) -> Iterator[Row]:
        """All of it. The list of them is a copy that later writes do not touch."""
        yield Mark(self.epoch, self.position)
        yield from (Held(key, item) for key, item in self._items.items())
        yield from self._callers.values()
        for job, replies in self._said.items():
            yield from (Said(job, sequence, reply) for sequence, reply in replies.items())

    def put(self, row: Row) -> Row:
        """Make it so; the row as it was before."""
        match row:
            case Held(key, item):
                return self._hold(key, item)
            case Said(job, sequence, reply):
                return self._say(job, sequence, reply)
            case Caller():
                return self._note(row)
            case Mark(epoch, position):
                before = Mark(self.epoch, self.position)
                self.epoch, self.position = epoch, position
                return before

    def _hold(self, key: str, item: Item | None) -> Held:
        before = self._items.get(key)
        if before is not None:
            self.bytes -= len(key) + len(before.value)
        elif item is not None:
            insort(self._keys, key)
        if item is not None:
            self._items[key] = item
            self.bytes += len(key) + len(item.value)
        elif before is not None:
            del self._items[key]
            del self._keys[bisect_left(self._keys, key)]
        return Held(key, before)

    def _say(self, job: JobId, sequence: int, reply: Reply | None) -> Said:
        replies = self._said.setdefault(job, {})
        before = replies.pop(sequence, None)
        if reply is not None:
            replies[sequence] = reply
        elif not replies:
            del self._said[job]
        return Said(job, sequence, before)

    def _note(self, caller: Caller) -> Caller:
        before = self._callers.pop(caller.job, Caller(caller.job, None))
        if caller.floor is not None:
            self._callers[caller.job] = caller
        return before

    # -- reading ------------------------------------------------------------------------------------------------------

    def get(self, key: str) -> Item | None:
        return self._items.get(key)

    def page(self, prefix: str, start: str) -> tuple[list[str], bool]:
        """Keys with that prefix behind `start`, in order, and whether there are more."""
        at = max(bisect_left(self._keys, prefix), bisect_right(self._keys, start) if start else 0)
        keys = self._keys[at : at + PAGE_KEYS + 1]
        found = [key for key in keys[:PAGE_KEYS] if key.startswith(prefix)]
        return found, len(keys) > PAGE_KEYS and keys[-1].startswith(prefix)

    def _under(self, prefix: str) -> list[str]:
        at = bisect_left(self._keys, prefix)
        found = []
        while at < len(self._keys) and self._keys[at].startswith(prefix):
            found.append(self._keys[at])
            at += 1
        return found

    def read(self, request: Request) -> Reply:
        """The answer to a request that changes nothing."""
        if request.op == Op.GET:
            item = self._items.get(request.key)
            if item is None:
                return Reply(Code.MISSING, key=request.key, epoch=self.epoch)
            return Reply(key=request.key, value=item.value, version=item.version, epoch=self.epoch)
        if request.op == Op.LIST:
            keys, more = self.page(request.key, request.start)
            return Reply(keys=tuple(keys), more=more, version=self.version, epoch=self.epoch)
        return self._watched(request)

    def _watched(self, request: Request) -> Reply:
        """Changes under the prefix. `epoch` 0 asks where the store is now."""
        if not request.epoch:
            return Reply(version=self.version, epoch=self.epoch)
        if request.epoch != self.epoch:
            return Reply(Code.GAP, "the store began anew: every copy of it was lost", epoch=self.epoch)
        if request.after < self._before_history.version:
            oldest = self._before_history.version + 1
            return Reply(Code.GAP, f"changes before version {oldest} are not kept any more", epoch=self.epoch)
        changes: list[Change] = []
        size = 0
        version, more = self.version, False
        first = max(0, request.after - self._before_history.version)
        for place in range(first, len(self._history)):
            entry, made = self._history[place]
            size += sum(len(change.value) for change in made)
            if changes and size > PAGE_BYTES:
                version, more = entry.position.version - 1, True
                break
            changes += [change for change in made if _concerns(change, request.key)]
        return Reply(changes=tuple(changes), version=version, epoch=self.epoch, more=more)

    def concerned(self, prefix: str, after: int) -> bool:
        """Something under the prefix has changed since."""
        first = max(0, after - self._before_history.version)
        return any(
            _concerns(change, prefix)
            for place in range(first, len(self._history))
            for change in self._history[place][1]
        )

    def answered(self, job: JobId, sequence: int) -> Reply | Literal["through"] | None:
        """The answer to a write that was applied; "through" where the caller needs none any more; None for a new
        one."""
        caller = self._callers.get(job)
        if caller is not None and caller.floor is not None and sequence < caller.floor:
            return "through"
        return self._said.get(job, {}).get(sequence)

    def refusal(self, request: Request) -> str:
        """Why this write cannot be applied as things stand; nothing, where it can."""
        if request.op == Op.APPEND:
            item = self._items.get(request.key)
            size = len(request.value) + (0 if item is None else len(item.value))
            if size > MAX_VALUE_BYTES:
                return (
                    f"{request.key!r:.200} would be {size} bytes long with what is appended, over {MAX_VALUE_BYTES} "
                    "(append to another key)"
                )
        if request.op in (Op.SET, Op.APPEND) and self.bytes + len(request.value) + len(request.key) > MAX_STORE_BYTES:
            return (
                f"the store holds {self.bytes} bytes, and {len(request.value)} more for {request.key!r:.200} exceed "
                f"{MAX_STORE_BYTES} (delete keys, drop sessions, or use several servers)"
            )
        return ""

    # -- writing ------------------------------------------------------------------------------------------------------

    def apply(self, entry: Entry) -> tuple[Reply, list[Row], list[Row]]:
        """Apply the next entry: the answer, the rows as they are now, and as they were (to be put back last first)."""
        assert entry.position.version == self.version + 1, f"{entry.position} does not follow {self.position}"
        reply, rows, changes = self._outcome(entry)
        rows += self._remember(entry, reply)
        rows.append(Mark(self.epoch, entry.position))
        before = [self.put(row) for row in rows]
        self._history.append((entry, changes))
        self._history_bytes += _weight(entry, changes)
        while len(self._history) > HISTORY or self._history_bytes > HISTORY_BYTES:
            oldest, made = self._history.popleft()
            self._history_bytes -= _weight(oldest, made)
            self._before_history = oldest.position
        return reply, rows, before

    def undo(self, before: list[Row]) -> None:
        """Take back the last entry, whose rows were these."""
        for row in reversed(before):
            self.put(row)
        if self._history:
            self._history_bytes -= _weight(*self._history.pop())

    def holds(self, position: Position) -> bool:
        """A copy at that position lacks nothing but the latest entries of this one."""
        place = position.version - self._before_history.version
        if position == self.position or not 0 <= place < len(self._history):
            return position == self.position
        return position == (self._before_history if place == 0 else self._history[place - 1][0].position)

    def since(self, position: Position) -> list[Entry] | None:
        """The entries behind that position; None where it is none of this copy's, or too long ago."""
        if not self.holds(position):
            return None
        first = position.version - self._before_history.version
        return [self._history[place][0] for place in range(first, len(self._history))]

    def _outcome(self, entry: Entry) -> tuple[Reply, list[Row], tuple[Change, ...]]:
        request, version = entry.request, entry.position.version
        key = request.key
        match request.op:
            case Op.SET:
                if request.made:
                    key = self._new_key(key, version)
                change = Change(version, "set", key, request.value)
                return self._done(key, version), [Held(key, Item(request.value, version))], (change,)
            case Op.APPEND:
                item = self._items.get(key)
                value = request.value if item is None else item.value + request.value
                change = Change(version, "set", key, value)
                reply = self._done(key, version)._replace(size=len(value))
                return reply, [Held(key, Item(value, version))], (change,)
            case Op.DELETE:
                if key not in self._items:
                    return Reply(Code.MISSING, key=key, version=version, epoch=self.epoch), [], ()
                return self._done(key, version), [Held(key, None)], (Change(version, "delete", key),)
            case Op.DROP:
                keys = self._under(key)
                made = (Change(version, "drop", key),) if keys else ()
                return self._done(key, version)._replace(size=len(keys)), [Held(one, None) for one in keys], made
        raise AssertionError(f"{request.op!r} is no write")

    def _done(self, key: str, version: int) -> Reply:
        return Reply(key=key, version=version, epoch=self.epoch)

    def _new_key(self, prefix: str, version: int) -> str:
        """One that no key has; the same on every copy."""
        key, number = f"{prefix}{version:08x}", 0
        while key in self._items:
            number += 1
            key = f"{prefix}{version:08x}-{number}"
        return key

    def _remember(self, entry: Entry, reply: Reply) -> list[Row]:
        """The answer, for as long as its caller may ask again."""
        job, floor = entry.job, entry.floor
        rows: list[Row] = [Caller(job, floor, entry.position.version), Said(job, entry.sequence, reply)]
        rows += [Said(job, sequence, None) for sequence in self._said.get(job, {}) if sequence < floor]
        if job not in self._callers and len(self._callers) >= CALLERS:
            oldest = next(iter(self._callers))
            rows.append(Caller(oldest, None))
            rows += [Said(oldest, sequence, None) for sequence in self._said.get(oldest, {})]
        return rows


def _version_of(caller: Caller) -> int:
    return caller.version


def _concerns(change: Change, prefix: str) -> bool:
    return change.key.startswith(prefix) or (change.kind == "drop" and prefix.startswith(change.key))


def _weight(entry: Entry, changes: tuple[Change, ...]) -> int:
    return ROW_BYTES + len(entry.request.value) + sum(len(change.value) for change in changes)
