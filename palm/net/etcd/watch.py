"""A watch that outlives its connections: opens a stream, reads it, and when it breaks opens the next where it left off.

A task of its own reads ahead by one batch, so that a dead connection is found while the reader is busy elsewhere. What
is in that one place counts as handed on.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import grpc.aio

from palm.errors import AuthRefused, Compacted, RegistryError, RegistryRefused
from palm.net.etcd import records
from palm.net.etcd.answers import Fate, Verdict, judge, way_out
from palm.net.etcd.batches import Batches
from palm.net.etcd.calls import Calls, metadata
from palm.net.etcd.channel import Link
from palm.net.etcd.stream import Broken, WatchStream
from palm.ports.registry import Change, Revision
from palm.wire import etcd as wire

PAUSE_S = 0.1  # before the next stream; doubled for each that brought nothing, up to the next
PAUSE_S_MAX = 1.0


class EtcdWatch:
    """`palm.ports.registry.Watch` on a real etcd. Belongs to one event loop; nothing is sent before it is iterated."""

    def __init__(
        self, calls: Calls, prefix: str, after: Revision, *, probe_s: float, closed: Callable[[EtcdWatch], None]
    ) -> None:
        self._calls = calls
        self._prefix = prefix
        self._key, self._end = records.prefix_range(prefix)
        self._batches = Batches(records.whole(after, "after"))
        self._probe_s = probe_s
        self._closed = closed
        self._cluster_id = calls.cluster_id  # of the listing that `after` most likely comes from; 0: not known
        self._ready: asyncio.Queue[tuple[Change, ...] | Exception] = asyncio.Queue(maxsize=1)
        self._task: asyncio.Task[None] | None = None
        self._over = False
        self._failures = 0  # streams in a row that brought nothing
        self._denied = 0  # refusals in a row
        self._distrusted = 0  # certificate failures in a row

    def __aiter__(self) -> EtcdWatch:
        return self

    async def __anext__(self) -> tuple[Change, ...]:
        if self._over:
            raise StopAsyncIteration
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"watch {self._prefix!r}")
        item = await self._ready.get()
        if isinstance(item, Exception):
            self._over = True
            self._closed(self)
            raise item
        return item

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        if not self._over:
            self._over = True
            self._closed(self)
            if not self._ready.empty():
                self._ready.get_nowait()
            self._ready.put_nowait(StopAsyncIteration())  # for a reader that waits just now

    async def _run(self) -> None:
        try:
            while True:
                await self._one_stream()
                pause_s = min(PAUSE_S * 2 ** min(self._failures, 10), PAUSE_S_MAX)
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
        except Exception as error:  # it belongs to the one who iterates, not to a task unseen
            await self._ready.put(error)

    async def _one_stream(self) -> None:
        """Watch until the stream breaks; raises when there is no use in another."""
        try:
            token = await self._calls.token.get(self._probe_s)
        except RegistryError as error:
            if error.definite:
                raise
            self._failures += 1
            return
        link = self._calls.links.current
        stream: WatchStream | None = None
        try:
            stream = WatchStream(link, metadata(token), self._probe_s)
            await self._follow(stream)
        except Broken as broken:
            await self._after(broken, link, token)
        except grpc.aio.UsageError:  # the channel was thrown away by another call since it was chosen
            self._failures += 1
        finally:
            self._batches.broken()
            if stream is not None:
                await stream.aclose()

    async def _follow(self, stream: WatchStream) -> None:
        answer = await stream.create(self._key, self._end, self._batches.resume_at)
        self._heed(answer)
        await self._same_store(answer.header)
        self._failures = self._denied = self._distrusted = 0
        while True:
            batch = self._batches.feed(answer.events, more=answer.fragment)
            if batch:
                await self._ready.put(batch)
            answer = await stream.read()
            self._heed(answer)

    def _heed(self, answer: wire.WatchResponse) -> None:
        """Raise what a cancelled watch means."""
        if answer.compact_revision:
            raise Compacted(
                f"watch of {self._prefix!r} cannot go on from revision {self._batches.resume_at}: etcd has compacted "
                f"up to {answer.compact_revision}; list again and watch from there",
                compact_revision=answer.compact_revision,
            )
        if answer.canceled:
            raise Broken(judge(grpc.StatusCode.UNAVAILABLE, answer.cancel_reason or "the watch was cancelled by etcd"))

    async def _same_store(self, header: wire.ResponseHeader) -> None:
        """A store that was made anew would let us wait for a revision that means something else, or never comes."""
        behind = header.revision < self._batches.resume_at - 1
        if behind and self._cluster_id in (0, header.cluster_id):
            # A member that lags is no news; a read through the quorum tells.
            request = wire.RangeRequest(key=self._key, range_end=self._end, count_only=True)
            try:
                header = (await self._calls.unary(wire.RANGE, request)).header
            except RegistryError as error:
                if error.definite:
                    raise
                raise Broken(judge(grpc.StatusCode.UNAVAILABLE, str(error))) from error
            behind = header.revision < self._batches.resume_at - 1
        if behind or self._cluster_id not in (0, header.cluster_id):
            raise Compacted(
                f"watch of {self._prefix!r} cannot go on from revision {self._batches.resume_at}: another store "
                f"answers now, at revision {header.revision}; list again and watch from there"
            )
        self._cluster_id = header.cluster_id

    async def _after(self, broken: Broken, link: Link, token: str) -> None:
        """Make the next stream worthwhile, or raise why there is none."""
        verdict = broken.verdict
        self._failures += 1
        if issubclass(verdict.error, AuthRefused) and not verdict.certificate:
            # 3.4 and 3.5.1 say "permission denied" to a watch whose token has expired; only a fresh one tells.
            self._denied += 1
            if not self._calls.token.used or self._denied > 1:
                raise AuthRefused(self._says(link, verdict)) from verdict.cause
            await self._fresh_token(token)
            return
        if verdict.fate is Fate.REFUSED:
            raise RegistryRefused(self._says(link, verdict)) from verdict.cause
        self._distrusted = self._distrusted + 1 if verdict.certificate else 0
        if self._distrusted >= len(self._calls.links):
            raise AuthRefused(self._says(link, verdict)) from verdict.cause
        self._calls.links.leave(link)
        if broken.silent:
            await self._calls.links.throw_away(link)

    async def _fresh_token(self, stale: str) -> None:
        try:
            await self._calls.token.get(self._probe_s, stale=stale)
        except RegistryError as error:
            if error.definite:
                raise
            self._denied = 0  # nobody was there to ask

    def _says(self, link: Link, verdict: Verdict) -> str:
        return f"etcd at {link.endpoint} refused to watch {self._prefix!r}: {verdict.text}{way_out(verdict)}"
