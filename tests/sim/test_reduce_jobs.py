"""Jobs with reductions under cancel, deadline, poison and a small window, in the simulator."""

from __future__ import annotations

import asyncio
import os

import pytest

from palm import DeadLettered, DeadlineExpired, JobCancelled, ReduceServer, RegisteredServer
from palm.core.client import ClientNode
from palm.errors import BadRequest
from palm.testing.simulate import simulate


class Join(ReduceServer):
    def both(self, one, other):
        if b"die" in (one, other):
            os._exit(1)
        return one + other

    def key(self, payload):
        return payload[:1]


class Sum(ReduceServer):
    every = 100

    def add(self, one, other):
        return b"%d" % (int(one) + int(other))


class Wrong(ReduceServer):
    async def slow(self, one, other):
        return one


class Only(ReduceServer):
    def three(self, one, other, third):
        return one


class Never(Sum):
    every = 0


class Late(RegisteredServer):
    async def pass_on(self, payload):
        if payload == b"x2":
            await asyncio.sleep(10)
        return payload


def test_a_long_job_holds_little_at_its_client() -> None:
    """Ten thousand messages through a window of 64: neither payloads nor tables add up."""
    most = 0
    with simulate(Sum, name="sum", instances=2, seed=1) as sim:
        client = sim.client(timeout=60)
        job = client.job([b"%d" % number for number in range(10_000)], ["sum.add"], window=64)
        results = []
        for result in client.submit(job):
            results.append(result)
            node = client.connect().node
            assert isinstance(node, ClientNode)
            rows = [one for one in node.jobs.values() if one.phase is not None]
            most = max([most, *(len(one.rows) + one.phase.reduction.held for one in rows if one.phase is not None)])
    assert results == [b"%d" % sum(range(start, start + 100)) for start in range(0, 10_000, 100)]
    assert most <= 2 * 64 and job.ledger.delivered == 10_000 and job.emitted == 100


def test_a_cancelled_reduction_ends_and_its_ledger_adds_up() -> None:
    """What was absorbed has failed with the rest, and the servers forget the job."""
    with simulate(Join, name="join", instances=2, seed=1, service_s=0.01) as sim:
        client = sim.client(timeout=60)
        job = client.job([b"x"] * 1000, ["join.both"], window=50, errors="yield")
        results = client.submit(job)
        sim.at(2.0, job.cancel)
        errors = list(results)
        assert errors and all(isinstance(error, JobCancelled) for error in errors)
        assert job.ledger.adds_up and job.ledger.failed == job.ledger.sent > 100 and not job.ledger.delivered


def test_a_message_that_expires_is_a_gap() -> None:
    """The others are in the result."""
    with simulate(Late, name="late", instances=1, seed=1) as sim:
        sim.serve(Join, name="join", instances=1)
        client = sim.client(timeout=60)
        job = client.job([b"x0", b"x1", b"x2", b"x3"], ["late.pass_on", "join.both"], deadline=3, errors="yield")
        error, result = client.submit(job)
        assert isinstance(error, DeadlineExpired) and error.sequence == 2 and result == b"x0x1x3"
        assert tuple(job.ledger) == (4, 3, 0, 1, 0, 0)


def test_what_kills_whoever_folds_it_is_given_up() -> None:
    """After three deaths, and with the results that were folded together with it: all of its group are dead letters."""
    with simulate(Join, name="join", instances=6, seed=2, service_s=0.01) as sim:
        client = sim.client(timeout=300)
        job = client.job([b"a"] * 5 + [b"die", b"d"] + [b"b"] * 5, ["join.both"], errors="yield")
        [error] = client.submit(job)
        assert isinstance(error, DeadLettered) and "3 workers died" in str(error)
        assert tuple(job.ledger) == (12, 0, 0, 0, 12, 0)


def test_a_server_that_cannot_reduce_is_refused() -> None:
    """By name, with what to write instead."""
    for make, said in (
        (Wrong, "is async: a reduction folds one message after another"),
        (Only, r"def three\(self, a, b\)"),
        (Never, "every = 0"),
    ):
        with pytest.raises(BadRequest, match=said):
            with simulate(make, name="wrong"):
                pass
