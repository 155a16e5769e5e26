"""One instance's part in the election of its server's leader.

Who creates the leader's key first leads; the key is under the instance's own lease, so it goes with it. The others
watch the key and try again once it is gone. A transaction whose answer was lost is simply repeated: it creates only
what is absent, and a key under this instance's lease is its own, whenever it was written. The term is the revision at
which the key was created.
"""

from __future__ import annotations

from typing import Callable

from palm.core.election import MARGIN
from palm.core.event import Deposed, Elected, Event
from palm.errors import Compacted, RegistryError
from palm.ports.host import Host, Task
from palm.ports.registry import Compare, Delete, Get, Kind, LeaseId, Put, Record, Revision, Watch
from palm.runtime.registration import Registration

RETRY = 300_000_000
LOOK = 15_000_000_000
"""How often (ns) the key is looked at beside the watch: for registries that forget events (RELIABILITY.md, rule 12)."""


class Election:
    """Posts Elected when this instance leads and as often as its lease is renewed, Deposed when it leads no more."""

    def __init__(
        self,
        host: Host,
        registration: Registration,
        key: str,
        post: Callable[[Event], None],
        *,
        log: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.key = key
        self._host = host
        self._registration = registration
        self._post = post
        self._log = log
        self._tasks: list[Task] = []
        self._watch: Watch | None = None
        self._term = Revision(0)
        self._lease: LeaseId | None = None
        self._retired = False

    def start(self) -> None:
        self._registration.on_renewed = self._renewed
        self._tasks = [
            self._host.spawn(self._campaign(), f"election {self.key}"),
            self._host.spawn(self._look_often(), f"look at {self.key}"),
        ]

    @property
    def leads(self) -> bool:
        """The key is this instance's own, as far as is known here."""
        return self._lease is not None

    def retire(self) -> None:
        """Stand for no election any more. A leader stays one until `resign`."""
        self._retired = True

    async def resign(self) -> None:
        """Make room for the next leader at once, where the registry can be reached."""
        await self.aclose()
        if not self.leads:
            return
        mine = Compare(key=self.key, target="create", value=self._term)
        self._lost()
        try:
            await self._host.registry.transact([mine], [Delete(key=self.key)])
        except RegistryError as error:
            self._log(f"{self.key} is left to its lease: {error}")

    async def aclose(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._tasks = []
        watch, self._watch = self._watch, None
        if watch is not None:
            await watch.aclose()

    # -- the election -------------------------------------------------------------------------------------------------

    async def _campaign(self) -> None:
        host = self._host
        while True:
            lease = self._registration.lease
            if lease is None or (self._retired and not self.leads):
                await host.sleep(RETRY)
                continue
            try:
                holder, revision = await self._try(lease)
                if holder is None or holder.lease == lease:
                    self._won(lease, revision if holder is None else holder.create_revision)
                else:
                    self._lost()
                await self._until_gone(revision)
                self._lost()
                continue
            except Compacted:
                continue
            except RegistryError as error:
                self._log(f"election: {error}")
            await host.sleep(RETRY)

    async def _try(self, lease: LeaseId) -> tuple[Record | None, Revision]:
        """Create the key where there is none; else who has it. With the revision from which to watch."""
        answer = await self._host.registry.transact(
            [Compare(key=self.key, target="version", value=0)],
            [Put(key=self.key, value=self._registration.key.encode(), lease=lease)],
            [Get(key=self.key)],
        )
        if answer.succeeded:
            return None, answer.revision
        (found,) = answer.responses
        assert isinstance(found, tuple), "a Get answers with records"
        return found[0], answer.revision

    async def _until_gone(self, after: Revision) -> None:
        watch = self._watch = self._host.registry.watch(self.key, after)
        try:
            async for changes in watch:
                if any(change.kind is Kind.DELETE and change.record.key == self.key for change in changes):
                    return
        finally:
            self._watch = None
            await watch.aclose()

    async def _look_often(self) -> None:
        while True:
            await self._host.sleep(LOOK)
            watch = self._watch
            try:
                listing = await self._host.registry.get(self.key)
            except RegistryError:
                continue
            if watch is not None and watch is self._watch and not any(one.key == self.key for one in listing.records):
                self._log(f"{self.key} is gone, and the watch did not say so")
                await watch.aclose()

    # -- what the node hears ------------------------------------------------------------------------------------------

    def _won(self, lease: LeaseId, term: Revision) -> None:
        self._lease, self._term = lease, term
        self._renewed()

    def _lost(self) -> None:
        if self._lease is not None:
            self._lease = None
            self._post(Deposed())

    def _renewed(self) -> None:
        """The lease lasts longer than was known; or it is gone, and the key with it."""
        if self._lease is None:
            return
        if self._registration.lease != self._lease:
            self._lost()
        else:
            self._post(Elected(self._term, self._registration.valid_until - MARGIN))
