"""Branches and joins under faults that single messages bring with them: poison in a branch, and in a sink."""

from __future__ import annotations

import os

import pytest

from palm import DeadLettered, RegisteredServer, SinkServer, SourceServer
from palm.testing import Simulation, simulate


class Split(SourceServer):
    def copy(self, message):
        return message


class Work(RegisteredServer):
    def tag(self, message):
        return message + b"t"

    def frail(self, message):
        if message.startswith(b"kill"):
            os._exit(70)
        return message + b"f"


class Zipped(SinkServer):
    join = "zip"

    def all(self, parts):
        return b"|".join(parts)

    def frail(self, parts):
        if parts[0].startswith(b"kill"):
            os._exit(70)
        return b"|".join(parts)


def supervise(sim: Simulation, *servers: str) -> None:
    """Start the dead again within a second, as a supervisor would."""

    def look() -> None:
        for server in servers:
            for instance in sim.cluster.instances[server]:
                if not instance.is_up:
                    sim.restart(instance.name)
        sim.at(sim.now + 1.0, look)

    sim.at(1.0, look)


@pytest.mark.parametrize(
    ("branch", "sink", "killed"), [("work.frail", "zipped.all", "work"), ("work.tag", "zipped.frail", "zipped")]
)
def test_poison_behind_a_split_is_the_only_message_that_is_lost(branch: str, sink: str, killed: str) -> None:
    """In a branch, and in the sink where the branches meet: three deaths, one dead letter, all others whole."""
    payloads = [b"kill" if number == 100 else b"%d" % number for number in range(300)]
    with simulate(Split, name="split", instances=2, seed=11, service_s=0.001) as sim:
        sim.serve(Work, name="work", instances=3, service_s=0.003)
        sim.serve(Zipped, name="zipped", instances=3, service_s=0.002)
        supervise(sim, "work", "zipped")
        job = sim.client().job(payloads, ["split.copy", [[branch], ["work.tag"]], sink], errors="yield")
        ends = list(sim.client().submit(job))
    [dead] = [end for end in ends if isinstance(end, DeadLettered)]
    assert dead.sequence == 100 and f"3 instances of {killed} died" in str(dead)
    letter = b"f" if branch == "work.frail" else b"t"
    whole = [b"%b%b|%bt" % (payload, letter, payload) for payload in payloads if payload != b"kill"]
    assert sorted(end for end in ends if isinstance(end, bytes)) == sorted(whole)
