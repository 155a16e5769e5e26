"""Instances that are told to leave, in the simulator and as real processes on a real etcd."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

import pytest

from examples.parallel.primes import Primes
from examples.text.clean import Clean
from palm import Client
from palm.errors import BadRequest, NoSuchServer
from palm.testing.simulate import Simulation
from tests.support import crews
from tests.support.cluster import Cluster, Running, cluster, wait_until

ROOT = Path(__file__).parents[2]
FILES: dict[str, tuple[type[object], str]] = {
    "clean": (Clean, "examples/text/clean.py"),
    "primes": (Primes, "examples/parallel/primes.py"),
    "shards": (crews.Shards, "tests/support/crews.py:Shards"),
    "eights": (crews.Eights, "tests/support/crews.py:Eights"),
}

pytestmark = pytest.mark.conformance


class World(Protocol):
    client: Client

    def roll(self, name: str, instances: int) -> Callable[[], bool]:
        """Drain and replace one instance after the other, from now on; whether that is over."""
        ...


class Simulated:
    def __init__(self, simulation: Simulation) -> None:
        self.client = simulation.client(timeout=120)
        self._simulation = simulation

    def roll(self, name: str, instances: int) -> Callable[[], bool]:
        simulation = self._simulation
        end = simulation.now + instances
        for index in range(instances):
            begin = end - instances + 0.1 + index
            one = f"{name}[{index}]"
            simulation.at(begin, lambda one=one: simulation.drain(one))  # type: ignore[misc]  # bound now
            simulation.at(begin + 0.8, lambda one=one: simulation.restart(one))  # type: ignore[misc]  # bound now
        return lambda: simulation.now > end


class Real:
    def __init__(self, started: Cluster, client: Client, running: list[Running], script: str) -> None:
        self.client = client
        self._started, self._running, self._script = started, running, script

    def roll(self, name: str, instances: int) -> Callable[[], bool]:
        codes: list[int] = []
        for _ in range(instances):  # here: a process ends with the thread that started it
            self._started.serve(script=self._script)

        def roll() -> None:
            for one in self._running:
                one.process.terminate()
                codes.append(one.wait())

        rolling = threading.Thread(target=roll, daemon=True)
        rolling.start()
        return lambda: not rolling.is_alive() and codes == [0] * instances


@contextmanager
def simulated(name: str, instances: int) -> Iterator[World]:
    with Simulation(seed=5) as simulation:
        simulation.serve(FILES[name][0], name=name, instances=instances, service_s=0.003)
        simulation.run(2)
        yield Simulated(simulation)


@contextmanager
def real(name: str, instances: int) -> Iterator[World]:
    with ExitStack() as stack:
        started = stack.enter_context(cluster("wheel"))
        script = str(ROOT / FILES[name][1])
        running = [started.serve(script=script) for _ in range(instances)]
        client = stack.enter_context(Client(started.endpoint, timeout=60))
        wait_until(lambda: len(client.instances()) == instances, 20, lambda: "they are not all there")
        yield Real(started, client, running, script)


Made = Callable[[str, int], AbstractContextManager[World]]


@pytest.fixture(params=[simulated, real], ids=["sim", "net"])
def made(request: pytest.FixtureRequest) -> Made:
    chosen: Made = request.param
    return chosen


@pytest.mark.parametrize(
    ("route", "payload", "for_each"),
    [("clean.line", b"200", 1), ("primes.below", b"200", 1), ("shards.who", b"3|", 1), ("eights.who", b"3|", 8)],
)
def test_a_rolling_restart_loses_nothing(made: Made, route: str, payload: bytes, for_each: int) -> None:
    """Every instance is told to leave and replaced under load, the leader included; each message is delivered once, and
    of a reduction each group has one result."""
    name = route.partition(".")[0]
    with made(name, 2) as world:
        before = {one.peer for one in world.client.instances()}
        is_over = world.roll(name, 2)

        def payloads() -> Iterator[bytes]:
            while not is_over():
                yield payload

        job = world.client.job(payloads(), route, window=32)
        results = list(world.client.submit(job))
        assert job.ledger.adds_up and job.ledger.delivered == job.ledger.sent > 100
        assert len(results) == -(-job.ledger.sent // for_each)
        assert not before & {one.peer for one in world.client.instances()}


def test_a_client_has_an_instance_leave(made: Made) -> None:
    """By the beginning of its id; the other stays. Who is not there is an error that says who is."""
    with made("clean", 2) as world:
        first, second = sorted(world.client.instances(), key=lambda one: one.peer)
        [departure] = world.client.drain("clean", instance=first.peer[:12])
        assert departure.instance.peer == first.peer and departure.heard and departure.left
        assert [one.peer for one in world.client.instances()] == [second.peer]
        with pytest.raises(BadRequest, match=second.peer):
            world.client.drain("clean", instance="nobody")
        with pytest.raises(NoSuchServer, match="did you mean 'clean'"):
            world.client.drain("clear")
