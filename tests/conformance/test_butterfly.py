"""One suite for butterfly servers, in the simulator and as real processes on a real etcd: what a user can rely on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

import pytest

from examples.parallel.fragile import Fragile
from examples.parallel.primes import Primes
from palm import Client, DeadLettered
from palm.testing.simulate import Simulation
from tests.support.cluster import Cluster, Running, cluster, wait_until

EXAMPLES = Path(__file__).parents[2] / "examples" / "parallel"
PRIMES = [b"%d" % count for count in (46, 168, 303)]
LIMITS = [b"200", b"1000", b"2000"]

pytestmark = pytest.mark.conformance


class World(Protocol):
    """Some instances of one butterfly server, and a client."""

    client: Client

    def crash(self, role: str) -> None:
        """Kill an instance that is `leader` or `worker` by now."""
        ...


class Simulated:
    def __init__(self, simulation: Simulation, name: str) -> None:
        self.client = simulation.client(timeout=120)
        self._simulation = simulation
        self._name = name

    def crash(self, role: str) -> None:
        leading = {one.name for one in self._simulation.cluster.leader(self._name)}
        living = [one for one in self._simulation.cluster.instances[self._name] if one.is_up]
        self._simulation.crash(next(one.name for one in living if (one.name in leading) == (role == "leader")))


class Real:
    def __init__(self, started: Cluster, running: list[Running], client: Client) -> None:
        self.client = client
        self._running = running

    def crash(self, role: str) -> None:
        living = [one for one in self._running if one.process.poll() is None]
        leading = [one for one in living if "is led by this instance" in one.said]
        assert leading, "somebody leads"
        chosen = leading if role == "leader" else [one for one in living if one not in leading]
        chosen[0].kill()


@contextmanager
def simulated(server: type[object], name: str, instances: int) -> Iterator[World]:
    with Simulation(seed=5) as simulation:
        simulation.serve(server, name=name, instances=instances, service_s=0.005)
        simulation.run(2)
        yield Simulated(simulation, name)


@contextmanager
def real(server: type[object], name: str, instances: int) -> Iterator[World]:
    with ExitStack() as stack:
        started = stack.enter_context(cluster("wheel"))
        script = str(EXAMPLES / f"{name}.py")
        running = [started.serve("--info", script=script) for _ in range(instances)]
        wait_until(
            lambda: any("is led by this instance" in one.said for one in running),
            20,
            lambda: "nobody leads: " + "".join(one.said for one in running),
        )
        yield Real(started, running, stack.enter_context(Client(started.endpoint, timeout=60)))


Made = Callable[[type[object], str, int], AbstractContextManager[World]]


@pytest.fixture(params=[simulated, real], ids=["sim", "net"])
def made(request: pytest.FixtureRequest) -> Made:
    chosen: Made = request.param
    return chosen


@pytest.mark.parametrize("instances", [1, 3])
def test_a_butterfly_answers_alone_and_in_company(made: Made, instances: int) -> None:
    """The same code gives the same results with one process and with several; each message is delivered once."""
    with made(Primes, "primes", instances) as world:
        assert sorted(world.client.map(LIMITS * 100, "primes.below")) == sorted(PRIMES * 100)


@pytest.mark.parametrize("role", ["worker", "leader"])
def test_a_lost_instance_costs_time_and_no_message(made: Made, role: str) -> None:
    """Whoever is killed in the middle of a job, each of its messages is delivered once, and the ledger adds up."""
    with made(Primes, "primes", 3) as world:
        job = world.client.job((LIMITS[n % 3] for n in range(600)), "primes.below", window=32)
        results = []
        for n, result in enumerate(world.client.submit(job)):
            results.append(result)
            if n == 100:
                world.crash(role)
        assert sorted(results) == sorted(PRIMES * 200)
        assert job.ledger.adds_up and job.ledger.delivered == 600


def test_a_message_that_kills_its_workers_is_a_dead_letter(made: Made) -> None:
    """After three deaths the caller gets DeadLettered, which names them; all others get their results."""
    with made(Fragile, "fragile", 5) as world:
        results = list(world.client.map([b"x"] * 50 + [b""] + [b"x"] * 50, "fragile.measure", errors="yield"))
        dead = [one for one in results if isinstance(one, DeadLettered)]
        assert len(dead) == 1 and "3 workers died" in str(dead[0])
        assert results.count(b"1") == 100
