"""Jobs on real processes that are killed, frozen and drained under them: nothing is lost, nothing comes twice."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from typing import Literal

import pytest

from palm import Client, DeadLettered
from palm.observe.ledger import Ledger
from tests.support.cluster import LETTERS, Cluster, cluster

COUNT = 3000
NUMBERS = [b"%d" % number for number in range(COUNT)]
WHOLE = Ledger(sent=COUNT, delivered=COUNT)


def job_through(made: Cluster, route: list[str], halfway: Callable[[], None]) -> tuple[Counter[bytes], Ledger]:
    """Run a job of NUMBERS; `halfway` is called once a third of the results is there."""
    received: Counter[bytes] = Counter()
    with Client(made.endpoint, timeout=60) as client:
        job = client.job(iter(NUMBERS), route)
        for place, result in enumerate(client.submit()):
            received[result] += 1
            if place == COUNT // 3:
                halfway()
    return received, job.ledger


@pytest.mark.parametrize("registry", ["embedded", "wheel"])
def test_one_of_two_instances_is_killed_in_mid_job(registry: Literal["embedded", "wheel"]) -> None:
    """SIGKILL: every message is delivered exactly once, and the ledger is exact."""
    with cluster(registry) as made:
        victim, _ = made.serve(), made.serve()
        received, ledger = job_through(made, ["letters.step"], victim.kill)
    assert received == Counter(NUMBERS) and ledger == WHOLE


def test_an_instance_of_the_second_stage_is_killed_in_mid_job() -> None:
    """What it held is asked for again; the first stage answers from memory."""
    with cluster() as made:
        made.serve("--name", "first")
        victim, _ = made.serve("--name", "second"), made.serve("--name", "second")
        received, ledger = job_through(made, ["first.echo", "second.step"], victim.kill)
    assert received == Counter(NUMBERS) and ledger == WHOLE


def test_the_only_instance_is_killed_and_another_started() -> None:
    """The job waits for the next life of the server, and goes on."""
    with cluster() as made:
        victim = made.serve()

        def replace() -> None:
            victim.kill()
            made.serve()

        received, ledger = job_through(made, ["letters.step"], replace)
    assert received == Counter(NUMBERS) and ledger == WHOLE


def test_an_instance_is_frozen_and_wakes_up_again() -> None:
    """Longer than its lease: what it held is given away, and its late answers are dropped."""
    with cluster() as made:
        frozen, _ = made.serve(), made.serve()

        def freeze() -> None:
            os.kill(frozen.pid, signal.SIGSTOP)

        received, ledger = job_through(made, ["letters.step"], freeze)
        os.kill(frozen.pid, signal.SIGCONT)
        with Client(made.endpoint, timeout=60) as client:
            assert sorted(client.map(NUMBERS, "letters.echo")) == sorted(NUMBERS)
    assert received == Counter(NUMBERS) and ledger == WHOLE


def test_instances_come_and_go_under_a_job() -> None:
    """A rolling upgrade: one starts, one drains, in the middle; nobody notices."""
    with cluster() as made:
        old = made.serve()

        def upgrade() -> None:
            made.serve()
            old.interrupt()

        received, ledger = job_through(made, ["letters.step"], upgrade)
        assert old.wait() == 0
    assert received == Counter(NUMBERS) and ledger == WHOLE


def test_the_registry_goes_away_under_a_job() -> None:
    """A running job does not need it."""
    with cluster() as made:
        made.serve()
        assert made.registry is not None
        received, ledger = job_through(made, ["letters.step"], made.registry.kill)
    assert received == Counter(NUMBERS) and ledger == WHOLE


@pytest.mark.timeout(180)
def test_a_message_that_kills_who_takes_it_is_dead_lettered() -> None:
    """After three deaths, under a supervisor that starts the dead again; the caller learns it."""
    with cluster() as made:
        made.start("run", LETTERS, "--workers", "3").wait_for("serves at", times=3)
        with Client(made.endpoint, timeout=120) as client, pytest.raises(DeadLettered, match="used up"):
            client.call("letters.die", b"x")

