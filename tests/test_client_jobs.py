"""`Client` against real server processes: jobs, calls, errors, time limits, bad input."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from palm import (
    Client,
    DeadlineExpired,
    HandlerFailed,
    JobCancelled,
    NoSuchFunction,
    NoSuchServer,
    PalmError,
    PayloadTooLarge,
    RegistryUnavailable,
    WaitTimeout,
)
from palm.errors import BadRequest, ClientClosed
from tests.support.cluster import Cluster, cluster
from tests.support.etcd import free_ports

NUMBERS = [b"%d" % number for number in range(1000)]


@pytest.fixture(scope="module")
def letters() -> Iterator[Cluster]:
    with cluster() as made:
        made.serve()
        made.serve()
        made.serve("--name", "other")
        yield made


@pytest.fixture
def client(letters: Cluster) -> Iterator[Client]:
    with Client(letters.endpoint, timeout=20) as client:
        yield client


def ledger_of(job: Any) -> tuple[int, int, int, int, int, int]:
    assert job.ledger.adds_up
    return tuple(job.ledger)


def test_job_and_submit_as_a_newcomer_writes_them(client: Client) -> None:
    """`client.job(generator, route)`, then iterate over `client.submit()`."""
    job = client.job(iter(NUMBERS), ["letters.echo"])
    assert sorted(client.submit()) == sorted(NUMBERS)
    assert ledger_of(job) == (1000, 1000, 0, 0, 0, 0)


def test_results_come_in_order_where_that_is_asked_for(client: Client) -> None:
    """ordered=True, over two instances and two stages on two servers."""
    assert list(client.map(NUMBERS, ["letters.echo", "other.shout"], ordered=True)) == NUMBERS


def test_a_route_may_visit_a_server_twice(client: Client) -> None:
    """`a.f b.g a.h`."""
    route = ["letters.echo", "other.echo", "letters.shout"]
    assert sorted(client.map([b"a", b"b"], route)) == [b"A", b"B"]


def test_results_stream_while_the_source_still_runs(client: Client) -> None:
    """The source gives the next message only when the answer to the one before is there."""
    answered = threading.Semaphore(1)

    def source() -> Iterator[bytes]:
        for number in range(20):
            assert answered.acquire(timeout=20)
            yield b"%d" % number

    for _ in client.map(source(), "letters.echo"):
        answered.release()


def test_nothing_is_sent_before_submit(client: Client) -> None:
    """A described job does not touch its source."""
    touched: list[bool] = []

    def source() -> Iterator[bytes]:
        touched.append(True)
        yield b"x"

    job = client.job(source(), "letters.echo")
    client.call("letters.echo", b"x")
    assert not touched and ledger_of(job) == (0, 0, 0, 0, 0, 0)


def test_an_empty_source_is_a_job_too(client: Client) -> None:
    """No message, no result, no wait."""
    assert list(client.map([], "letters.echo")) == []


def test_a_job_is_submitted_once(client: Client) -> None:
    """A second submit says so; without a job it says that."""
    job = client.job([b"x"], "letters.echo")
    list(client.submit(job))
    with pytest.raises(ValueError, match="was submitted before"):
        client.submit(job)


def test_calls_of_many_threads_do_not_mix(client: Client) -> None:
    """Each gets its own answer."""
    wrong: list[bytes] = []

    def ask(number: int) -> None:
        for step in range(50):
            payload = b"%d-%d" % (number, step)
            if client.call("letters.echo", payload) != payload:
                wrong.append(payload)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# -- errors of user code ----------------------------------------------------------------------------------------------


def test_an_exception_of_a_handler_reaches_the_caller(client: Client) -> None:
    """Type, text, remote traceback, server, function, instance and attempt."""
    with pytest.raises(HandlerFailed) as caught:
        client.call("letters.fail", b"key")
    failed = caught.value
    assert (failed.kind, failed.text, failed.server, failed.function) == ("KeyError", "'key'", "letters", "fail")
    assert failed.attempt == 1 and failed.instance in {each.peer for each in client.instances()}
    assert "letters.py" in failed.remote_traceback and "raise KeyError" in failed.remote_traceback


def test_a_failure_travels_on_through_later_stages(client: Client) -> None:
    """The second stage does not run it; the error names the first."""
    with pytest.raises(HandlerFailed) as caught:
        client.call(["letters.fail", "other.echo"], b"key")
    assert caught.value.server == "letters"


def test_errors_raise_and_the_rest_of_the_job_goes_on(client: Client) -> None:
    """errors='raise': `next` raises for each failed message, and can be called on."""
    job = client.job(NUMBERS[:100], "letters.odd", ordered=True)
    results, delivered, failed = client.submit(job), [], []
    while True:
        try:
            delivered.append(next(results))
        except HandlerFailed as error:
            failed.append(error.sequence)
        except StopIteration:
            break
    assert delivered == NUMBERS[:100:2] and failed == list(range(1, 100, 2))
    assert ledger_of(job) == (100, 50, 50, 0, 0, 0)


def test_errors_may_come_in_place_of_results(client: Client) -> None:
    """errors='yield': the error object, in its place."""
    results = list(client.map(NUMBERS[:4], "letters.odd", ordered=True, errors="yield"))
    assert [type(result) for result in results] == [bytes, HandlerFailed, bytes, HandlerFailed]


def test_errors_may_be_left_to_the_ledger(client: Client) -> None:
    """errors='skip': results only; the ledger counts the rest."""
    job = client.job(NUMBERS[:100], "letters.odd", errors="skip")
    assert sorted(client.submit()) == sorted(NUMBERS[:100:2])
    assert ledger_of(job) == (100, 50, 50, 0, 0, 0)


def test_a_result_that_is_no_bytes_is_explained(client: Client) -> None:
    """The function, what it returned, what is needed, and how to get there."""
    with pytest.raises(HandlerFailed, match="'text' of server 'letters' returned str, bytes are needed: encode it"):
        client.call("letters.text", b"x")


# -- bad input --------------------------------------------------------------------------------------------------------


def test_a_source_that_raises_ends_what_was_sent_and_then_says_so(client: Client) -> None:
    """All that was sent is delivered; then the caller gets the original exception, once."""

    def source() -> Iterator[bytes]:
        yield from NUMBERS[:500]
        raise LookupError("the source is broken")

    job = client.job(source(), "letters.echo")
    delivered: list[bytes] = []
    with pytest.raises(LookupError, match="the source is broken"):
        for result in client.submit(job):
            delivered.append(result)
    assert sorted(delivered) == sorted(NUMBERS[:500])
    assert ledger_of(job) == (500, 500, 0, 0, 0, 0)


@pytest.mark.parametrize("bad", ["text", None, 7, bytearray(b"x")])
def test_a_payload_that_is_no_bytes_is_refused(client: Client, bad: Any) -> None:
    """By a call at once; in a job after what was before it."""
    with pytest.raises(TypeError, match="letters.echo is .*, bytes are needed"):
        client.call("letters.echo", bad)
    results = client.map([b"good", bad], "letters.echo")
    assert next(results) == b"good"
    with pytest.raises(TypeError, match="message 1 of the job to letters.echo"):
        next(results)


def test_a_payload_over_the_limit_is_refused(letters: Cluster) -> None:
    """The error names both sizes and the way out; what is at the limit passes."""
    with Client(letters.endpoint, max_payload_bytes=1000) as client:
        assert len(client.call("letters.echo", bytes(1000))) == 1000
        with pytest.raises(PayloadTooLarge, match=r"payload of 1001 bytes exceeds 1000 \(raise max_payload_bytes"):
            client.call("letters.echo", bytes(1001))
        with pytest.raises(PayloadTooLarge, match="message 0 .*payload of 1001 bytes"):
            list(client.map([bytes(1001)], "letters.echo"))


def test_large_payloads_pass(client: Client) -> None:
    """Up to the limit of 32 MiB, uncopied in a frame of their own."""
    payload = bytes(8 * 1024 * 1024)
    assert client.call("letters.echo", payload) == payload


def test_an_unknown_function_is_refused_at_once(client: Client) -> None:
    """It lists what the server has, with the nearest name."""
    with pytest.raises(NoSuchFunction, match=r"no function 'ecko' \(did you mean 'echo'\?\); it lists .*shout"):
        client.call("letters.ecko", b"x")
    with pytest.raises(NoSuchFunction, match="did you mean 'echo'"):
        list(client.map([b"x"], "letters.ecko"))


def test_an_unknown_server_is_refused_after_its_time(client: Client) -> None:
    """It lists who lives, with the nearest name; the time is the caller's."""
    begin = time.monotonic()
    with pytest.raises(NoSuchServer, match=r"'leters' \(did you mean 'letters'\?\) after 0.5 s; there are letters"):
        client.call("leters.echo", b"x", timeout=0.5)
    with pytest.raises(NoSuchServer, match="did you mean 'letters'"):
        list(client.map([b"x"], "leters.echo", timeout=0.5))
    assert 1.0 <= time.monotonic() - begin < 10


@pytest.mark.parametrize("route", ["letters", "a.b.c", [], ["letters.echo", 3], "let ters.echo", "letters.é"])
def test_a_route_of_another_form_is_refused(client: Client, route: Any) -> None:
    """At the door, with the text and the form."""
    with pytest.raises(BadRequest):
        client.call(route, b"x")
    with pytest.raises(BadRequest):
        client.job([b"x"], route)


@pytest.mark.parametrize("limit", [0, -1, float("nan"), 1e18])
def test_a_time_limit_that_is_none_is_refused(client: Client, limit: float) -> None:
    """Zero, negative, not a number, beyond a life: refused by name."""
    with pytest.raises(BadRequest, match="timeout"):
        client.call("letters.echo", b"x", timeout=limit)
    with pytest.raises(BadRequest, match="deadline"):
        client.job([b"x"], "letters.echo", deadline=limit)


def test_a_mode_of_errors_that_is_none_is_refused(client: Client) -> None:
    """It lists the three there are."""
    with pytest.raises(ValueError, match="'raise', 'yield' or 'skip'"):
        client.job([b"x"], "letters.echo", errors="ignore")  # type: ignore[arg-type]  # that is the point


def test_no_registry_is_said_within_the_timeout() -> None:
    """The endpoint that was tried, and the way out; the client is closed then."""
    endpoint = f"127.0.0.1:{free_ports(1)[0]}"
    client = Client(endpoint, timeout=1)
    begin = time.monotonic()
    with pytest.raises(RegistryUnavailable, match=f"{endpoint}.*palm registry"):
        client.call("letters.echo", b"x")
    assert time.monotonic() - begin < 5
    with pytest.raises(ClientClosed):
        client.call("letters.echo", b"x")


# -- time -------------------------------------------------------------------------------------------------------------


def test_a_call_that_takes_too_long_is_given_up(client: Client) -> None:
    """WaitTimeout says who is busy in what; the client goes on."""
    begin = time.monotonic()
    with pytest.raises(WaitTimeout, match=r"no answer from letters.doze within 1 s: .*busy in doze"):
        client.call("letters.doze", b"20", timeout=1)
    assert 1.0 <= time.monotonic() - begin < 5
    assert client.call("letters.echo", b"x") == b"x"


def test_a_wait_for_results_that_takes_too_long_can_be_taken_up_again(client: Client) -> None:
    """WaitTimeout loses nothing: the next `next` waits on."""
    results = client.map([b"2"], "letters.doze", timeout=0.5)
    with pytest.raises(WaitTimeout, match="no result within 0.5 s"):
        next(results)
    texts: list[str] = []
    received = b""
    while not received:
        assert len(texts) < 40, texts[-1]
        try:
            received = next(results)
        except WaitTimeout as error:
            texts.append(str(error))
    assert received == b"2"


def test_a_deadline_ends_messages_that_are_late(client: Client) -> None:
    """What has not ended by then is expired, each message by its own sending; the rest is delivered."""
    job = client.job([b"0", b"20", b"0"], "letters.doze", deadline=1.0, errors="yield", ordered=True)
    results = list(client.submit())
    assert results[0] == results[2] == b"0" and isinstance(results[1], DeadlineExpired)
    assert ledger_of(job) == (3, 2, 0, 1, 0, 0)


def test_limits_of_any_number_cost_no_job_each(client: Client) -> None:
    """Callers who compute their limits anew each time leave no trail behind."""
    for step in range(200):
        client.call("letters.echo", b"x", timeout=10 + step / 1000)
    assert len(client.connect().node.jobs) <= 2


# -- ends -------------------------------------------------------------------------------------------------------------


def test_a_cancelled_job_ends(client: Client) -> None:
    """What is in flight ends as cancelled, and the ledger adds up."""
    job = client.job([b"0", b"30", b"30"], "letters.doze", errors="yield")
    results = client.submit()
    assert next(results) == b"0"
    job.cancel()
    assert [type(error).__name__ for error in results] == [JobCancelled.__name__] * 2
    assert ledger_of(job) == (3, 1, 2, 0, 0, 0)


def test_a_client_closed_under_a_job_lets_its_reader_go(letters: Cluster) -> None:
    """The thread that waits for a result gets an error, not silence."""
    client = Client(letters.endpoint)
    results = client.map([b"60"], "letters.doze")
    errors: list[PalmError] = []

    def read() -> None:
        try:
            next(results)
        except PalmError as error:
            errors.append(error)

    reader = threading.Thread(target=read)
    client.call("letters.echo", b"x")
    reader.start()
    client.close()
    reader.join(20)
    assert not reader.is_alive() and len(errors) == 1


def test_a_closed_client_says_so(letters: Cluster) -> None:
    """Every use after `close`; closing twice is harmless."""
    client = Client(letters.endpoint)
    client.call("letters.echo", b"x")
    client.close()
    client.close()
    for use in (lambda: client.call("letters.echo", b"x"), lambda: list(client.map([b"x"], "letters.echo"))):
        with pytest.raises(ClientClosed):
            use()


def test_a_client_leaves_no_thread_behind(letters: Cluster) -> None:
    """Its loop, its feeds, its sockets: gone with it."""

    def ours() -> set[str]:
        return {thread.name for thread in threading.enumerate() if thread.name.startswith("palm-")}

    before = ours()
    with Client(letters.endpoint) as client:
        list(client.map(NUMBERS, "letters.echo"))
        client.submit(client.job((b"60" for _ in range(10)), "letters.doze"))
    end = time.monotonic() + 10
    while ours() - before and time.monotonic() < end:
        time.sleep(0.02)
    assert ours() - before == set()


def test_a_long_lived_client_forgets_its_jobs(client: Client) -> None:
    """A job that was read to its end leaves nothing in the client."""
    for _ in range(20):
        list(client.map(NUMBERS[:10], "letters.echo"))
    assert not client.connect().node.jobs
