"""Faults on whole messages between real processes: a shim around the transport and the registry of each.

The links and rules are the simulator's own (`palm.sim.network`), on the real clock: what a pipe loses is not given to
ZeroMQ, what it delays or holds is given later, what it doubles is given twice. It acts where the sender hands over, so
a cut link keeps its connection, and only what PALM itself does about silence helps. Within one host nothing is touched.
What breaks connections is `palm.testing.real.proxies`.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import AsyncIterator, Awaitable, Callable, Mapping, Sequence, TypeVar

from palm.errors import Indefinite, RegistryError, RegistryRefused, RegistryTimeout, RegistryUnavailable
from palm.ports.registry import (
    NO_LEASE,
    Change,
    Committed,
    Compare,
    Lease,
    LeaseId,
    Listing,
    Operation,
    Registry,
    Revision,
    Watch,
)
from palm.ports.transport import Address, Frame, LinkState, Peer, Sink, Transport, TransportCounters
from palm.sim.network import Network, Pipe
from palm.sim.registry_server import PLACE as REGISTRY
from palm.testing.real.proxies import Proxies

T = TypeVar("T")
TIMEOUT_S = 5.0
NOBODYS = "/nobody/"
KEEP_ALIVE_PART = 4
"""As the adapter does: a renewal waits for a quarter of its lease, anything else for `TIMEOUT_S`."""


class ShimTransport:
    """`palm.ports.transport.Transport` of the process `name` at `place`. `places`: where each peer is, which may grow;
    who is not there is not touched. `proxies`: by which peers are dialed; None: directly."""

    def __init__(
        self,
        inner: Transport,
        network: Network,
        name: str,
        place: str,
        places: Mapping[Peer, str],
        proxies: Proxies | None = None,
    ) -> None:
        self._inner = inner
        self._proxies = proxies
        self._network = network
        self._name = name
        self._place = place
        self._places = places
        self._pipes: dict[Peer, Pipe[Frame]] = {}
        self._dialed: dict[Peer, None] = {}

    @property
    def peer(self) -> Peer:
        return self._inner.peer

    @peer.setter
    def peer(self, peer: Peer) -> None:
        self._inner.peer = peer

    @property
    def counters(self) -> TransportCounters:
        return self._inner.counters

    @counters.setter
    def counters(self, counters: TransportCounters) -> None:
        self._inner.counters = counters

    def start(self, sink: Sink) -> None:
        self._inner.start(sink)

    def bind(self) -> Address:
        return self._inner.bind()

    def connect(self, peer: Peer, address: Address) -> None:
        self._dialed[peer] = None
        if self._proxies is None:
            self._inner.connect(peer, address)
        else:
            self._inner.connect(peer, self._proxies.to_peer(peer, self._places.get(peer, self._place), address))
            self._proxies.leave(peer, but=address)

    def disconnect(self, peer: Peer) -> None:
        self._dialed.pop(peer, None)
        pipe = self._pipes.pop(peer, None)
        if pipe is None:
            self._end(peer)
        else:
            pipe.after_all(partial(self._hang_up, peer, pipe), 0)

    def send(self, peer: Peer, frame: Frame) -> None:
        pipe = self._pipes.get(peer)
        if pipe is None:
            place = self._places.get(peer, self._place)
            if place == self._place:
                self._inner.send(peer, frame)
                return
            pipe = self._pipes[peer] = self._pipe(peer, place)
        pipe.send(frame, frame)

    def link_state(self, peer: Peer) -> LinkState:
        return self._inner.link_state(peer)

    async def aclose(self, linger_s: float = 0.0) -> None:
        await self._inner.aclose(linger_s)

    def _hang_up(self, peer: Peer, pipe: Pipe[Frame]) -> None:
        """What was said before the end of a link arrives before it."""
        pipe.closed = True
        if peer not in self._dialed:  # else it was dialed again meanwhile
            self._end(peer)

    def _end(self, peer: Peer) -> None:
        self._inner.disconnect(peer)
        if self._proxies is not None:
            self._proxies.leave(peer)

    def _pipe(self, peer: Peer, place: str) -> Pipe[Frame]:
        def deliver(frames: list[Frame]) -> None:
            pipe.taken(len(frames))
            for frame in frames:
                self._inner.send(peer, frame)

        pipe: Pipe[Frame] = self._network.pipe(
            (self._place, self._name), (place, peer), f"{self._name}->{peer}", deliver
        )
        return pipe


class ShimRegistry:
    """`palm.ports.registry.Registry` of the process `name` at `place`. A request that is lost on its way, or whose
    answer is, fails after the time that the adapter would have waited. `failures` counts what failed though no link
    was at fault: what a registry that is away has touched.

    `watching`: what watches go over, by default `inner`. `doubt`: asked before each write; what it returns, if
    anything, has the answer be lost. `heard`: told of each piece of news.
    """

    def __init__(
        self,
        inner: Registry,
        network: Network,
        name: str,
        place: str,
        timeout_s: float = TIMEOUT_S,
        *,
        watching: Registry | None = None,
        doubt: Callable[[], Callable[[], None] | None] = lambda: None,
        heard: Callable[[tuple[Change, ...]], None] = lambda changes: None,
    ) -> None:
        self._inner = inner
        self._watching = inner if watching is None else watching
        self._doubt = doubt
        self._heard = heard
        self._timeout_s = timeout_s
        self._network = network
        self._place = place
        self.failures = 0
        self._ttl_s: dict[LeaseId, int] = {}
        ends = (place, name), (REGISTRY, REGISTRY)
        self._up = _Crossing(network, *ends, f"{name}->{REGISTRY}")
        self._down = _Crossing(network, ends[1], ends[0], f"{REGISTRY}->{name}")

    async def grant(self, ttl_s: int) -> Lease:
        lease = await self._write("grant", lambda: self._inner.grant(ttl_s))
        self._ttl_s[lease.id] = lease.ttl_s
        return lease

    async def keep_alive(self, lease: LeaseId) -> int:
        timeout_s = self._ttl_s.get(lease, KEEP_ALIVE_PART * self._timeout_s) / KEEP_ALIVE_PART
        return await self._ask("keep_alive", lambda: self._inner.keep_alive(lease), timeout_s)

    async def revoke(self, lease: LeaseId) -> None:
        await self._write("revoke", lambda: self._inner.revoke(lease))

    async def get(self, prefix: str) -> Listing:
        return await self._ask("get", lambda: self._inner.get(prefix))

    async def put(self, key: str, value: bytes, lease: LeaseId = NO_LEASE) -> Revision:
        return await self._write("put", lambda: self._inner.put(key, value, lease))

    async def delete(self, key: str) -> int:
        return await self._write("delete", lambda: self._inner.delete(key))

    async def transact(
        self, compare: Sequence[Compare], then: Sequence[Operation], otherwise: Sequence[Operation] = ()
    ) -> Committed:
        try:
            return await self._write("transact", lambda: self._inner.transact(compare, then, otherwise))
        except RegistryTimeout as error:
            raise Indefinite(f"a transaction may have been applied: {error}") from error

    def watch(self, prefix: str, after: Revision) -> Watch:
        return _ShimWatch(self._watching.watch(prefix, after), self._network, self._place, self._heard)

    async def aclose(self) -> None:
        await self._inner.aclose()
        if self._watching is not self._inner:
            await self._watching.aclose()

    async def _write(self, what: str, ask: Callable[[], Awaitable[T]]) -> T:
        lose_answer = self._doubt()
        if lose_answer is not None:
            try:
                await self._inner.get(NOBODYS)  # so that there is a connection by which the write goes, and no answer
            except RegistryError:
                pass  # nor does it go now
            lose_answer()
        return await self._ask(what, ask)

    async def _ask(self, what: str, ask: Callable[[], Awaitable[T]], timeout_s: float | None = None) -> T:
        loop = asyncio.get_running_loop()
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        until = loop.time() + timeout_s
        if not await self._up.passes(until):
            await asyncio.sleep(max(0.0, until - loop.time()))
            raise RegistryUnavailable(f"{what}: no answer from the registry in {timeout_s:g} s: the link is cut")
        try:
            answer = await ask()
        except RegistryError as error:
            is_away = isinstance(error, RegistryUnavailable | RegistryTimeout | Indefinite)
            self.failures += is_away or type(error) is RegistryRefused  # not one of its kinds: there is no space
            raise
        if not await self._down.passes(until):
            await asyncio.sleep(max(0.0, until - loop.time()))
            raise RegistryTimeout(f"{what}: the registry's answer did not come within {timeout_s:g} s")
        return answer


class _Crossing:
    """One way between a process and the registry: a pipe for requests, or for answers."""

    def __init__(self, network: Network, src: tuple[str, str], dst: tuple[str, str], name: str) -> None:
        self._pipe: Pipe[asyncio.Future[None]] = network.pipe(src, dst, name, self._arrive)

    async def passes(self, until: float) -> bool:
        """Wait as long as the link says; False when it loses this one, or takes it past `until` (loop time)."""
        loop = asyncio.get_running_loop()
        through: asyncio.Future[None] = loop.create_future()
        if not self._pipe.send(through, (b"",)):
            return False
        await asyncio.wait([through], timeout=max(0.0, until - loop.time()))
        return through.done()

    def _arrive(self, through: list[asyncio.Future[None]]) -> None:
        self._pipe.taken(len(through))
        for one in through:
            if not one.done():  # else it was doubled, or nobody waits any more
                one.set_result(None)


class _ShimWatch:
    """Changes wait while either way to the registry is cut, as TCP would have them wait; they are never lost."""

    def __init__(self, inner: Watch, network: Network, place: str, heard: Callable[[tuple[Change, ...]], None]) -> None:
        self._inner = inner
        self._heard = heard
        self._network = network
        self._place = place

    async def __aiter__(self) -> AsyncIterator[tuple[Change, ...]]:
        async for changes in self._inner:
            await self._open()
            self._heard(changes)
            yield changes

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def _open(self) -> None:
        if self._network.passes(self._place, REGISTRY):
            return
        self._network.blame(self._place, REGISTRY)
        changed = asyncio.Event()
        self._network.on_change(self, changed.set)
        try:
            while not self._network.passes(self._place, REGISTRY):
                changed.clear()
                await changed.wait()
        finally:
            self._network.on_change(self, None)
