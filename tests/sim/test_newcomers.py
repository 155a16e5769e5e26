"""Workers that come late to slow work have a part of it, whatever the crew ran before."""

from __future__ import annotations

import time

import pytest

from palm import ButterflyServer
from palm.testing.simulate import simulate

LATE = ["work[1]", "work[2]", "work[3]"]
MESSAGES, TAKES_S = 400, 0.1


class Work(ButterflyServer):
    def quick(self, message):
        return message

    def slow(self, message):
        time.sleep(TAKES_S)
        return message


@pytest.mark.parametrize("quick", [0, 4000])
def test_newcomers_share_slow_work(quick: int) -> None:
    """One worker for a second, four from then on: the time that their shares add up to, and what elections take."""
    with simulate(Work, name="work", instances=1 + len(LATE)) as sim:
        for name in LATE:
            sim.crash(name)
        sim.run(10)
        client = sim.client(timeout=300)
        assert sum(1 for _ in client.submit(client.job([b""] * quick, ["work.quick"]))) == quick
        began = sim.now
        for name in LATE:
            sim.at(began + 1, lambda name=name: sim.restart(name))  # type: ignore[misc]  # bound for each of them
        assert sum(1 for _ in client.submit(client.job([b""] * MESSAGES, ["work.slow"]))) == MESSAGES
        took_s = sim.now - began
    shared_s = 1 + (MESSAGES * TAKES_S - 1) / 4
    assert took_s < 1.5 * shared_s, f"{took_s:.1f} s, {shared_s:.1f} s are the least"
