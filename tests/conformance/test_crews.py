"""What holds for every parallel kind of server, in the simulator and with processes: who comes late helps at once, what
is cancelled is run by nobody, and deadlines travel to whoever works."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import pytest

from palm import Client, JobCancelled, WaitTimeout
from palm.core import server
from palm.testing.simulate import Simulation
from tests.support import crews
from tests.support.cluster import Cluster, cluster
from tests.support.twin import twin

KINDS = ["wings", "shards", "eights"]
"""A butterfly, a scatter-gather, a reducer."""

CREWS = [crews.Wings, crews.Shards, crews.Eights]
EIGHT = [b"0|"] * 8
"""So many messages have a result of each kind."""

pytestmark = pytest.mark.conformance


class World(Protocol):
    """Two instances of each kind, one of the other servers of `crews`, and a client."""

    client: Client

    def now(self) -> float:
        """Seconds."""
        ...

    def join(self, kind: str) -> None:
        """Start one instance more."""
        ...


class Simulated:
    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self.client = simulation.client(timeout=60)

    def now(self) -> float:
        return self._simulation.now

    def join(self, kind: str) -> None:
        self._simulation.restart(f"{kind}[2]")


class Real:
    def __init__(self, started: Cluster, client: Client) -> None:
        self._started = started
        self.client = client

    def now(self) -> float:
        return time.monotonic()

    def join(self, kind: str) -> None:
        self._started.start("run", f"{crews.__file__}:{kind.capitalize()}")


@contextmanager
def simulated() -> Iterator[World]:
    with Simulation(seed=3) as simulation:
        simulation.serve(crews.Front, name="front")
        simulation.serve(crews.Led, name="led")
        for kind, made in zip(KINDS, CREWS, strict=True):
            simulation.serve(made, name=kind, instances=3)
            simulation.crash(f"{kind}[2]")
        simulation.run(10)  # its lease is over
        yield Simulated(simulation)


@contextmanager
def real() -> Iterator[World]:
    with cluster() as started:
        names = ["Front", "Led", *(kind.capitalize() for kind in KINDS for _ in range(2))]
        for running in [started.start("run", f"{crews.__file__}:{name}") for name in names]:
            running.wait_for("serves at")
        with Client(started.endpoint, timeout=60) as client:
            yield Real(started, client)


@pytest.fixture(scope="module", params=[simulated, real], ids=["sim", "net"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    made: Callable[[], contextmanager[World]] = request.param
    with made() as one:
        yield one


def workers(result: bytes) -> set[bytes]:
    return set(result.partition(b"|")[2].split(b","))


def test_who_leads_is_told_so_with_its_term(world: World) -> None:
    """Once, and with the term that everybody else sees."""
    assert world.client.call("led.terms", b"") != b""
    [led] = [one for one in world.client.instances() if one.server == "led"]
    assert led.term and world.client.call("led.terms", b"") == b"%d" % led.term


@pytest.mark.parametrize("kind", KINDS)
def test_deadlines_travel_to_whoever_works(world: World, kind: str) -> None:
    """As what is left of them: less than the stage in front has used, and not nothing."""
    job = world.client.job(EIGHT, ["front.doze", f"{kind}.left"], deadline=30)
    for result in world.client.submit(job):
        assert all(0 < float(left) <= 29.7 for left in result.split(b",")), result
    assert job.ledger.delivered == 8


@pytest.mark.parametrize("kind", KINDS)
def test_what_has_expired_keeps_nobody_busy(world: World, kind: str) -> None:
    """A minute of work with two seconds to do it in: the next job is answered long before that."""
    begin = world.now()
    job = world.client.job([b"100|"] * 600, f"{kind}.who", deadline=2, errors="skip")
    assert list(world.client.submit(job)) is not None and job.ledger.expired > 300 and job.ledger.adds_up
    assert list(world.client.map(EIGHT, f"{kind}.who"))
    assert 2 <= world.now() - begin < 15


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_cancelled_keeps_nobody_busy(world: World, kind: str) -> None:
    """A minute of work is with the servers when its job is cancelled: the next job is answered long before."""
    assert seconds_after_a_cancel(world, kind) < 10


def test_without_the_word_that_a_job_is_over_its_work_is_done() -> None:
    """For nobody, by the one worker there is; and the next job waits for it, for longer than its client does."""
    with twin(server, "        return [Abandon(job)]\n", "        return []\n"), simulated() as world:
        with pytest.raises(WaitTimeout, match="is busy in who for 59"):
            seconds_after_a_cancel(world, "wings")


def seconds_after_a_cancel(world: World, kind: str) -> float:
    """Until a next job has its result."""
    job = world.client.job([b"100|"] * 600, f"{kind}.who", errors="yield")
    results = world.client.submit(job, timeout=1)
    try:
        next(results)
    except WaitTimeout:
        pass  # a reducer has no result yet
    job.cancel()
    begin = world.now()
    assert all(isinstance(end, bytes | JobCancelled) for end in results)
    assert job.ledger.adds_up and job.ledger.failed > 300
    assert list(world.client.map(EIGHT, f"{kind}.who"))
    return world.now() - begin


@pytest.mark.parametrize("kind", KINDS)
def test_who_comes_late_helps_at_once(world: World, kind: str) -> None:
    """In the middle of a job that is long under way; from its first result on, the newcomer has its share."""
    before: set[bytes] = set()
    after: list[bool] = []

    def source() -> Iterator[bytes]:
        for _ in range(40_000):
            if len(after) >= 50:
                return
            yield b"10|"

    job = world.client.job(source(), f"{kind}.who", window=64)
    for place, result in enumerate(world.client.submit(job)):
        if place < 20:
            before |= workers(result)
            if place == 19:
                world.join(kind)
        elif after or workers(result) - before:
            after.append(bool(workers(result) - before))
    assert len(after) >= 50, f"nobody but {before} has worked"
    assert sum(after) >= len(after) / 5, f"{sum(after)} of {len(after)}"
