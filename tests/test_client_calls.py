"""Single calls run the client's event loop themselves while they wait: what else it must not cost."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from palm import Client, PalmError, WaitTimeout
from palm.runtime.registration import LEASE_TTL_S
from tests.support.cluster import Cluster, cluster


@pytest.fixture(scope="module")
def letters() -> Iterator[Cluster]:
    with cluster() as made:
        made.serve()
        yield made


@pytest.fixture
def client(letters: Cluster) -> Iterator[Client]:
    with Client(letters.endpoint, timeout=20) as client:
        client.call("letters.echo", b"warm")
        yield client


def test_an_interrupt_ends_a_call_at_once_and_the_client_goes_on(client: Client) -> None:
    """KeyboardInterrupt within the call, and the next call is answered, in time and with its own result."""
    for number in range(5):
        begin = time.monotonic()
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            client.call("letters.doze", b"0.5")
        assert time.monotonic() - begin < 0.4
        assert client.call("letters.echo", b"%d" % number) == b"%d" % number


def test_interrupts_at_any_moment_leave_the_client_usable(client: Client) -> None:
    """Wherever in a call one falls, calls after it are answered."""
    for number in range(100):
        timer = threading.Timer(0.002 + number / 50_000, os.kill, (os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            timer.start()
            while True:
                assert client.call("letters.echo", b"x") == b"x"
        timer.join()
    assert client.call("letters.echo", b"y") == b"y"


def test_a_client_outlives_its_lease_between_calls_and_during_one(client: Client) -> None:
    """Neither a caller that stays away nor a long call keeps the client from renewing it."""
    client.call("letters.echo", b"x")
    time.sleep(LEASE_TTL_S + 1)  # the time itself is what is tested
    assert client.call("letters.echo", b"x") == b"x"
    assert client.call("letters.doze", b"%d" % (LEASE_TTL_S + 1), timeout=3 * LEASE_TTL_S) is not None
    assert client.call("letters.echo", b"x") == b"x"


def test_a_call_that_takes_too_long_does_not_disturb_the_next(client: Client) -> None:
    """The late answer finds nobody, and nobody else gets it."""
    for _ in range(3):
        with pytest.raises(WaitTimeout):
            client.call("letters.doze", b"0.2", timeout=0.05)
        assert client.call("letters.echo", b"mine") == b"mine"


def test_a_stream_flows_beside_calls(client: Client) -> None:
    """A job in one thread, calls in another: both get everything that is theirs."""
    taken: list[bytes] = []
    numbers = [b"%d" % number for number in range(20_000)]
    reader = threading.Thread(target=lambda: taken.extend(client.map(numbers, "letters.echo")))
    reader.start()
    calls = 0
    while reader.is_alive():
        assert client.call("letters.echo", b"call %d" % calls) == b"call %d" % calls
        calls += 1
    assert sorted(taken) == sorted(numbers) and calls


def test_who_lives_can_be_asked_beside_calls(client: Client) -> None:
    """A question to the registry ends while another thread calls without a pause."""
    answers: list[Any] = []
    asker = threading.Thread(target=lambda: answers.extend(client.instances() for _ in range(20)))
    asker.start()
    while asker.is_alive():
        client.call("letters.echo", b"x")
    assert [len(instances) for instances in answers] == [1] * 20


def test_a_client_closed_under_a_call_lets_it_go(letters: Cluster) -> None:
    """Closed by another thread while the caller itself runs the loop: an error, and soon."""
    client = Client(letters.endpoint)
    client.call("letters.echo", b"x")
    errors: list[PalmError] = []

    def call() -> None:
        try:
            client.call("letters.doze", b"60")
        except PalmError as error:
            errors.append(error)

    caller = threading.Thread(target=call)
    caller.start()
    while not client._session.world._shared.owner:  # type: ignore[attr-defined]  # until it runs the loop
        time.sleep(0.001)
    begin = time.monotonic()
    client.close()
    caller.join(20)
    assert not caller.is_alive() and len(errors) == 1
    assert time.monotonic() - begin < 5


def test_a_forked_child_is_told_to_make_a_client_of_its_own(client: Client) -> None:
    """It has the parent's sockets and none of its threads: said at once, and the parent goes on."""
    child = os.fork()
    if not child:
        code = 1
        try:
            client.call("letters.echo", b"x")
        except RuntimeError as error:
            code = 0 if "fork" in str(error) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert client.call("letters.echo", b"x") == b"x"
