"""What an instance's store asks of the world: its record in the registry, and its disk. Written once for both."""

from __future__ import annotations

from typing import Callable

from palm.core.effect import Effect, Enlist, LookUp, Persist, Remark
from palm.core.event import Enlisted, Event, Found, Persisted
from palm.core.store import Row, StoreRecord
from palm.errors import BadFrame, RegistryError, StorageError
from palm.ports.host import Host, Task
from palm.ports.registry import Compare, Put, Revision
from palm.ports.storage import Storage
from palm.wire.store import decode_store, disk_changes, disk_rows, encode_store

PAUSE = 200_000_000
"""Between a request that the registry did not grant and what comes of it (ns)."""

NAME = b"name"
"""The disk's key for the name of its copy. No row's key begins so."""


class Keeping:
    """Performs the effects that are the store's own. `key` is its record's, `leader_key` the election's."""

    def __init__(
        self,
        host: Host,
        key: str,
        leader_key: str,
        post: Callable[[Event], None],
        *,
        storage: Storage | None = None,
        log: Callable[[str], None] = lambda text: None,
        warn: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.key = key
        self._leader_key = leader_key
        self._host = host
        self._post = post
        self._storage = storage
        self._log = log
        self._warn = warn
        self._revision = 0
        self._tasks: list[Task] = []

    async def load(self) -> tuple[str, list[Row]]:
        """The name of the copy on disk, which a new disk gets now, and its rows. Raises StorageError."""
        assert self._storage is not None, "a store in memory has nothing to load"
        records = dict(await self._storage.load())
        name = records.pop(NAME, b"").decode("ascii", "replace")
        try:
            rows = disk_rows(list(records.items()))
        except BadFrame as error:
            raise StorageError(f"the disk holds something that is no store of this release's: {error}") from error
        if not name:
            name = f"disk-{self._host.draw('store').getrandbits(96):024x}"
            self._storage.commit([(NAME, name.encode())], lambda error: None)
        return name, rows

    def perform(self, effect: Effect) -> bool:
        """False where the effect is not of these."""
        match effect:
            case LookUp():
                self._spawn(self._look_up(), "look up the store")
            case Enlist():
                self._spawn(self._enlist(effect), "enlist copies")
            case Persist():
                assert self._storage is not None, "only a copy on a disk asks for it"
                ticket = effect.ticket
                self._storage.commit(disk_changes(effect.rows), lambda error: self._post(Persisted(ticket, error)))
            case Remark():
                self._warn(effect.text)
            case _:
                return False
        return True

    async def close_record(self, record: StoreRecord, term: int) -> None:
        """The data end with this instance: say so, for the next one to begin at once."""
        try:
            await self._write(record, term, self._revision)
        except RegistryError as error:
            self._log(f"{self.key} is left as it is: {error}")

    async def aclose(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._storage is not None:
            await self._storage.aclose()

    def _spawn(self, coroutine: object, name: str) -> None:
        self._tasks = [task for task in self._tasks if not task.done]
        self._tasks.append(self._host.spawn(coroutine, name))  # type: ignore[arg-type]  # a coroutine of ours

    async def _look_up(self) -> None:
        while True:
            try:
                listing = await self._host.registry.get(self.key)
            except RegistryError as error:
                self._log(f"store: {error}")
                await self._host.sleep(PAUSE)
                continue
            for record in listing.records:
                if record.key == self.key:
                    said = decode_store(record.value)
                    if said is None:
                        self._log(f"{self.key} holds no record of a store: taken as none")
                    self._found(said, record.mod_revision)
                    return
            self._found(None, 0)
            return

    def _found(self, record: StoreRecord | None, revision: int) -> None:
        self._revision = revision
        self._post(Found(record, revision))

    async def _enlist(self, effect: Enlist) -> None:
        try:
            revision = await self._write(effect.record, effect.term, effect.revision)
        except RegistryError as error:
            self._log(f"store: {error}")
            revision = None
        if revision is None:
            await self._host.sleep(PAUSE)
        else:
            self._revision = revision
        self._post(Enlisted(effect.term, revision))

    async def _write(self, record: StoreRecord, term: int, revision: int) -> Revision | None:
        """None where the term is over, or the record is another one by now."""
        same = (
            Compare(key=self.key, target="mod", value=revision)
            if revision
            else Compare(key=self.key, target="version", value=0)
        )
        mine = Compare(key=self._leader_key, target="create", value=term)
        answer = await self._host.registry.transact([mine, same], [Put(key=self.key, value=encode_store(record))])
        return answer.revision if answer.succeeded else None
