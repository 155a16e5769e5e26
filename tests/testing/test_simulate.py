"""`palm.testing.simulate`: a user's servers and the real client in a simulated cluster."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from collections import Counter
from time import monotonic, sleep
from typing import Iterator

import pytest

from palm import HandlerFailed, NoSuchFunction, NoSuchServer, RegisteredServer
from palm.errors import BadRequest, HarnessError
from palm.testing import Simulation, simulate


class Worker(RegisteredServer):
    def shout(self, message: bytes) -> bytes:
        return message.upper()

    def divide(self, message: bytes) -> bytes:
        return b"%d" % (10 // int(message))

    def text(self, message: bytes) -> bytes:
        return message.decode()  # type: ignore[return-value]  # the mistake that is tested

    def nap(self, message: bytes) -> bytes:
        time.sleep(float(message))
        return b"%.3f" % time.monotonic()

    async def soon(self, message: bytes) -> bytes:
        await asyncio.sleep(float(message))
        return message

    def thread(self, message: bytes) -> bytes:
        import threading

        threading.Thread(target=print).start()
        return b""


def cluster(instances: int = 3, seed: int = 7, service_s: float = 0.0) -> Simulation:
    return simulate(Worker, name="worker", instances=instances, seed=seed, service_s=service_s)


PAYLOADS = [b"message %d" % n for n in range(500)]
EXPECTED = Counter(payload.upper() for payload in PAYLOADS)


def test_a_map_gives_what_the_functions_give() -> None:
    """The results of a simulated cluster are the user's functions' own."""
    with cluster() as sim:
        assert Counter(sim.client().map(PAYLOADS, "worker.shout")) == EXPECTED


def test_a_drained_instance_finishes_what_it_has_and_is_gone() -> None:
    """Nothing is sent twice, its record is taken back at once, and the others do the rest."""
    with cluster(service_s=0.01) as sim:
        sim.run(0.1)  # all of them are there
        sim.at(0.5, lambda: sim.drain("worker[1]"))
        client = sim.client()
        job = client.job(PAYLOADS, "worker.shout")
        assert Counter(client.submit(job)) == EXPECTED
        words = [entry.kind.value for entry in sim.cluster.recorder.entries]
        assert "redelivered" not in words and "crashed" not in words
        assert words.index("deregistered") < words.index("stopped")
        assert not sim.instance("worker[1]").is_up


def test_the_largest_payload_that_a_client_takes_gets_through() -> None:
    """The simulator's frames may be as large as those of the real transport."""
    with cluster(instances=1) as sim:
        assert len(sim.client().call("worker.shout", b"x" * (32 << 20))) == 32 << 20


def test_a_source_may_sleep_and_call_the_cluster() -> None:
    """It is user code of the client's process: simulated time passes, and results of what it gave come meanwhile."""
    with cluster() as sim:
        client = sim.client()

        def source() -> Iterator[bytes]:
            for number in range(20):
                yield client.call("worker.shout", b"message %d" % number)
                time.sleep(0.25)

        began, arrived = sim.now, []
        for _ in client.map(source(), "worker.shout"):
            arrived.append(sim.now - began)
        assert sim.now - began >= 20 * 0.25
        assert len(arrived) == 20 and arrived[0] < 0.25 and arrived[10] < 11 * 0.25


def test_a_source_that_sleeps_is_not_read_on_when_its_job_is_cancelled() -> None:
    """Once it has woken, it is asked for no more."""
    with cluster() as sim:
        moments = []

        def source() -> Iterator[bytes]:
            while True:
                moments.append(sim.now)
                yield b"x"
                time.sleep(0.25)

        client = sim.client()
        job = client.job(source(), "worker.shout", errors="skip")
        next(client.submit(job))
        cancelled = sim.now
        job.cancel()
        sim.run(2)
        assert [moment for moment in moments if moment > cancelled + 0.25] == []


def test_ordered_results_come_in_the_order_sent() -> None:
    """Three instances of different speed do not disturb an ordered job."""
    with cluster(service_s=0.003) as sim:
        sim.at(0.05, lambda: sim.freeze("worker[1]", seconds=1.0))
        results = list(sim.client().map(PAYLOADS, "worker.shout", ordered=True))
    assert results == [payload.upper() for payload in PAYLOADS]


def test_a_crash_in_mid_job_loses_nothing() -> None:
    """What an instance had taken is done by the others."""
    with cluster(service_s=0.01) as sim:
        sim.at(0.3, lambda: sim.crash("worker[1]"))
        client = sim.client()
        job = client.job(PAYLOADS, ["worker.shout"])
        assert Counter(client.submit()) == EXPECTED
        assert job.ledger.adds_up and job.ledger.delivered == len(PAYLOADS)
        assert not sim.instance("worker[1]").is_up


def test_one_that_was_suspended_goes_on_with_what_it_had_in_memory() -> None:
    """Its object is the same, its work was done by others meanwhile, and nothing is lost or comes twice."""
    made: list[Worker] = []

    def make() -> Worker:
        made.append(Worker())
        return made[-1]

    with simulate(make, name="worker", instances=2, seed=7, service_s=0.01) as sim:
        at_first = len(made)
        sim.at(1.0, lambda: sim.suspend("worker[1]"))
        sim.at(1.5, lambda: sim.suspend("worker[1]"))  # harmless
        sim.at(9.0, lambda: sim.restart("worker[1]"))
        assert Counter(sim.client().map(PAYLOADS, "worker.shout")) == EXPECTED
        sim.run(max(0.0, 12 - sim.now))
        assert len(made) == at_first and sim.instance("worker[1]").is_up
        assert Counter(sim.client().map(PAYLOADS, "worker.shout")) == EXPECTED


def test_the_last_instance_may_die_and_come_back() -> None:
    """With nobody there, messages wait; a new life takes them."""
    with cluster(instances=1, service_s=0.01) as sim:
        sim.at(0.5, lambda: sim.crash("worker[0]"))
        sim.at(9.0, lambda: sim.restart("worker[0]"))
        assert Counter(sim.client().map(PAYLOADS, "worker.shout")) == EXPECTED
        assert sim.now > 9.0


def test_a_job_goes_on_while_the_registry_is_away() -> None:
    """The registry's absence stops nothing that runs."""
    with cluster(service_s=0.01) as sim:
        client = sim.client()
        assert client.call("worker.shout", b"a") == b"A"
        sim.registry_down(seconds=60)
        assert Counter(client.map(PAYLOADS, "worker.shout")) == EXPECTED
        assert sim.now < 10


def test_nothing_is_left_open_after_a_job_and_its_faults() -> None:
    """Servers forget a job that is over, also where the word of it was lost."""
    with cluster(service_s=0.01) as sim:
        sim.at(1.0, lambda: sim.cut("client <-> worker[2]", seconds=6.0))
        list(sim.client().map(PAYLOADS, "worker.shout"))
        sim.run(10)
        assert sim.left_open() == []


def test_an_exception_in_user_code_reaches_the_caller_and_the_job_goes_on() -> None:
    """HandlerFailed says what, where and at which attempt; the other messages have their results."""
    with cluster() as sim:
        client = sim.client()
        job = client.job([b"1", b"0", b"5"], "worker.divide", ordered=True)
        results = client.submit()
        assert next(results) == b"10"
        with pytest.raises(HandlerFailed) as caught:
            next(results)
        assert list(results) == [b"2"]
        assert (caught.value.kind, caught.value.server, caught.value.function) == (
            "ZeroDivisionError",
            "worker",
            "divide",
        )
        assert "10 // int(message)" in caught.value.remote_traceback
        assert job.ledger.failed == 1 and job.ledger.delivered == 2 and job.ledger.adds_up


def test_a_result_that_is_not_bytes_is_named() -> None:
    """The error names the function, what it returned, and the way out."""
    with (
        cluster() as sim,
        pytest.raises(HandlerFailed, match=r"'text' of server 'worker' returned str, bytes are needed"),
    ):
        sim.client().call("worker.text", b"x")


def test_blocking_user_code_takes_simulated_time_only() -> None:
    """`time.sleep` in a handler moves the simulated clock."""
    begin = time.monotonic()
    with cluster(instances=1) as sim:
        assert sim.client().call("worker.nap", b"30", timeout=100) >= b"30"
        assert sim.now >= 30
    assert time.monotonic() - begin < 20


def test_coroutines_of_one_instance_run_beside_each_other() -> None:
    """Fifty sleeps of a second take about one."""
    with cluster(instances=1) as sim:
        assert len(list(sim.client().map([b"1"] * 50, "worker.soon"))) == 50
        assert 1.0 <= sim.now < 2.0


def test_a_thread_in_user_code_is_refused_with_a_way_out() -> None:
    """What cannot be simulated is not silently done for real."""
    with cluster() as sim, pytest.raises((HandlerFailed, HarnessError), match="thread"):
        sim.client().call("worker.thread", b"")


def test_an_unknown_function_is_refused_with_what_there_is() -> None:
    """The nearest name is offered."""
    with cluster() as sim, pytest.raises(NoSuchFunction, match=r"did you mean 'shout'"):
        sim.client().call("worker.shuot", b"x")


def test_an_unknown_server_is_an_error_that_lists_the_servers() -> None:
    """After the timeout, not for ever."""
    with cluster() as sim:
        with pytest.raises(NoSuchServer, match=r"'wroker' \(did you mean 'worker'\?\) after 3 s; there are worker"):
            sim.client().call("wroker.shout", b"x", timeout=3)
        assert 3.0 <= sim.now < 5.0


def test_an_unknown_instance_is_named() -> None:
    """A test's own typing error is an error."""
    with cluster() as sim, pytest.raises(BadRequest, match=r"no instance 'worker\[9\]'; there are worker\[0\]"):
        sim.crash("worker[9]")


def _hash(seed: int) -> str:
    with cluster(seed=seed, service_s=0.002) as sim:
        sim.at(0.1, lambda: sim.crash("worker[0]"))
        list(sim.client().map(PAYLOADS, "worker.shout"))
        return sim.trace_hash


def test_one_seed_is_one_course_of_events() -> None:
    """The trace hash is a function of the seed."""
    assert _hash(1) == _hash(1) != _hash(2)


def test_a_simulation_that_is_over_leaves_nothing_in_memory() -> None:
    """Thousands of them fit into one test run."""
    with cluster(service_s=0.001) as sim:
        list(sim.client().map(PAYLOADS, "worker.shout"))
        kernel = weakref.ref(sim.cluster)
    del sim
    gc.collect()
    assert kernel() is None


class Sleeper(RegisteredServer):
    def nap(self, payload: bytes) -> bytes:
        sleep(600)
        return payload


def test_what_a_test_module_took_by_name_is_simulated() -> None:
    """`from time import sleep` above the server: ten minutes pass for it, and none for us."""
    began = monotonic()
    with simulate(Sleeper, name="sleeper", seed=7) as sim:
        assert sim.client().call("sleeper.nap", b"x", timeout=1000) == b"x"
        assert sim.now > 600
    assert monotonic() - began < 10
