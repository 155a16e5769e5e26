"""The view that a node has of who lives: a table of instances for each server it follows, kept true by list and watch.

A watch that can no longer be continued (compacted) is replaced by a new list and the difference is handed over, deletes
included. Every `compare` a list is set against the table all the same: it answers for registries that forget events
(RELIABILITY.md, rule 12).
"""

from __future__ import annotations

from typing import Callable, Mapping

from palm.core.event import Event, InstanceDown, InstanceUp, Listed
from palm.core.message import Instance, Peer
from palm.errors import Compacted, RegistryError
from palm.ports.host import Host, Task
from palm.ports.registry import Change, Kind, Listing, Revision, Watch
from palm.wire.record import decode_instance, instances_prefix

RETRY = 300_000_000
COMPARE = 30_000_000_000
GAP_AGE = 2_000_000_000
"""A difference must still be there after this (ns) to count as an event that never came."""


class Directory:
    def __init__(
        self,
        host: Host,
        cluster: str,
        post: Callable[[Event], None],
        *,
        compare: int = COMPARE,
        log: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.watch_gaps = 0
        self.bad_records = 0
        self._host = host
        self._cluster = cluster
        self._post = post
        self._compare = compare
        self._log = log
        self._tables: dict[str, dict[Peer, tuple[Instance, Revision]]] = {}
        self._tasks: list[Task] = []
        self._watches: dict[str, Watch] = {}

    def follow(self, server: str) -> None:
        """Post InstanceUp and InstanceDown for that server from now on, and Listed after the first list."""
        if server not in self._tables:
            self._tables[server] = {}
            self._tasks.append(self._host.spawn(self._follow(server), f"follow {server}"))
            self._tasks.append(self._host.spawn(self._compare_often(server), f"compare {server}"))

    @property
    def view(self) -> Mapping[str, Mapping[Peer, Revision]]:
        """For each server followed: which instances it has, as far as is known here, and the revision of their
        records."""
        return {
            server: {peer: revision for peer, (_, revision) in table.items()} for server, table in self._tables.items()
        }

    async def aclose(self) -> None:
        for task in self._tasks:
            task.cancel()
        for watch in self._watches.values():
            await watch.aclose()

    async def _follow(self, server: str) -> None:
        """List, watch, and begin again when the watch cannot go on."""
        prefix = instances_prefix(self._cluster, server)
        listed = False
        while True:
            try:
                listing = await self._host.registry.get(prefix)
                self._take_listing(server, listing)
                if not listed:
                    listed = True
                    self._post(Listed(server))
                watch = self._watches[server] = self._host.registry.watch(prefix, listing.revision)
                async for changes in watch:
                    for change in changes:
                        self._take_change(server, change)
            except Compacted:
                continue
            except RegistryError as error:
                self._log(f"registry: {error}")
            await self._host.sleep(RETRY)

    async def _compare_often(self, server: str) -> None:
        prefix = instances_prefix(self._cluster, server)
        while True:
            await self._host.sleep(self._compare)
            try:
                suspect = self._difference(server, await self._host.registry.get(prefix))
                if not suspect:
                    continue
                await self._host.sleep(GAP_AGE)
                listing = await self._host.registry.get(prefix)
            except RegistryError:
                continue
            still = suspect & self._difference(server, listing)
            if still:
                self.watch_gaps += len(still)
                self._log(f"{len(still)} changes of {server} never came by the watch; taken from a list")
                self._take_listing(server, listing)

    def _difference(self, server: str, listing: Listing) -> set[tuple[str, int]]:
        """Keys with the revision that one side has and the other has not; 0 stands for absence."""
        theirs = {
            record.key: record.mod_revision for record in listing.records if decode_instance(record.key, record.value)
        }
        prefix = instances_prefix(self._cluster, server)
        ours = {prefix + peer: revision for peer, (_, revision) in self._tables[server].items()}
        return {
            (key, theirs.get(key, 0))
            for key in theirs.keys() | ours.keys()
            if theirs.get(key) != ours.get(key) and ours.get(key, 0) <= listing.revision
        }

    def _take_listing(self, server: str, listing: Listing) -> None:
        """Make the table equal to the list, and post the difference."""
        table = self._tables[server]
        seen: dict[Peer, None] = {}
        for record in listing.records:
            instance = decode_instance(record.key, record.value)
            if instance is None:
                self.bad_records += 1
                continue
            seen[instance.peer] = None
            self._put(server, instance, record.mod_revision)
        for peer, (_, revision) in list(table.items()):
            if peer not in seen and revision <= listing.revision:
                self._gone(server, peer)

    def _take_change(self, server: str, change: Change) -> None:
        record = change.record
        instance = None if change.kind is Kind.DELETE else decode_instance(record.key, record.value)
        if instance is not None:
            self._put(server, instance, record.mod_revision)
            return
        self.bad_records += change.kind is Kind.PUT
        # A record that is no longer to be believed says no more than none: a list would leave it out too.
        peer = Peer(record.key.rpartition("/")[2])
        known = self._tables[server].get(peer)
        if known is not None and known[1] < record.mod_revision:
            self._gone(server, peer)

    def _put(self, server: str, instance: Instance, revision: Revision) -> None:
        known = self._tables[server].get(instance.peer)
        if known is not None and known[1] >= revision:
            return
        self._tables[server][instance.peer] = (instance, revision)
        if known is None or known[0] != instance:
            self._post(InstanceUp(instance))

    def _gone(self, server: str, peer: Peer) -> None:
        del self._tables[server][peer]
        self._post(InstanceDown(server, peer))
