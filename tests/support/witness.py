"""A load on a registry that knows afterwards what it saw: a writer, watchers, a lease keeper, and the comparison.

Works through the registry port; the truth it is compared with is the history that etcd's own client reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field

from palm.errors import RegistryError
from palm.ports.registry import NO_LEASE, Kind, Lease, Registry, Revision
from tests.support.containers import Event

LAST = "~last"
"""Sorts after every other key; its put ends each watcher and the history."""


@dataclass(slots=True)
class Writer:
    """Puts (and now and then deletes) over a few keys, one at a time, until told to stop.

    `confirmed` are the puts that were answered, by revision; an unanswered one may or may not be in the history.
    """

    registry: Registry
    prefix: str
    keys: int = 40
    pause_s: float = 0.003
    confirmed: dict[int, Event] = field(default_factory=dict)
    failed: int = 0
    written: int = 0
    stopping: bool = False
    stopped: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        while not self.stopping:
            await self._write(self.written)
            self.written += 1
            # Paces the load, so that the members get their share of the machine.
            await asyncio.sleep(self.pause_s)
        self.stopped.set()

    async def _write(self, number: int) -> None:
        key, value = f"{self.prefix}{number % self.keys}", str(number).encode()
        try:
            if number % 11 == 10:
                await self.registry.delete(key)
            else:
                revision = await self.registry.put(key, value)
                self.confirmed[revision] = Event(revision=revision, deleted=False, key=key, value=value)
        except RegistryError:
            self.failed += 1

    async def confirm_more(self, count: int, within_s: float) -> None:
        """Wait until `count` puts more are answered: the registry serves again."""
        wanted = len(self.confirmed) + count
        async with asyncio.timeout(within_s):
            while len(self.confirmed) < wanted:
                await asyncio.sleep(0.02)

    async def finish(self, within_s: float) -> None:
        """Stop, and then write the key that tells everybody that this was all."""
        self.stopping = True
        async with asyncio.timeout(within_s):
            # A write still under way could come after the last key, where some would see it and some not.
            await self.stopped.wait()
            while True:
                try:
                    await self.registry.put(self.prefix + LAST, b"")
                    return
                except RegistryError:
                    self.failed += 1


async def watch_to_the_end(registry: Registry, prefix: str, after: Revision, seen: list[Event]) -> None:
    """Append each change as it is delivered, up to the first put of the last key."""
    watch = registry.watch(prefix, after)
    try:
        async for changes in watch:
            for change in changes:
                record = change.record
                deleted = change.kind is Kind.DELETE
                seen.append(Event(revision=record.mod_revision, deleted=deleted, key=record.key, value=record.value))
                if record.key == prefix + LAST:
                    return
    finally:
        await watch.aclose()


@dataclass(slots=True)
class LeaseKeeper:
    """Holds one lease and the key under it, renewing each `every_s`; a renewal that finds it lost raises."""

    registry: Registry
    key: str
    lease: Lease
    every_s: float = 1.0
    renewed: int = 0

    @classmethod
    async def begin(cls, registry: Registry, key: str, ttl_s: int) -> LeaseKeeper:
        lease = await registry.grant(ttl_s)
        assert lease.id != NO_LEASE
        await registry.put(key, b"held", lease.id)
        return cls(registry=registry, key=key, lease=lease)

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self.every_s)
            try:
                await self.registry.keep_alive(self.lease.id)
                self.renewed += 1
            except RegistryError as error:
                if error.definite:
                    raise


def differences(history: Sequence[Event], seen: Sequence[Event]) -> list[str]:
    """What a watcher saw against what happened, said as a reader needs it; empty when they are the same sequence."""
    if list(history) == list(seen):
        return []
    happened, delivered = set(history), set(seen)
    found = [f"lost {event}" for event in history if event not in delivered]
    found += [f"invented {event}" for event in seen if event not in happened]
    found += [f"doubled {event}" for event in _doubled(seen)]
    steps = zip(seen, seen[1:], strict=False)
    found += [f"out of order: {later} after {earlier}" for earlier, later in steps if later.revision < earlier.revision]
    return found or ["same events, another order within one revision"]


def _doubled(seen: Sequence[Event]) -> list[Event]:
    met: set[Event] = set()
    again = []
    for event in seen:
        if event in met:
            again.append(event)
        met.add(event)
    return again


def unkept(history: Sequence[Event], confirmed: dict[int, Event]) -> list[str]:
    """Writes that were confirmed and are not in the history."""
    happened = set(history)
    return [f"confirmed, but not in the history: {event}" for event in confirmed.values() if event not in happened]


async def cancelled(*tasks: asyncio.Task[None]) -> None:
    """End tasks that run for ever; an exception that one of them had ended with is raised here."""
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, BaseException) and not isinstance(outcome, asyncio.CancelledError):
            raise outcome


async def together(coroutines: Sequence[Coroutine[None, None, None]], within_s: float) -> None:
    async with asyncio.timeout(within_s):
        await asyncio.gather(*coroutines)
