"""The servers of the workloads: what `Bench` and `Spread` do costs nothing, so that the figures are PALM's; `Burn` uses
the processor, `Nap` only time."""

from __future__ import annotations

from time import sleep

from bench.butterfly import WORK_S, work
from palm import ButterflyServer, RegisteredServer


class Bench(RegisteredServer):
    def echo(self, message: bytes) -> bytes:
        return message


class Burn(ButterflyServer):
    def burn(self, message: bytes) -> bytes:
        work()
        return message


class Spread(ButterflyServer):
    def echo(self, message: bytes) -> bytes:
        return message


class Nap(ButterflyServer):
    def nap(self, message: bytes) -> bytes:
        sleep(WORK_S)
        return message
