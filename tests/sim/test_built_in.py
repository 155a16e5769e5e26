"""The built-in functions in clusters of every kind."""

from __future__ import annotations

import json
import time

from palm import ButterflyServer, SinkServer
from palm.testing.simulate import simulate


class Naps(ButterflyServer):
    def nap(self, message: bytes) -> bytes:
        time.sleep(5)
        return message


class Zipped(SinkServer):
    join = "zip"

    def all(self, parts: tuple[bytes | None, ...]) -> bytes:
        return b""


def test_a_leader_tells_how_it_stands_while_all_its_workers_are_busy() -> None:
    """Long before one of them is through."""
    with simulate(Naps, name="naps", instances=3, seed=1) as sim:
        client = sim.client()
        results = client.submit(client.job([b"x"] * 20, "naps.nap"))
        client.call("naps._ping", b"x")
        sim.run(7)
        begin = sim.now
        stats = json.loads(client.call("naps._stats", b""))
        assert sim.now - begin < 0.1 and stats["in_flight"] > 2
        assert stats["functions"]["nap"]["count"] == 0, "a leader with workers runs nothing itself"
        assert list(results) == [b"x"] * 20


def test_a_sink_answers_what_is_built_in_without_waiting_for_parts() -> None:
    """It joins messages of its own functions only."""
    with simulate(Zipped, name="zipped", seed=1) as sim:
        assert sim.client().call("zipped._ping", b"x") == b"x"
