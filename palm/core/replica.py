"""One copy of a store, and what copies say to each other.

Whoever holds a copy takes entries and images from the leader of the highest term that it has heard of, and from nobody
else: this is what makes an old leader harmless, whatever its clock says. Writes to disk are grouped: one is under way
at a time, and what comes meanwhile goes with the next. Nothing here decides who leads, or which copies count.
"""

from __future__ import annotations

from itertools import islice
from typing import Iterator, NamedTuple, Sequence

from palm.core.effect import Persist
from palm.core.store import Caller, Entry, Held, Mark, Position, Reply, Row, Said, Store

FUNCTION = "_copy"
"""What the instances of a server ask each other by."""

IMAGE_ROWS = 256
IMAGE_BYTES = 1024 * 1024


class Ask(NamedTuple):
    """Where do you stand? And from now on heed no leader of an earlier term."""

    term: int


class Append(NamedTuple):
    """These entries follow `before`."""

    term: int
    before: Position
    entries: tuple[Entry, ...]


class Image(NamedTuple):
    """A piece of a whole copy. The first one has number 0; with the `last` it takes the place of what was there."""

    term: int
    number: int
    last: bool
    rows: tuple[Row, ...]


class Fetch(NamedTuple):
    """Give me that piece of your copy."""

    term: int
    number: int


class State(NamedTuple):
    """How a copy stands: what is on its disk, where it has one. `term` is the highest it has heard of."""

    term: int
    copy: str
    durable: bool
    position: Position
    epoch: int
    error: str = ""
    """Why it could not keep what it was told last."""


Word = Ask | Append | Image | Fetch
Answer = State | Image


class Copy:
    """`copy` is its name: the same after a restart where the copy is on a disk, else the name of this life."""

    def __init__(self, name: str, store: Store, *, durable: bool) -> None:
        self.name = name
        self.store = store
        self.durable = durable
        self.kept = store.position
        """What is on the disk; without one, what is there."""
        self.error = ""
        self._dirty: list[Row] = []
        self._back: list[Store | list[Row]] = []
        self._writing = 0
        self._target = store.position
        self._ticket = 0
        self._image: list[tuple[Row, ...]] = []
        self._expected = 0
        self._coming: list[Row] = []

    # -- writing ------------------------------------------------------------------------------------------------------

    def apply(self, entry: Entry) -> Reply:
        reply, rows, before = self.store.apply(entry)
        self._changed(rows, before)
        return reply

    def replace(self, store: Store) -> None:
        """Hold that instead."""
        old = self.store
        self.store = store
        self._changed(_difference(old, store) if self.durable else [], old)

    def _changed(self, rows: list[Row], back: Store | list[Row]) -> None:
        self.error = ""
        if not self.durable:
            self.kept = self.store.position
            return
        self._dirty += rows
        self._back.append(back)

    def write(self) -> list[Persist]:
        """What is to be written to disk now, if anything."""
        if self._writing or not self._dirty:
            return []
        self._ticket += 1
        rows, self._dirty = self._dirty, []
        self._writing = len(self._back)
        self._target = self.store.position
        return [Persist(self._ticket, rows)]

    def written(self, ticket: int, error: str) -> bool:
        """The disk has answered. False where it refused: then all that it does not hold is taken back."""
        if ticket != self._ticket or not self._writing:
            return True
        done, self._writing = self._writing, 0
        if not error:
            del self._back[:done]
            self.kept = self._target
            return True
        for back in reversed(self._back):
            if isinstance(back, Store):
                self.store = back
            else:
                self.store.undo(back)
        self._back, self._dirty = [], []
        self.error = error
        return False

    @property
    def is_kept(self) -> bool:
        """The disk has all of it."""
        return not self._back or not self.durable

    # -- following ----------------------------------------------------------------------------------------------------

    def follow(self, word: Append | Image) -> None:
        """Do what the leader says, as far as it fits; where this copy stands afterwards tells it the rest."""
        if isinstance(word, Append):
            self._append(word.before, word.entries)
        else:
            whole = self.assemble(word)
            if whole is not None:
                self.replace(whole)

    def _append(self, before: Position, entries: Sequence[Entry]) -> None:
        if before == self.store.position:
            for entry in entries:
                self.apply(entry)
            return
        # A repeat overlaps with what is there.
        for place, entry in enumerate(entries):
            if entry.position == self.store.position:
                for later in entries[place + 1 :]:
                    self.apply(later)
                return

    def assemble(self, image: Image) -> Store | None:
        """Take the next piece of a whole copy; the copy, with the last one."""
        if image.number == 0:
            self._coming, self._expected = [], 0
        if image.number != self._expected:
            return None
        self._expected += 1
        self._coming += image.rows
        if not image.last:
            return None
        rows, self._coming, self._expected = self._coming, [], -1
        return Store.of(rows)

    def piece(self, term: int, number: int) -> Image:
        """That piece of this copy, as it is when the first one is asked for."""
        if number == 0 or not self._image:
            self._image = pieces(self.store)
        number = min(number, len(self._image) - 1)
        last = number == len(self._image) - 1
        image = Image(term, number, last, self._image[number])
        if last:
            self._image = []  # asked for again it is made again: nobody writes here meanwhile
        return image

    def state(self, term: int) -> State:
        return State(term, self.name, self.durable, self.kept, self.store.epoch, self.error)


def pieces(store: Store) -> list[tuple[Row, ...]]:
    """A whole copy in pieces of bounded size; its mark comes last, as nothing before it counts alone."""
    rows: Iterator[Row] = iter(sorted(store.rows(), key=_is_mark))
    cut: list[tuple[Row, ...]] = []
    held: list[Row] = []
    size = 0
    for row in rows:
        held.append(row)
        size += _bytes_of(row)
        if len(held) >= IMAGE_ROWS or size >= IMAGE_BYTES:
            cut.append(tuple(held))
            held, size = [], 0
    if held:
        cut.append(tuple(held))
    return cut


def batch_of(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """As many of these as travel together; at least one."""
    size = count = 0
    for entry in entries:
        size += len(entry.request.value)
        if count and size > IMAGE_BYTES:
            break
        count += 1
        if count >= IMAGE_ROWS:
            break
    return tuple(islice(entries, count))


def _is_mark(row: Row) -> bool:
    return isinstance(row, Mark)


def _bytes_of(row: Row) -> int:
    item = getattr(row, "item", None)
    return 0 if item is None else len(item.value)


def _difference(old: Store, new: Store) -> list[Row]:
    """The rows that turn one into the other."""
    rest = {_key_of(row): row for row in old.rows()}
    changed = [row for row in new.rows() if rest.pop(_key_of(row), None) != row]
    gone = [_without(row) for row in rest.values()]
    return [*gone, *changed]


def _key_of(row: Row) -> tuple[object, ...]:
    match row:
        case Held(key, _):
            return ("key", key)
        case Said(job, sequence, _):
            return ("said", job, sequence)
        case Caller(job, _, _):
            return ("caller", job)
        case Mark():
            return ("mark",)


def _without(row: Row) -> Row:
    match row:
        case Held(key, _):
            return Held(key, None)
        case Said(job, sequence, _):
            return Said(job, sequence, None)
        case Caller(job, _, _):
            return Caller(job, None)
    raise AssertionError("every copy has a mark")
