"""Servers whose store is what a test is about."""

from __future__ import annotations

from palm import ButterflyServer, RegisteredServer


class Plain(RegisteredServer):
    def echo(self, message: bytes) -> bytes:
        return message


class Parallel(ButterflyServer):
    def echo(self, message: bytes) -> bytes:
        return message
