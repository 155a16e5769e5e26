"""A TCP proxy on loopback that misbehaves on demand: cut, stall, resume, limit. It knows bytes and connections only."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

CHUNK_BYTES = 4096  # small, so that `limit` cuts near where it says


class _Pipe:
    """One connection through the proxy, both ways."""

    def __init__(self) -> None:
        # Cleared: bytes wait, as on a line that is dead without a reset.
        self.open_to_server = asyncio.Event()
        self.open_to_client = asyncio.Event()
        self.open()
        self.writers: list[asyncio.StreamWriter] = []

    def open(self) -> None:
        self.open_to_server.set()
        self.open_to_client.set()

    def reset(self) -> None:
        for writer in self.writers:
            raw = writer.get_extra_info("socket")
            if raw is not None and raw.fileno() >= 0:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


class Proxy:
    """Runs on a thread of its own; every method may be called from any other thread and has taken effect on return."""

    def __init__(self, target: str) -> None:
        """Forwards to `target`, host:port; `endpoint` is where to connect instead."""
        self._host, port = target.rsplit(":", 1)
        self._port = int(port)
        self._loop = asyncio.new_event_loop()
        self._pipes: set[_Pipe] = set()
        self._dead: set[_Pipe] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._refusing = False
        self._stalled = False
        self._limit: int | None = None
        self.connections = 0
        self.bytes_to_client = 0
        self.bytes_to_server = 0
        self.cuts_by_limit = 0
        self.held_bytes = 0  # that were met by a stall: it bit
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy to {target}", daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._accept, sock=self._listener), self._loop
        ).result()

    def cut(self, *, refuse: bool = False) -> None:
        """Reset every connection; with `refuse` also each new one, until `resume`."""
        self._call(lambda: self._cut(refuse))

    def stall(self, *, new_too: bool = True) -> None:
        """Carry no byte any more, without a reset. `new_too` False: only the present connections are dead, for ever."""
        self._call(lambda: self._stall(new_too))

    def hold_answers(self) -> None:
        """Present connections carry nothing to the client any more, for ever; what it sends still arrives."""
        self._call(self._hold_answers)

    def resume(self) -> None:
        """End of `cut(refuse=True)` and `stall()`; what waited is carried now."""
        self._call(self._resume)

    def limit(self, size_bytes: int | None) -> None:
        """Reset each connection after about so many bytes to the client; each starts its count anew. None: no limit."""
        self._limit = size_bytes

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, action: Callable[[], None]) -> None:
        async def run() -> None:
            action()

        asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    def _cut(self, refuse: bool) -> None:
        self._refusing = refuse
        for pipe in list(self._pipes):
            pipe.reset()

    def _stall(self, new_too: bool) -> None:
        self._stalled = new_too
        for pipe in self._pipes:
            pipe.open_to_server.clear()
            pipe.open_to_client.clear()
        if not new_too:
            self._dead |= self._pipes

    def _hold_answers(self) -> None:
        for pipe in self._pipes:
            pipe.open_to_client.clear()
        self._dead |= self._pipes

    def _resume(self) -> None:
        self._refusing = self._stalled = False
        for pipe in self._pipes - self._dead:
            pipe.open()

    async def _close(self) -> None:
        self._server.close()
        self._cut(refuse=True)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        pipe = _Pipe()
        pipe.writers.append(writer)
        self._pipes.add(pipe)
        self.connections += 1
        try:
            if not self._refusing:
                await self._join(pipe, reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # either side is gone, or the proxy closes: the connection ends with it
        finally:
            pipe.reset()
            self._pipes.discard(pipe)
            self._dead.discard(pipe)
            self._tasks.discard(task)

    async def _join(self, pipe: _Pipe, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._stalled:
            pipe.open_to_server.clear()
            pipe.open_to_client.clear()
        await pipe.open_to_server.wait()
        far_reader, far_writer = await asyncio.open_connection(self._host, self._port)
        pipe.writers.append(far_writer)
        ways = [
            asyncio.ensure_future(self._carry(pipe, reader, far_writer, to_client=False)),
            asyncio.ensure_future(self._carry(pipe, far_reader, writer, to_client=True)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _carry(
        self, pipe: _Pipe, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, to_client: bool
    ) -> None:
        carried = 0
        gate = pipe.open_to_client if to_client else pipe.open_to_server
        while chunk := await reader.read(CHUNK_BYTES):
            if not gate.is_set():
                self.held_bytes += len(chunk)
                await gate.wait()
            writer.write(chunk)
            await writer.drain()
            carried += len(chunk)
            if not to_client:
                self.bytes_to_server += len(chunk)
                continue
            self.bytes_to_client += len(chunk)
            if self._limit is not None and carried >= self._limit:
                self.cuts_by_limit += 1
                return


@contextmanager
def proxy_to(target: str) -> Iterator[Proxy]:
    proxy = Proxy(target)
    try:
        yield proxy
    finally:
        proxy.close()
