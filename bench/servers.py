"""The servers of the workloads: what `Bench` does costs nothing, so that the figures are PALM's; `Burn` burns."""

from __future__ import annotations

from bench.butterfly import work
from palm import ButterflyServer, RegisteredServer


class Bench(RegisteredServer):
    def echo(self, message: bytes) -> bytes:
        return message


class Burn(ButterflyServer):
    def burn(self, message: bytes) -> bytes:
        work()
        return message
