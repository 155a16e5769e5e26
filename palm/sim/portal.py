"""A client's simulated world: waiting runs the simulation on, and a job's source is read on the spot.

The counterpart of `palm.net.world`. Simulated time stands still while the caller computes and while a source yields.
"""

from __future__ import annotations

from contextlib import nullcontext
from itertools import islice
from typing import Callable, ContextManager, Iterable, Iterator

from palm.errors import PalmError
from palm.ports.host import Gate
from palm.runtime.engine import ClientEngine
from palm.runtime.portal import Feed
from palm.sim.cluster import Cluster
from palm.sim.host import Host
from palm.sim.recorder import ClientInstrument

CLOSE_S = 5.0


class SimWorld:
    """One client process. `name` is its name in the world, `place` the host of the network that it runs on, and
    `within` the process that it is part of, where it is not one of its own."""

    def __init__(self, cluster: Cluster, name: str, place: str, within: Host | None = None) -> None:
        self.name = name
        self._within = within
        self._cluster = cluster
        self._place = place
        self._host: Host | None = None
        self._engine: ClientEngine | None = None

    def begin(self, ready: Callable[[ClientEngine | None, PalmError | None], None]) -> None:
        host = self._host = self._cluster.client_host(self.name, self._place)
        instrument = ClientInstrument(self._cluster.recorder)
        engine = self._engine = ClientEngine(
            host, cluster=self._cluster.namespace, name="client", instrument=instrument
        )
        self._cluster.engines[self.name] = engine
        if self._within is not None:
            host.on_crash(lambda dead: self._forget())
            self._within.attach(host)

        async def start() -> None:
            try:
                await engine.start()
            except PalmError as error:
                ready(None, error)
            else:
                ready(engine, None)

        host.spawn(start(), "start")

    def submit(self, callback: Callable[[], None]) -> None:
        assert self._host is not None, "begin comes first"
        self._host.submit(callback)

    def gate(self) -> Gate:
        if self._host is None:
            # Asked for before `begin`, which makes the host: any process of the world can wait.
            return _LateGate(self)
        return self._host.gate()

    def turn(self) -> ContextManager[Gate]:
        return nullcontext(self.gate())

    def feed(
        self,
        source: Iterable[bytes],
        offer: Callable[[list[bytes]], None],
        ended: Callable[[BaseException | None], None],
    ) -> Feed:
        return SimFeed(source, offer, ended)

    def end(self) -> None:
        host, engine = self._host, self._engine
        if host is None or engine is None or not host.alive:
            return
        gate = host.gate()

        async def close() -> None:
            await engine.aclose()
            gate.open()

        host.spawn(close(), "close")
        gate.wait(CLOSE_S)
        self._forget()
        host.crash()

    def stop(self, stopped: Callable[[], None]) -> None:
        host, engine = self._host, self._engine
        if host is None or engine is None or not host.alive:
            stopped()
            return

        async def close() -> None:
            await engine.aclose()
            self._forget()
            stopped()

        host.spawn(close(), "close")

    def _forget(self) -> None:
        if self._cluster.engines.get(self.name) is self._engine:
            del self._cluster.engines[self.name]

    def host_gate(self) -> Gate:
        assert self._host is not None, "begin comes first"
        return self._host.gate()


class _LateGate:
    """A gate of a host that is made between the gate and the wait."""

    def __init__(self, world: SimWorld) -> None:
        self._world = world
        self._is_open = False
        self._gate: Gate | None = None

    def open(self) -> None:
        self._is_open = True
        if self._gate is not None:
            self._gate.open()

    def wait(self, timeout_s: float | None) -> bool:
        if self._gate is None:
            self._gate = self._world.host_gate()
            if self._is_open:
                self._gate.open()
        return self._gate.wait(timeout_s)


class SimFeed:
    """Reads a source in place, as far as it is demanded."""

    def __init__(
        self,
        source: Iterable[bytes],
        offer: Callable[[list[bytes]], None],
        ended: Callable[[BaseException | None], None],
    ) -> None:
        self._source: Iterator[bytes] = iter(source)
        self._offer = offer
        self._ended = ended
        self._over = False

    def demand(self, count: int) -> None:
        if self._over:
            return
        payloads: list[bytes] = []
        error: BaseException | None = None
        try:
            payloads.extend(islice(self._source, count))
        except Exception as raised:  # whatever the source raises is handed to the caller, who owns it
            error = raised
        if payloads:
            self._offer(payloads)
        if error is not None or len(payloads) < count:
            self._over = True
            self._ended(error)

    def stop(self) -> None:
        self._over = True
        close = getattr(self._source, "close", None)
        if close is not None:
            close()
