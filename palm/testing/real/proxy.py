"""A TCP proxy on loopback that misbehaves on demand: resets, refuses, stalls one way or both, is late. It knows bytes
and connections only; it stands between a process and its peer, or its etcd, where a scenario is about connections.

What it cannot do is take one message from a stream: that is the shim's (`palm.testing.real.shim`).
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from typing import cast

WAITING_MAX_BYTES = 1 << 20
"""What one direction keeps before it reads no more, as a full window does."""
BACKLOG = 1024


class Proxy:
    """Forwards to `target` (host:port). `endpoint` is where to connect instead, from the first: who comes before
    `start` waits. After `start` it belongs to that event loop."""

    def __init__(self, target: str) -> None:
        self._host, _, port = target.rpartition(":")
        self._port = int(port)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        self.endpoint = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._server: asyncio.Task[asyncio.Server] | None = None
        self._open: dict[_Connection, None] = {}
        self._refusing = False
        self._stalled = False
        self._limit: int | None = None
        self.lag_s = 0.0
        self.connections = 0
        self.bytes_to_client = 0
        self.bytes_to_server = 0
        self.cuts_by_limit = 0
        self.held_bytes = 0
        """That were met by a stall: it bit."""
        self.late_bytes = 0
        """That were met by a lag."""

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        listening = self._loop.create_server(lambda: _Connection(self).to_server, sock=self._listener)
        self._server = self._loop.create_task(listening)

    @property
    def open_connections(self) -> int:
        return len(self._open)

    def cut(self, *, refuse: bool = False) -> int:
        """Reset every connection, and with `refuse` each new one too, until `resume`; how many were reset."""
        self._refusing = refuse
        broken = list(self._open)
        for connection in broken:
            connection.reset()
        return len(broken)

    def stall(self, *, new_too: bool = True) -> None:
        """Carry no byte any more, without a reset. `new_too` False: only the present connections are dead, for ever."""
        self._stalled = new_too
        for connection in list(self._open):
            connection.to_server.shut(for_ever=not new_too)
            connection.to_client.shut(for_ever=not new_too)

    def hold_answers(self, *, break_after_s: float | None = None) -> None:
        """Present connections carry nothing to the client any more, for ever; what it sends still arrives. With
        `break_after_s`, each is reset so long after the first answer that it has held."""
        for connection in list(self._open):
            connection.break_after_s = break_after_s
            connection.to_client.shut(for_ever=True)

    def hold_requests(self, *, break_after_s: float) -> None:
        """Present connections carry nothing to the server any more, and are reset so long after the first request that
        they have held."""
        for connection in list(self._open):
            connection.break_after_s = break_after_s
            connection.to_server.shut(for_ever=True)

    def lag(self, seconds: float) -> None:
        """Carry to the client that much later; 0 ends it, and what was late comes at once."""
        self.lag_s = seconds
        for connection in list(self._open):
            connection.to_client.look()

    def resume(self) -> None:
        """End of `cut(refuse=True)` and `stall()`; what waited is carried now."""
        self._refusing = self._stalled = False
        for connection in list(self._open):
            connection.open()

    def limit(self, size_bytes: int | None) -> None:
        """Reset each connection after so many bytes to the client; each starts its count anew. None: no limit."""
        self._limit = size_bytes

    async def aclose(self) -> None:
        """Harmless before `start`."""
        if self._server is None:
            self._listener.close()
            return
        server = await self._server
        server.close()
        self.cut(refuse=True)
        await asyncio.sleep(0)  # transports that were aborted tell their protocols in the loop's next round

    # -- for its connections ------------------------------------------------------------------------------------------

    def _came(self, connection: _Connection) -> None:
        self.connections += 1
        self._open[connection] = None
        if self._refusing:
            connection.reset()
            return
        if self._stalled:
            connection.to_server.shut()
            connection.to_client.shut()
        connection.dialing = self._loop.create_task(self._dial(connection))

    async def _dial(self, connection: _Connection) -> None:
        await connection.to_server.opened.wait()
        try:
            await self._loop.create_connection(lambda: connection.to_client, self._host, self._port)
        except OSError:
            connection.reset()  # nobody is there: the client hears of it as of any other end
            return
        connection.join()

    def _went(self, connection: _Connection) -> None:
        self._open.pop(connection, None)


class _Connection:
    """One connection through the proxy: a way to the server, and one back."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.to_server = _Way(self, to_client=False)
        self.to_client = _Way(self, to_client=True)
        self.dialing: asyncio.Task[None] | None = None
        self.break_after_s: float | None = None

    def join(self) -> None:
        """Both ends are there."""
        self.to_server.sink, self.to_client.sink = self.to_client.source, self.to_server.source
        self.to_server.look()
        self.to_client.look()

    def open(self) -> None:
        self.to_server.unshut()
        self.to_client.unshut()

    def other(self, way: _Way) -> _Way:
        return self.to_client if way is self.to_server else self.to_server

    def held(self) -> None:
        """Something came on a way that is shut."""
        if self.break_after_s is not None:
            self.proxy._loop.call_later(self.break_after_s, self.reset)
            self.break_after_s = None

    def close(self) -> None:
        """Both ways have ended in good order."""
        self.proxy._went(self)
        for way in (self.to_server, self.to_client):
            if way.source is not None:
                way.source.close()

    def reset(self) -> None:
        """Both ends learn at once, by a reset, that it broke; what is on its way is lost. Harmless when it is over."""
        self.proxy._went(self)
        if self.dialing is not None and self.dialing is not asyncio.current_task():
            self.dialing.cancel()
        for way in (self.to_server, self.to_client):
            way.forget()
            if way.source is not None and not way.lost:
                raw = way.source.get_extra_info("socket")
                if raw is not None and raw.fileno() >= 0:
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                way.source.abort()


class _Way(asyncio.Protocol):
    """One direction: the protocol of the end that it reads from. What is read goes on at once, or waits its time."""

    def __init__(self, connection: _Connection, *, to_client: bool) -> None:
        self.source: asyncio.Transport | None = None
        self.sink: asyncio.Transport | None = None
        self.opened = asyncio.Event()
        self.opened.set()
        self.lost = False
        """The end that it reads from is closed."""
        self._connection = connection
        self._to_client = to_client
        self._for_ever = False
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._waiting_bytes = 0
        self._is_full = False
        self._ended = False
        self._has_told = False
        self._carried = 0
        self._timer: asyncio.TimerHandle | None = None

    # -- what a script does -------------------------------------------------------------------------------------------

    def shut(self, *, for_ever: bool = False) -> None:
        self.opened.clear()
        self._for_ever = self._for_ever or for_ever

    def unshut(self) -> None:
        if not self._for_ever:
            self.opened.set()
            self.look()

    def forget(self) -> None:
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()

    # -- asyncio.Protocol ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.source = cast(asyncio.Transport, transport)  # asyncio's own for a stream
        if not self._to_client:
            self._connection.proxy._came(self._connection)

    def data_received(self, data: bytes) -> None:
        proxy = self._connection.proxy
        lag_s = proxy.lag_s if self._to_client else 0.0
        if not self.opened.is_set():
            proxy.held_bytes += len(data)
            self._connection.held()
        elif lag_s:
            proxy.late_bytes += len(data)
        elif not self._waiting and self.sink is not None:
            self._carry(data)
            return
        self._waiting.append((proxy._loop.time(), data))
        self._waiting_bytes += len(data)
        if self._waiting_bytes > WAITING_MAX_BYTES and self.source is not None:
            self._is_full = True
            self.source.pause_reading()
        self.look()

    def eof_received(self) -> bool:
        self._ended = True
        self.look()
        return True  # the other way may go on

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        if error is not None:
            self._connection.reset()

    def pause_writing(self) -> None:
        other = self._connection.other(self)
        if other.source is not None and not other.lost:
            other.source.pause_reading()

    def resume_writing(self) -> None:
        other = self._connection.other(self)
        if other.source is not None and not other.lost and not other._is_full:
            other.source.resume_reading()

    # -- onward -------------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Carry what is due."""
        proxy = self._connection.proxy
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self.opened.is_set() or self.sink is None:
            return
        lag_s = proxy.lag_s if self._to_client else 0.0
        while self._waiting:
            came, data = self._waiting[0]
            if came + lag_s > proxy._loop.time():
                self._timer = proxy._loop.call_at(came + lag_s, self.look)
                return
            self._waiting.popleft()
            self._waiting_bytes -= len(data)
            self._carry(data)
        if self._ended:
            self._tell_end(self.sink)
        elif self._is_full and self.source is not None:
            self._is_full = False
            self.source.resume_reading()

    def _tell_end(self, sink: asyncio.Transport) -> None:
        """The end of one way comes behind what was said on it; after both, the connection is over."""
        if not self._has_told and not sink.is_closing():
            self._has_told = True
            try:
                sink.write_eof()
            except OSError:
                self._connection.reset()  # that end is gone already, and its protocol not told yet
                return
            if self._connection.other(self)._has_told:
                self._connection.close()

    def _carry(self, data: bytes) -> None:
        assert self.sink is not None, "looked at before"
        proxy, limit = self._connection.proxy, self._connection.proxy._limit
        self._carried += len(data)
        if self._to_client:
            proxy.bytes_to_client += len(data)
            if limit is not None and self._carried >= limit:
                proxy.cuts_by_limit += 1
                self._connection.reset()
                return
        else:
            proxy.bytes_to_server += len(data)
        self.sink.write(data)
