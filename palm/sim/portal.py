"""A client's simulated world: waiting runs the simulation on, and a job's source is user code of its process.

The counterpart of `palm.net.world`. Simulated time stands still while the caller computes; a source may let it pass.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Callable, ContextManager, Iterable, Iterator

from palm.errors import PalmError
from palm.ports.host import Executor, Gate
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
        self._feeds = 0

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
        assert self._host is not None, "begin comes first"
        self._feeds += 1
        # A lane for each: one source does not wait for another.
        executor = self._host.executor(f"feed-{self._feeds}")
        return SimFeed(self._host, executor, source, offer, ended)

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
    """Reads a source as far as it is demanded, as user code of the client's process: it may sleep, or call the cluster,
    while the world goes on. Payloads are offered at the instant at which they came."""

    def __init__(
        self,
        host: Host,
        executor: Executor,
        source: Iterable[bytes],
        offer: Callable[[list[bytes]], None],
        ended: Callable[[BaseException | None], None],
    ) -> None:
        self._host = host
        self._executor = executor
        self._source: Iterator[bytes] = iter(source)
        self._offer = offer
        self._ended = ended
        self._payloads: list[bytes] = []
        self._reading = False
        self._over = False

    def demand(self, count: int) -> None:
        if not self._over:
            self._executor.execute("feed", self._read, [count], self._was_read)

    def stop(self) -> None:
        self._over = True
        if not self._reading:
            self._close()

    def _read(self, count: int) -> tuple[bool, BaseException | None]:
        """Whether the source has ended, and by what error."""
        if self._over:
            return False, None
        self._reading = True
        try:
            for _ in range(count):
                self._add(next(self._source))
                if self._over:
                    self._close()
                    return False, None
        except StopIteration:
            self._over = True
            return True, None
        except Exception as raised:  # whatever the source raises is handed to the caller, who owns it
            self._over = True
            return True, raised
        finally:
            self._reading = False
        return False, None

    def _add(self, payload: bytes) -> None:
        if not self._payloads:
            self._host.call_soon(self._hand_over)  # before the source sleeps, if it does
        self._payloads.append(payload)

    def _hand_over(self) -> None:
        payloads, self._payloads = self._payloads, []
        if payloads:
            self._offer(payloads)

    def _was_read(self, outcomes: list[tuple[bool, BaseException | None]]) -> None:
        self._hand_over()
        for over, error in outcomes:
            if over:
                self._ended(error)

    def _close(self) -> None:
        close = getattr(self._source, "close", None)
        if close is not None:
            close()
