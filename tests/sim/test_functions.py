"""The scenarios of functions with options: they break when what protects them is taken out."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import palm
from palm import FateUnknown, RegisteredServer
from palm.core import client as client_module
from palm.runtime import lanes as lanes_module
from palm.sim.checkers import Verdict
from palm.sim.history import EntryKind
from palm.sim.scenario.scenario import load
from palm.sim.simulation import Result, run
from palm.testing.simulate import simulate
from tests.support.twin import twin

FUNCTIONS = Path(__file__).parents[2] / "scenarios" / "functions"


def run_of(name: str, seed: int = 3) -> Result:
    return run(load(FUNCTIONS / f"{name}.yaml"), seed)


def test_once_runs_no_message_twice() -> None:
    """Counted at the instances themselves."""
    entries = run_of("once").history.entries
    runs = Counter(entry.sequence for entry in entries if entry.kind is EntryKind.HANDLING and entry.server == "bank")
    assert max(runs.values()) == 1 and len(runs) > 900


def test_once_needs_the_look_at_the_registry() -> None:
    """A client that does not read there which functions are at most once sends lost messages again."""
    line = "                job.forbid_repeats()\n"
    assert broken_without(client_module, line, "                pass\n", "once") is Verdict.BROKEN


def test_retries_need_the_timer() -> None:
    """A message that nobody takes up again never ends."""
    line = "        self._host.call_at(due, lambda: self._requeue(item))\n"
    assert broken_without(lanes_module, line, "", "retries") is Verdict.BROKEN


def broken_without(module: ModuleType, line: str, instead: str, name: str) -> Verdict:
    with twin(module, line, instead):
        return run_of(name).verdict


class Timed(RegisteredServer):
    """Functions whose course in time matters."""

    def __init__(self) -> None:
        self.tries: list[int] = []

    @palm.function(retries=4, backoff=1)
    def fails(self, message: bytes) -> bytes:
        raise ValueError("no")

    @palm.function(concurrency=2)
    def two(self, message: bytes) -> bytes:
        return message

    @palm.function(timeout=1)
    async def stubborn(self, message: bytes) -> bytes:
        """Does not care that it is cancelled."""
        for _ in range(3):
            try:
                await asyncio.sleep(2)
            except asyncio.CancelledError:
                pass
        return message


def served(**how: Any) -> Any:
    return simulate(Timed, name="timed", seed=4, **how)


def test_pauses_between_tries_double() -> None:
    """1, 2, 4 and 8 s, each up to a quarter shorter; the executor is free meanwhile."""
    with served() as sim:
        client = sim.client()
        sim.run(2)
        client.call("timed.two", b"x")
        begin = sim.now
        with pytest.raises(palm.HandlerFailed, match=r"no \(5 tries\)"):
            client.call("timed.fails", b"x")
        assert 0.75 * 15 <= sim.now - begin <= 15.1


def test_no_try_begins_after_the_deadline() -> None:
    """The caller gets the error that there was, before its deadline, and how many tries it had."""
    with served() as sim:
        client = sim.client()
        client.call("timed.two", b"x")
        begin = sim.now
        with pytest.raises(palm.HandlerFailed, match=r"no \(3 of 5 tries; its deadline leaves no time for more\)"):
            client.call("timed.fails", b"x", deadline=4)
        assert sim.now - begin < 4


def test_two_threads_take_half_the_time() -> None:
    """Ten messages of a second each, two at a time: five seconds, no less."""
    with served(service_s=1.0) as sim:
        client = sim.client()
        sim.run(2)
        begin = sim.now
        assert sorted(client.map([b"x"] * 10, "timed.two")) == [b"x"] * 10
        assert 5.0 <= sim.now - begin < 5.5


def test_a_coroutine_that_will_not_be_cancelled_still_fails_in_time() -> None:
    """Its message ends after a second; what it returns later goes nowhere."""
    with served() as sim:
        client = sim.client()
        sim.run(2)
        begin = sim.now
        with pytest.raises(palm.HandlerFailed, match="ran longer than its timeout of 1 s"):
            client.call("timed.stubborn", b"x")
        assert 1.0 <= sim.now - begin < 1.2
        sim.run(10)


class Once(RegisteredServer):
    @palm.function(at_most_once=True)
    def pay(self, message: bytes) -> bytes:
        return message


def test_a_lost_message_of_such_a_function_says_that_its_fate_is_unknown() -> None:
    """Indefinite, and said for a single call as well."""
    with simulate(Once, name="once", instances=2, seed=2, service_s=5.0) as sim:
        client = sim.client()
        sim.at(3.0, lambda: (sim.crash("once[0]"), sim.crash("once[1]")))
        with pytest.raises(FateUnknown, match="may or may not have run") as caught:
            client.call("once.pay", b"x")
        assert not caught.value.definite
