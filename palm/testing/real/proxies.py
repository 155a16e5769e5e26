"""The proxies of one process: one before each peer that it dials on another host, and one before each etcd member for
what it asks, and for what it watches.

They run in the process that dials, so that each connection has one place at which it can be broken, and nobody needs to
be told whose it is: who dials, and whom, is known there.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Iterable

from palm.net.etcd.settings import EtcdSettings
from palm.ports.transport import Address, Peer
from palm.sim.network import Ends, Network
from palm.sim.registry_server import PLACE as REGISTRY
from palm.testing.real.proxy import Proxy

_TCP = "tcp://"
BREAK_S = 0.5
"""Between an answer that is lost and the end of its connection: until then the request was surely done."""


class Proxies:
    """Belongs to the running event loop. Of the process at `place`."""

    def __init__(self, place: str, network: Network) -> None:
        self._place = place
        self._network = network
        self._to_peers: dict[tuple[Peer, Address], tuple[str, Proxy]] = {}
        self._asked: list[Proxy] = []
        self._watched: list[Proxy] = []
        self._closing: set[asyncio.Task[None]] = set()
        self._lag_s = 0.0

    # -- where to connect instead -------------------------------------------------------------------------------------

    def to_peer(self, peer: Peer, place: str, address: Address) -> Address:
        """The same for one peer and address, until it is `left`."""
        if place == self._place or not address.startswith(_TCP):
            return address
        known = self._to_peers.get((peer, address))
        if known is None:
            known = self._to_peers[peer, address] = place, _started(address.removeprefix(_TCP))
        return _TCP + known[1].endpoint

    def leave(self, peer: Peer, but: Address = "") -> None:
        """That peer is dialed no more, but at that address."""
        for key in [key for key in self._to_peers if key[0] == peer and key[1] != but]:
            task = asyncio.ensure_future(self._to_peers.pop(key)[1].aclose())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    def to_registry(self, settings: EtcdSettings) -> tuple[EtcdSettings, EtcdSettings]:
        """For what is asked, and for what is watched: connections of their own, so that either can be in trouble."""
        asked = [_started(target) for target in settings.targets]
        watched = [_started(target) for target in settings.targets]
        for proxy in watched:
            proxy.lag(self._lag_s)
        self._asked += asked
        self._watched += watched
        return _through(settings, asked), _through(settings, watched)

    async def aclose(self) -> None:
        for peer in {peer for peer, _ in self._to_peers}:
            self.leave(peer)
        for proxy in (*self._asked, *self._watched):
            await proxy.aclose()
        await asyncio.gather(*self._closing)

    # -- what a script does -------------------------------------------------------------------------------------------

    def reset(self, ends: Ends) -> int:
        """Break the connections on these links; how many there were."""
        broken = 0
        for place, proxy in self._to_peers.values():
            if self._is_meant(ends, place):
                broken += proxy.cut()
        if self._is_meant(ends, REGISTRY):
            broken += sum(proxy.cut() for proxy in (*self._asked, *self._watched))
        return broken

    def drop_watches(self) -> int:
        """Break every connection that has watches; how many there were."""
        return sum(proxy.cut() for proxy in self._watched)

    def lag_watches(self, seconds: float) -> None:
        """What watches have to say comes that much later; 0 ends it."""
        self._lag_s = seconds
        for proxy in self._watched:
            proxy.lag(seconds)

    @property
    def late_bytes(self) -> int:
        return sum(proxy.late_bytes for proxy in self._watched)

    def lose_answers(self) -> None:
        """Present connections to the registry carry requests only, and break some time after the next answer."""
        for proxy in self._asked:
            proxy.hold_answers(break_after_s=BREAK_S)

    def lose_requests(self) -> None:
        """Present connections to the registry carry no request any more, and break some time after the next one."""
        for proxy in self._asked:
            proxy.hold_requests(break_after_s=BREAK_S)

    def _is_meant(self, ends: Ends, place: str) -> bool:
        return self._network.meant(ends, self._place, place) or self._network.meant(ends, place, self._place)


def _started(target: str) -> Proxy:
    proxy = Proxy(target)
    proxy.start()
    return proxy


def _through(settings: EtcdSettings, proxies: Iterable[Proxy]) -> EtcdSettings:
    return replace(settings, endpoints=tuple(proxy.endpoint for proxy in proxies))
