"""How the director of a run and its processes talk: lines of JSON on a pair of sockets, one object a line."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any, AsyncIterator

LINE_MAX = 64 * 1024 * 1024
"""All entries of some milliseconds, or all results of a job."""


class Channel:
    """One end. `say` never waits; what is heard comes by iteration, until the other end is gone."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def on(cls, end: socket.socket) -> Channel:
        """From one end of a `socket.socketpair`, which belongs to the channel from now on."""
        return cls(*await asyncio.open_unix_connection(sock=end, limit=LINE_MAX))

    def say(self, **words: Any) -> None:
        """Send one object; lost where the other end is gone."""
        if not self._writer.is_closing():
            self._writer.write(json.dumps(words).encode() + b"\n")

    async def flush(self) -> None:
        """Until what was said is with the kernel."""
        try:
            await self._writer.drain()
        except OSError:
            pass  # nobody listens any more

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        while True:
            try:
                line = await self._reader.readline()
            except OSError:
                return
            if not line.endswith(b"\n"):
                return  # the end, or half a line of one that was killed
            yield json.loads(line)

    def close(self) -> None:
        self._writer.close()
