"""One kind of servers under one name, in the simulator and as real processes on a real etcd."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

import pytest

from examples.parallel.primes import Primes
from examples.text.clean import Clean
from palm.errors import NameTaken
from palm.sim.cluster import Instance, ServerSpec
from palm.testing.simulate import Simulation
from tests.support.cluster import Cluster, Running, cluster, wait_until

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPTS = {"clean": str(EXAMPLES / "text" / "clean.py"), "primes": str(EXAMPLES / "parallel" / "primes.py")}
CLASSES: dict[str, type[object]] = {"clean": Clean, "primes": Primes}

pytestmark = pytest.mark.conformance


class World(Protocol):
    """Starts instances of a RegisteredServer (`clean`) and a ButterflyServer (`primes`), all under the name `same`."""

    def start(self, *which: str) -> None:
        """One of each, in one moment."""
        ...

    def kinds(self) -> list[str]:
        """Of those that are registered."""
        ...

    def refusals(self, count: int) -> list[str]:
        """What those said that were refused, once there are so many."""
        ...

    def end(self) -> None:
        """All that serve leave in good order."""
        ...


class Simulated:
    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._client = simulation.client()
        self._all: list[Instance] = []

    def start(self, *which: str) -> None:
        cluster = self._simulation.cluster
        for one in which:
            cluster.add_server(ServerSpec(name="same", make=CLASSES[one], places=[]))
            self._all.append(Instance("same", len(self._all), f"place-{len(self._all)}"))
            cluster.start(self._all[-1])
        self._simulation.run(1)

    def kinds(self) -> list[str]:
        return [one.kind for one in self._client.instances()]

    def refusals(self, count: int) -> list[str]:
        said = [str(one.refused) for one in self._all if one.refused is not None]
        assert all(isinstance(one.refused, NameTaken | None) for one in self._all) and len(said) == count
        return said

    def end(self) -> None:
        for one in self._all:
            self._simulation.cluster.drain(one)
        self._simulation.run(2)


class Real:
    def __init__(self, started: Cluster) -> None:
        self._started = started
        self._all: list[Running] = []

    def start(self, *which: str) -> None:
        new = [self._started.start("run", SCRIPTS[one], "--name", "same") for one in which]
        self._all += new
        wait_until(
            lambda: all("serves at" in one.said or one.process.poll() is not None for one in new),
            30,
            lambda: "".join(one.said for one in new),
        )

    def kinds(self) -> list[str]:
        from palm import Client

        with Client(self._started.endpoint) as client:
            return [one.kind for one in client.instances()]

    def refusals(self, count: int) -> list[str]:
        ended = [one for one in self._all if one.process.poll() is not None]
        assert [one.process.returncode for one in ended] == [1] * count
        return [one.said for one in ended]

    def end(self) -> None:
        living = [one for one in self._all if one.process.poll() is None]
        for one in living:
            one.process.terminate()
        assert [one.wait() for one in living] == [0] * len(living)
        self._all = [one for one in self._all if one not in living]


@contextmanager
def simulated() -> Iterator[World]:
    with Simulation(seed=5) as simulation:
        yield Simulated(simulation)


@contextmanager
def real() -> Iterator[World]:
    with cluster("wheel") as started:
        yield Real(started)


@pytest.fixture(params=[simulated, real], ids=["sim", "net"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    made: Callable[[], AbstractContextManager[World]] = request.param
    with made() as one:
        yield one


def test_a_second_kind_under_one_name_is_refused(world: World) -> None:
    """The error names the first, its kind, functions and host, and the way out; more of the first kind are welcome."""
    world.start("clean")
    world.start("primes", "clean")
    assert world.kinds() == ["RegisteredServer"] * 2
    [said] = world.refusals(1)
    assert "'same' is a RegisteredServer" in said and "serves line under that name; this is a ButterflyServer" in said
    assert " on " in said and "palm drain same" in said


def test_of_two_kinds_that_start_together_one_is_refused(world: World) -> None:
    """Whichever: the registry decides in one transaction."""
    world.start("clean", "primes", "clean", "primes")
    assert len(set(world.kinds())) == 1 and len(world.kinds()) == 2
    world.refusals(2)


def test_a_name_is_free_once_its_servers_have_left(world: World) -> None:
    """The kind goes with the last of them."""
    world.start("clean", "clean")
    world.end()
    world.start("primes")
    assert world.kinds() == ["ButterflyServer"] and world.refusals(0) == []
