"""What users call to reach a server's key-value store: `Store`, and its twin for coroutines.

An operation is one message to the server's leader, so it has its identity, its retries and its deadline like any other.
What both twins decide stands in `Operations`, as steps for whoever can wait (see `palm.session`).
"""

from __future__ import annotations

from typing import Any, AsyncIterator, Awaitable, Callable, Generic, Iterator, Literal, NamedTuple, Self, TypeVar

from palm.core.names import check_name
from palm.core.store import FUNCTION, WRITES, Code, Op, Reply, Request, objection
from palm.core.store import Change as CoreChange
from palm.errors import PalmError, StoreRefused, StoreUnavailable, WaitTimeout, WatchGap
from palm.session import CALL_S, Open, Session, Steps, check_seconds
from palm.wire.store import read_reply, write_request

PAUSE_S = 0.05
"""Before a store that waits for something is asked again; it has itself waited before it says so."""

WHY_S = 2.5
"""A store that cannot serve holds a read for 2 s before it says why."""

Value = TypeVar("Value")


class Version(NamedTuple):
    """A moment of a store: `number` counts its writes; a new `epoch` begins where the store had to begin anew."""

    epoch: int
    number: int


class Change(NamedTuple):
    """One change that a watch saw. "set" has the whole new value; "drop" says that every key with the prefix `key` is
    gone. `version` is where to go on from after it."""

    kind: Literal["set", "delete", "drop"]
    key: str
    value: bytes
    version: Version


class Operations:
    """The steps of every operation, on the keys of one session or of the whole store."""

    def __init__(self, session: Session, server: str, prefix: str, timeout: float | None) -> None:
        self.session = session
        self.server = check_name("server", server)
        self.prefix = prefix
        self.timeout = check_seconds("timeout", timeout)
        self._route: str = f"{server}.{FUNCTION}"

    def get(self, open: Open, key: str) -> Steps[bytes | None]:
        reply = yield from self._ask(open, Request(Op.GET, self._key(key)))
        return None if reply.code == Code.MISSING else reply.value

    def set(self, open: Open, value: bytes, key: str | None) -> Steps[str]:
        made = key is None
        full = self.prefix if key is None else self._key(key)
        reply = yield from self._ask(open, Request(Op.SET, full, self._bytes(value, key), made))
        return reply.key[len(self.prefix) :]

    def append(self, open: Open, value: bytes, key: str) -> Steps[int]:
        reply = yield from self._ask(open, Request(Op.APPEND, self._key(key), self._bytes(value, key)))
        return reply.size

    def delete(self, open: Open, key: str) -> Steps[bool]:
        reply = yield from self._ask(open, Request(Op.DELETE, self._key(key)))
        return reply.code == Code.OK

    def drop(self, open: Open) -> Steps[int]:
        reply = yield from self._ask(open, Request(Op.DROP, self.prefix))
        return reply.size

    def keys(self, open: Open, prefix: str) -> Steps[list[str]]:
        full = self.prefix + self._text(prefix, "prefix")
        keys: list[str] = []
        while True:
            reply = yield from self._ask(open, Request(Op.LIST, full, start=keys[-1] if keys else ""))
            keys += reply.keys
            if not reply.more or not reply.keys:
                return [key[len(self.prefix) :] for key in keys]

    def now(self, open: Open) -> Steps[Version]:
        reply = yield from self._ask(open, Request(Op.WATCH, self.prefix))
        return Version(reply.epoch, reply.version)

    def changes(self, open: Open, prefix: str, after: Version) -> Steps[tuple[list[Change], Version]]:
        """What has changed since, and up to where that is all; perhaps nothing, after a while."""
        full = self.prefix + self._text(prefix, "prefix")
        reply = yield from self._ask(open, Request(Op.WATCH, full, after=after.number, epoch=after.epoch))
        changes = [self._change(change, reply.epoch) for change in reply.changes]
        return changes, Version(reply.epoch, reply.version)

    def _change(self, change: CoreChange, epoch: int) -> Change:
        key = change.key[len(self.prefix) :] if change.key.startswith(self.prefix) else ""
        return Change(change.kind, key, change.value, Version(epoch, change.version))

    def _key(self, key: str) -> str:
        if not self._text(key, "key"):
            raise StoreRefused(f"a key of the store of {self.server!r} is 1 to 512 bytes of text, this one is empty")
        return self.prefix + key

    def _text(self, text: object, what: str) -> str:
        if not isinstance(text, str):
            hint = ": decode it, e.g. key.decode()" if isinstance(text, bytes) else ", e.g. str(key)"
            kind = type(text).__name__
            raise TypeError(f"a {what} of the store of {self.server!r} is {kind}, text (str) is needed{hint}")
        return text

    def _bytes(self, value: object, key: str | None) -> bytes:
        if not isinstance(value, bytes):
            hint = ": encode it, e.g. text.encode()" if isinstance(value, str) else ""
            raise TypeError(
                f"the value for {key!r:.200} in the store of {self.server!r} is {type(value).__name__}, "
                f"bytes are needed{hint}"
            )
        return value

    def _ask(self, open: Open, request: Request) -> Steps[Reply]:
        """One request, asked again as long as the store waits for something and there is time."""
        wrong = objection(request)
        if wrong:
            raise StoreRefused(f"store of {self.server!r}: {wrong}")
        limit_s = self.timeout or self.session.timeout or CALL_S
        payload = write_request(request)
        engine = yield from self.session.connect(open)
        begin = engine.host.now()
        waits_for = ""
        writes = request.op in WRITES
        while True:
            left_s = limit_s - (engine.host.now() - begin) / 1e9
            if left_s <= 0:
                raise StoreUnavailable(f"{waits_for} (waited {limit_s:g} s)")
            try:
                # Of a write's time something is left to ask why it was not answered.
                call_s = max(0.75 * left_s, left_s - WHY_S) if writes else left_s
                raw = yield from self.session.call(open, self._route, payload, call_s)
            except WaitTimeout as error:
                why = (yield from self._why(open, left_s - call_s)) if writes else waits_for
                if why:
                    raise StoreUnavailable(f"{why} (waited {limit_s:g} s)") from error
                raise
            reply = read_reply(raw)
            if reply.code == Code.REFUSED:
                raise StoreRefused(reply.text)
            if reply.code == Code.GAP:
                raise WatchGap(f"watch of {request.key!r:.200} in the store of {self.server!r}: {reply.text}")
            if reply.code != Code.WAITING:
                return reply
            waits_for = reply.text
            yield min(PAUSE_S, max(0.001, left_s))


    def _why(self, open: Open, left_s: float) -> Steps[str]:
        """What the store waits for, where it says so; a write may have been done by now, or be done yet."""
        ask = write_request(Request(Op.WATCH))
        try:
            reply = read_reply((yield from self.session.call(open, self._route, ask, left_s)))
        except PalmError:
            return ""
        return f"{reply.text}; the write may be done yet" if reply.code == Code.WAITING else ""


Perform = Callable[[Callable[[Open], Steps[Any]]], Any]
"""Does the waiting of some steps: returns their value, or an awaitable of it."""


class _Face:
    def __init__(self, operations: Operations, perform: Perform) -> None:
        self._operations = operations
        self._perform = perform

    def _inside(self, name: str) -> Operations:
        mine = self._operations
        prefix = f"{mine.prefix}{check_name('session', name)}/"
        return Operations(mine.session, mine.server, prefix, mine.timeout)


class Store(_Face):
    """The key-value store of a server: keys are text, values bytes. Made by `client.store("my_server")`.

    Each operation is linearizable for its key: it happens at one moment between call and return, whichever instance
    leads. `timeout` (seconds) bounds each: `WaitTimeout` or `StoreUnavailable` say what was waited for, and a write may
    then have been done. A key or value over its limit, or a full disk, is `StoreRefused`.
    """

    def get(self, key: str) -> bytes | None:
        """The value; None where there is no such key (an empty value is `b""`)."""
        value: bytes | None = self._perform(lambda open: self._operations.get(open, key))
        return value

    def set(self, value: bytes, key: str | None = None) -> str:
        """Write it, and return its key; without one the store makes a key that it has not got yet."""
        made: str = self._perform(lambda open: self._operations.set(open, value, key))
        return made

    def append(self, value: bytes, key: str) -> int:
        """Put it behind what the key has (nothing, where it is missing); the length of it all."""
        size: int = self._perform(lambda open: self._operations.append(open, value, key))
        return size

    def delete(self, key: str) -> bool:
        """Whether there was such a key."""
        was: bool = self._perform(lambda open: self._operations.delete(open, key))
        return was

    def list(self, prefix: str = "") -> list[str]:
        """The keys with that prefix, in order. Read in pages of 1,000 keys, each at one moment."""
        keys: list[str] = self._perform(lambda open: self._operations.keys(open, prefix))
        return keys

    def now(self) -> Version:
        """Where the store is: `watch(after=...)` goes on from there."""
        version: Version = self._perform(self._operations.now)
        return version

    def watch(self, prefix: str = "", *, after: Version | None = None, timeout: float | None = None) -> Watch:
        """Iterate over the changes under a prefix, each once and in order, from now on or after a version.

        `timeout` (seconds) bounds the wait for the next change (`WaitTimeout`; iterating on is allowed), None waits on.
        Raises `WatchGap` rather than leave something out: then list, and watch from there.
        """
        return Watch(self._operations, self._perform, prefix, after or self.now(), timeout)

    def session(self, name: str) -> StoreSession:
        """The keys that begin with `name/`, under their names without it."""
        return StoreSession(self._inside(name), self._perform)


class StoreSession(Store):
    """Keys of one session."""

    def drop(self) -> int:
        """Delete every key of the session at once; how many there were."""
        count: int = self._perform(self._operations.drop)
        return count


class _Watching(Generic[Value]):
    """What both kinds of watches hold."""

    def __init__(
        self, operations: Operations, perform: Perform, prefix: str, after: Version | None, timeout: float | None
    ) -> None:
        self._operations = operations
        self._perform = perform
        self._prefix = prefix
        self._timeout = check_seconds("timeout", timeout)
        self._ready: list[Change] = []
        self._version = after
        self._handed = after

    @property
    def version(self) -> Version | None:
        """Everything up to here was seen; `watch(after=...)` goes on from it."""
        return self._handed if self._ready else self._version

    def _next(self, open: Open) -> Steps[Change]:
        """The next change."""
        begin: int | None = None
        while not self._ready:
            if self._version is None:
                self._version = self._handed = yield from self._operations.now(open)
            engine = yield from self._operations.session.connect(open)
            now = engine.host.now()
            begin = now if begin is None else begin
            if self._timeout is not None and now - begin >= self._timeout * 1e9:
                raise WaitTimeout(
                    f"no change under {self._prefix!r:.200} in the store of {self._operations.server!r} within "
                    f"{self._timeout:g} s"
                )
            self._handed = self._version
            self._ready, self._version = yield from self._operations.changes(open, self._prefix, self._version)
        change = self._ready.pop(0)
        self._handed = change.version
        return change


class Watch(_Watching[Change], Iterator[Change]):
    """An endless iterator of changes."""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Change:
        change: Change = self._perform(self._next)
        return change


class AsyncStore(_Face):
    """`Store` for coroutines. Made by `AsyncClient.store`."""

    async def get(self, key: str) -> bytes | None:
        """The value; None where there is no such key."""
        return await self._await(lambda open: self._operations.get(open, key))

    async def set(self, value: bytes, key: str | None = None) -> str:
        """Write it, and return its key; without one the store makes a key."""
        return await self._await(lambda open: self._operations.set(open, value, key))

    async def append(self, value: bytes, key: str) -> int:
        """Put it behind what the key has; the length of it all."""
        return await self._await(lambda open: self._operations.append(open, value, key))

    async def delete(self, key: str) -> bool:
        """Whether there was such a key."""
        return await self._await(lambda open: self._operations.delete(open, key))

    async def list(self, prefix: str = "") -> list[str]:
        """The keys with that prefix, in order."""
        return await self._await(lambda open: self._operations.keys(open, prefix))

    async def now(self) -> Version:
        """Where the store is."""
        return await self._await(self._operations.now)

    def watch(self, prefix: str = "", *, after: Version | None = None, timeout: float | None = None) -> AsyncWatch:
        """The changes under a prefix, as `Store.watch` has them; without `after`, from the first `anext` on."""
        return AsyncWatch(self._operations, self._perform, prefix, after, timeout)

    def session(self, name: str) -> AsyncStoreSession:
        """The keys that begin with `name/`, under their names without it."""
        return AsyncStoreSession(self._inside(name), self._perform)

    async def _await(self, steps: Callable[[Open], Steps[Value]]) -> Value:
        awaitable: Awaitable[Value] = self._perform(steps)
        return await awaitable


class AsyncStoreSession(AsyncStore):
    """Keys of one session."""

    async def drop(self) -> int:
        """Delete every key of the session at once; how many there were."""
        return await self._await(self._operations.drop)


class AsyncWatch(_Watching[Change], AsyncIterator[Change]):
    """An endless iterator of changes."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Change:
        awaitable: Awaitable[Change] = self._perform(self._next)
        return await awaitable
