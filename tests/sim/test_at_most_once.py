"""At-most-once jobs where every frame comes twice and instances are full, drain, or change their leader."""

from __future__ import annotations

from collections import Counter

import pytest

from palm import ButterflyServer, RegisteredServer
from palm.sim.cluster import ServerSpec
from palm.sim.draws import Fixed, Uniform
from palm.sim.network import Ends, Link, Twice
from palm.testing.simulate import Simulation

MS = 1_000_000


class Plain(RegisteredServer):
    def work(self, message):
        return message


class Parallel(ButterflyServer):
    def work(self, message):
        return message


def executions(seed: int, *servers: type[RegisteredServer]) -> tuple[Counter[tuple[str, int]], int]:
    """How often each message was run by each server, and how many instances said that they were full."""
    with Simulation(seed=seed) as sim:
        network = sim.cluster.world.network
        route = []
        for number, server in enumerate(servers):
            name = f"s{number}"
            places = [f"{name}-{index}" for index in range(3)]
            for place in places:
                network.add_host(place)
            spec = ServerSpec(
                name=name, make=server, places=places, service=Fixed(5 * MS), options={"max_in_flight": 16}
            )
            sim.cluster.add_server(spec)
            route.append(f"{name}.work")
        network.link(Ends.parse("* <-> *"), Link(delay=Uniform(MS, 20 * MS)))
        sim.run(2)
        network.lay(Ends.parse("* <-> *"), Twice(1.0))
        sim.at(sim.now + 0.2, lambda: sim.drain("s0[1]"))
        job = sim.client().job([b"%d" % n for n in range(300)], route, at_most_once=True, errors="skip")
        list(sim.client().submit(job))
        assert job.ledger.adds_up
        entries = sim.cluster.recorder.entries
    ran = Counter((e.server, e.sequence) for e in entries if e.kind.value == "handling")
    return ran, sum(e.kind.value == "busy" for e in entries)


@pytest.mark.parametrize("servers", [(Plain,), (Plain, Plain), (Parallel,)], ids=["one", "two", "butterfly"])
def test_nothing_runs_twice(servers: tuple[type[RegisteredServer], ...]) -> None:
    """Though instances turn messages away, and every word of that comes twice."""
    turned_away = 0
    for seed in range(4):
        ran, busy = executions(seed, *servers)
        turned_away += busy
        assert [which for which, times in ran.items() if times > 1] == []
    assert turned_away
