"""A client's real world: a thread with an event loop, a host on it, and a feeding thread for each job's source."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
from collections import deque
from typing import Callable, ContextManager, Iterable, Iterator

from palm.errors import ClientClosed, PalmError
from palm.net.allocator import keep_large_blocks
from palm.net.etcd.settings import EtcdSettings
from palm.net.host import NetGate, NetHost
from palm.net.peer import new_peer
from palm.net.recording import RecordedSteps, Tape
from palm.net.shared_loop import SharedLoop, Turn
from palm.ports.host import Gate
from palm.runtime.engine import ClientEngine
from palm.runtime.portal import Feed

Ready = Callable[[ClientEngine | None, PalmError | None], None]

CLOSE_S = 5.0

GATHER_S = 0.0005
"""While a source goes on yielding, its payloads are fetched this often rather than announced one by one."""


class NetWorld:
    def __init__(
        self, etcd: EtcdSettings, *, cluster: str, name: str, log: Callable[[str], None], record: str = ""
    ) -> None:
        """`record`: the file that a recording is appended to."""
        self.name = name
        self.engine: ClientEngine | None = None
        """Of its own thread; None until it runs."""
        self._tape = Tape(record) if record else None
        self._etcd = etcd
        self._cluster = cluster
        self._log = log
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._has_ended = False
        self._thread: threading.Thread | None = None
        self._shared: SharedLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._stopped: list[Callable[[], None]] = []

    def begin(self, ready: Ready) -> None:
        keep_large_blocks()
        self._thread = threading.Thread(target=self._run, args=(ready,), name=f"palm-{self.name}", daemon=True)
        self._thread.start()

    def _run(self, ready: Ready) -> None:
        told: list[bool] = []

        def tell(engine: ClientEngine | None, error: PalmError | None) -> None:
            told.append(True)
            ready(engine, error)

        try:
            shared = self._shared = SharedLoop()
            shared.run(self._main(tell))
        finally:
            if not told:
                ready(None, ClientClosed("the client could not start: its thread ended with the error above"))
            with self._lock:
                self._has_ended = True
            for stopped in self._stopped:
                stopped()

    async def _main(self, ready: Ready) -> None:
        from palm.net.registry import EtcdRegistry
        from palm.net.transport import ZmqTransport

        stopping = asyncio.Event()
        with self._lock:
            self._stopping = stopping
            if self._stopped:
                stopping.set()
        tape = self._tape
        host = NetHost(socket.gethostname(), ZmqTransport(new_peer()), EtcdRegistry(self._etcd), tape)
        steps = None if tape is None else RecordedSteps(tape)
        engine = ClientEngine(host, cluster=self._cluster, name=self.name, log=self._log, instrument=steps)
        if tape is not None:
            tape.start()
        try:
            await engine.start()
        except PalmError as error:
            await engine.aclose(0.0)
            if tape is not None:
                tape.close()
            ready(None, error)
            return
        self.engine = engine
        ready(engine, None)
        host.failed.add_done_callback(lambda failed: stopping.set())
        await stopping.wait()
        if host.failed.done():
            bug = host.failed.result()
            logging.getLogger("palm.client").error("the client stops after an error of PALM's own", exc_info=bug)
        await engine.aclose()
        if tape is not None:
            tape.close()

    def submit(self, callback: Callable[[], None]) -> None:
        shared = self._own()
        try:
            shared.submit(callback)
        except RuntimeError as error:
            raise ClientClosed("the client is closed: make a new one, or use it inside its `with` block") from error

    def gate(self) -> Gate:
        return NetGate()

    def turn(self) -> ContextManager[Gate]:
        return Turn(self._own())

    def _own(self) -> SharedLoop:
        assert self._shared is not None, "begin comes first"
        if os.getpid() != self._pid:
            raise RuntimeError("a palm client does not survive fork: make a new one in the child process")
        return self._shared

    def feed(
        self,
        source: Iterable[bytes],
        offer: Callable[[list[bytes]], None],
        ended: Callable[[BaseException | None], None],
    ) -> Feed:
        assert self._shared is not None, "begin comes first"
        return ThreadFeed(self._shared.loop, source, offer, ended)

    def end(self) -> None:
        self.stop(lambda: None)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(CLOSE_S)

    def stop(self, stopped: Callable[[], None]) -> None:
        with self._lock:
            pending = self._thread is not None and not self._has_ended
            if pending:
                self._stopped.append(stopped)
            shared, stopping = self._shared, self._stopping
        if not pending:
            stopped()
        elif shared is not None and stopping is not None and not shared.is_over:
            try:
                shared.submit(stopping.set)
            except RuntimeError:
                pass  # it closed in this moment


class ThreadFeed:
    """Iterates a source in a thread of its own, so that a slow one stops nobody, and results stream while it runs.

    Payloads wait in a deque. The first after a pause wakes the event loop, and so does the last that was demanded; in
    between the loop looks by itself every GATHER_S, until it finds none: so a fast source costs a wake-up for each
    demand, and a slow one is never late.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        source: Iterable[bytes],
        offer: Callable[[list[bytes]], None],
        ended: Callable[[BaseException | None], None],
    ) -> None:
        self._loop = loop
        self._source = source
        self._offer = offer
        self._ended = ended
        self._allowed = 0
        self._granted = 0
        self._more = NetGate()
        self._stopped = False
        self._buffer: deque[bytes] = deque()
        self._watched = False
        self._next_look: asyncio.TimerHandle | None = None
        self._error: BaseException | None = None
        self._finished = False  # set by the thread, after the last append
        self._told = False
        self._thread: threading.Thread | None = None

    def demand(self, count: int) -> None:
        before = self._granted
        self._granted += count
        if self._allowed == before:  # in this order: it waits for more once it has seen none
            self._loop.call_soon(self._more.open)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="palm-feed", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        self._stopped = True
        self._more.open()

    def _run(self) -> None:
        try:
            self._pull(iter(self._source))
        except BaseException as error:  # whatever the source raises is handed to the caller, who owns it
            self._error = error
        self._finished = True
        self._announce()

    def _pull(self, source: Iterator[bytes]) -> None:
        buffer = self._buffer
        try:
            while True:
                while self._allowed == self._granted and not self._stopped:
                    self._more.wait(None)
                if self._stopped:
                    return
                granted = self._granted
                while self._allowed < granted:
                    try:
                        payload = next(source)
                    except StopIteration:
                        return
                    self._allowed += 1
                    buffer.append(payload)
                    if not self._watched:
                        self._watched = True
                        self._announce()
                    if self._stopped:
                        return
                if buffer:
                    self._announce()
        finally:
            close = getattr(source, "close", None)
            if close is not None:
                close()

    def _announce(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._fetch)
        except RuntimeError:
            self._stopped = True  # the loop is closed: nobody wants more

    def _fetch(self) -> None:
        """On the loop: take what is there; look again soon, or go back to being woken."""
        if self._next_look is not None:
            self._next_look.cancel()
            self._next_look = None
        finished = self._finished  # read before the buffer: nothing is appended after it
        buffer = self._buffer
        if buffer:
            self._offer([buffer.popleft() for _ in range(len(buffer))])
        elif not finished:
            self._watched = False
            if not buffer:
                return
            self._watched = True  # appended between the look and the line above
        if not finished:
            self._next_look = self._loop.call_later(GATHER_S, self._fetch)
        elif not self._told:
            self._told = True
            self._ended(self._error)
