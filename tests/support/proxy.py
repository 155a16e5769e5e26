"""The proxy of real runs on a thread of its own, for tests that block: every method has taken effect on return."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from palm.testing.real.proxy import Proxy as Inner

T = TypeVar("T")


class Proxy:
    """`palm.testing.real.proxy.Proxy`; every method may be called from any other thread."""

    def __init__(self, target: str) -> None:
        self._inner = Inner(target)
        self.endpoint = self._inner.endpoint
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy to {target}", daemon=True)
        self._thread.start()
        self._call(self._inner.start)

    @property
    def connections(self) -> int:
        return self._inner.connections

    @property
    def bytes_to_client(self) -> int:
        return self._inner.bytes_to_client

    @property
    def bytes_to_server(self) -> int:
        return self._inner.bytes_to_server

    @property
    def cuts_by_limit(self) -> int:
        return self._inner.cuts_by_limit

    @property
    def held_bytes(self) -> int:
        return self._inner.held_bytes

    def cut(self, *, refuse: bool = False) -> None:
        self._call(lambda: self._inner.cut(refuse=refuse))

    def stall(self, *, new_too: bool = True) -> None:
        self._call(lambda: self._inner.stall(new_too=new_too))

    def hold_answers(self) -> None:
        self._call(self._inner.hold_answers)

    def resume(self) -> None:
        self._call(self._inner.resume)

    def limit(self, size_bytes: int | None) -> None:
        self._call(lambda: self._inner.limit(size_bytes))

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._inner.aclose(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, action: Callable[[], T]) -> T:
        async def run() -> T:
            return action()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result()


@contextmanager
def proxy_to(target: str) -> Iterator[Proxy]:
    proxy = Proxy(target)
    try:
        yield proxy
    finally:
        proxy.close()
