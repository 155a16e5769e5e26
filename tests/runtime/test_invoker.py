"""User code, whatever it does, becomes outcomes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from palm.core.effect import Invoke
from palm.core.event import Finished
from palm.core.message import Batch, Failure, Header, JobId, Payload, Peer, Status
from palm.core.route import parse_route
from palm.runtime.invoke import Invoker
from palm.sim import sandbox
from palm.sim.draws import Fixed
from palm.sim.kernel import NANOSECONDS
from palm.sim.world import World
from palm.testing.harness import Item

S = NANOSECONDS
JOB = JobId(Peer("client-000000000"), 7, 1)
PEER = Peer("server-000000000")


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even that")


class Stop(BaseException):
    """User code may raise what is no Exception."""


class Scene:
    """An invoker with the functions of one server. `service_s` is how long each message takes."""

    def __init__(self, functions: Mapping[str, Callable[[bytes], Any]], *, service_s: float = 0.0, **how: Any) -> None:
        self.world = World(7)
        self.kernel = self.world.kernel
        self.host = self.world.host("me", service=Fixed(round(service_s * S)))
        self.finished: list[tuple[int, Finished]] = []
        self.begun: list[tuple[int, int]] = []
        self.tickets = 0
        self.invoker = Invoker(
            self.host,
            server="one",
            peer=PEER,
            functions=functions,
            post=lambda event: self.finished.append((self.kernel.now, event)),
            begins=lambda header, sequence, attempt: self.begun.append((sequence, attempt)),
            **how,
        )

    def invoke(
        self, *payloads: bytes, function: str = "f", job: JobId = JOB, expires: int | None = None, attempts: Any = None
    ) -> int:
        batch = Batch(Header(job, parse_route(f"one.{function}"), 0), 0, list(range(len(payloads))), list(payloads))
        batch.attempts = attempts
        ticket, self.tickets = self.tickets, self.tickets + 1
        self.invoker.invoke(Invoke(ticket, batch, expires))
        return ticket

    def run(self, seconds: float) -> None:
        with sandbox.installed():
            self.kernel.run(self.kernel.now + round(seconds * S))

    def outcomes(self, ticket: int = 0) -> list[Item]:
        rows: list[Item] = []
        for _, event in self.finished:
            if event.ticket == ticket:
                statuses = event.statuses or [Status.OK] * len(event.sequences)
                rows += map(Item, event.sequences, event.payloads, statuses)
        return rows


def outcome_of(function: Callable[[bytes], Any], **how: Any) -> Item:
    """What comes of one call."""
    scene = Scene({"f": function}, **how)
    scene.invoke(b"x", attempts=[3])
    scene.run(1)
    [item] = scene.outcomes()
    return item


def failure_of(function: Callable[[bytes], Any], **how: Any) -> Failure:
    item = outcome_of(function, **how)
    assert item.status == Status.FAILED and isinstance(item.payload, Failure)
    return item.payload


def raiser(error: BaseException) -> Callable[[bytes], bytes]:
    def handler(payload: bytes) -> bytes:
        raise error

    return handler


def async_raiser(error: BaseException) -> Callable[[bytes], Any]:
    async def handler(payload: bytes) -> bytes:
        await asyncio.sleep(0)
        raise error

    return handler


def test_results_come_in_the_order_of_the_messages() -> None:
    """One Finished for what was ready together, with its ticket, and no statuses where all went well."""
    scene = Scene({"f": bytes.upper})
    ticket = scene.invoke(b"a", b"b", b"c")
    scene.run(1)
    [(_, event)] = scene.finished
    assert event == Finished(ticket, [0, 1, 2], [b"A", b"B", b"C"], None)


def test_what_is_ready_does_not_wait_for_the_rest() -> None:
    """Each message takes a second: its outcome comes after it, not after all."""
    scene = Scene({"f": bytes.upper}, service_s=1.0)
    scene.invoke(b"a", b"b")
    scene.run(1.5)
    assert scene.outcomes() == [Item(0, b"A")]
    scene.run(1)
    assert scene.outcomes() == [Item(0, b"A"), Item(1, b"B")]


@pytest.mark.parametrize("make", [raiser, async_raiser])
@pytest.mark.parametrize("kind", [ValueError, SystemExit, asyncio.CancelledError, GeneratorExit, Stop])
def test_whatever_is_raised_is_the_messages_end(
    make: Callable[[BaseException], Any], kind: type[BaseException]
) -> None:
    """Type, text, traceback and place; nothing that user code raises stops the instance."""
    failure = failure_of(make(kind("no such word")))
    assert (failure.reason, failure.kind, failure.text) == ("HANDLER_RAISED", kind.__name__, "no such word")
    assert (failure.server, failure.function, failure.instance, failure.attempt) == ("one", "f", PEER, 3)
    assert "in handler" in failure.remote_traceback and "palm/runtime" not in failure.remote_traceback


@pytest.mark.parametrize("make", [raiser, async_raiser])
def test_the_others_of_a_batch_are_run_when_one_raises(make: Callable[[BaseException], Any]) -> None:
    """Before it and after it."""
    bad = make(KeyError("b"))

    def plain(payload: bytes) -> bytes:
        return bad(payload) if payload == b"b" else payload.upper()

    async def slow(payload: bytes) -> bytes:
        return await bad(payload) if payload == b"b" else payload.upper()

    scene = Scene({"f": plain if make is raiser else slow})
    scene.invoke(b"a", b"b", b"c")
    scene.run(1)
    found = {item.sequence: (item.payload, item.status) for item in scene.outcomes()}
    assert found[0] == (b"A", Status.OK) and found[2] == (b"C", Status.OK) and found[1][1] == Status.FAILED


def test_an_error_without_a_text_is_still_an_error() -> None:
    """Its __str__ raises: the type says what can be said."""
    assert failure_of(raiser(Unprintable())).text == "<Unprintable whose text cannot be made>"


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ("text", "returned str, bytes are needed: encode it"),
        (7, "returned int, bytes are needed"),
        (bytearray(b"x"), "returned bytearray, bytes are needed"),
        (memoryview(b"x"), "returned memoryview, bytes are needed"),
        ([b"x"], "for several results, yield each"),
    ],
)
def test_a_result_that_is_not_bytes_is_a_definite_failure(result: object, said: str) -> None:
    """Says which function, what it returned, what is needed, and the line."""
    failure = failure_of(lambda payload: result)
    assert failure.reason == "BAD_RESULT" and said in failure.text
    assert "function 'f' of server 'one'" in failure.text and "test_invoker.py, line" in failure.text


def test_a_subclass_of_bytes_is_no_result() -> None:
    """The wire takes bytes; what else an object may be, nobody knows."""
    kind = type("Mine", (bytes,), {})
    assert "returned Mine" in failure_of(lambda payload: kind(b"x")).text


def test_a_result_over_the_limit_is_refused_with_both_figures() -> None:
    """And one at the limit passes."""
    failure = failure_of(lambda payload: b"x" * 11, max_payload_bytes=10)
    assert failure.reason == "TOO_LARGE" and "11 bytes, over the limit of 10" in failure.text
    assert outcome_of(lambda payload: b"x" * 10, max_payload_bytes=10).status == Status.OK


def test_no_result_is_an_empty_end() -> None:
    """None filters the message out."""
    assert outcome_of(lambda payload: None).status == Status.EMPTY


def test_a_generator_that_raises_in_the_middle_is_a_failure() -> None:
    """What it had yielded goes nowhere."""

    def handler(payload: bytes) -> Any:
        yield b"first"
        raise ValueError("second")

    failure = failure_of(handler)
    assert (failure.reason, failure.text) == ("HANDLER_RAISED", "second")


def test_what_has_expired_is_not_run() -> None:
    """Three messages of a second each, with a second and a half: the third has no time left when its turn comes."""
    ran: list[bytes] = []
    scene = Scene({"f": lambda payload: ran.append(payload) or payload}, service_s=1.0)  # type: ignore[func-returns-value]
    scene.invoke(b"a", b"b", b"c", expires=scene.host.now() + round(1.5 * S))
    scene.run(5)
    assert ran == [b"a", b"b"]
    assert [(item.sequence, item.status) for item in scene.outcomes()] == [(0, 0), (1, 0), (2, Status.EXPIRED)]


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_what_was_abandoned_is_not_run_and_said_to_be_so(kind: str) -> None:
    """Every item has its end: CANCELLED for what had not begun; another job's messages are run."""
    ran: list[bytes] = []

    def plain(payload: bytes) -> bytes:
        ran.append(payload)
        return payload

    async def slow(payload: bytes) -> bytes:
        return plain(payload)

    scene = Scene({"f": plain if kind == "plain" else slow}, service_s=1.0)
    other = JOB._replace(number=2)
    if kind == "plain":
        scene.invoke(b"a", b"b", b"c")
        scene.run(0.5)
        scene.invoker.abandon(JOB)
        expected, first = [b"a", b"x"], [Status.OK, Status.CANCELLED, Status.CANCELLED]
    else:
        scene.invoke(b"a", b"b", b"c")
        scene.invoker.abandon(JOB)
        expected, first = [b"x"], [Status.CANCELLED] * 3
    mine = scene.invoke(b"x", job=other)
    scene.run(10)
    assert ran == expected
    assert [item.status for item in scene.outcomes()] == first
    assert [item.payload for item in scene.outcomes(mine)] == [b"x"]


def test_a_client_that_comes_back_is_run_again() -> None:
    """What is invoked after the abandoning is not abandoned, while the old calls are still queued."""
    scene = Scene({"f": bytes.upper}, service_s=1.0)
    scene.invoke(b"a", b"b")
    scene.run(0.5)
    scene.invoker.abandon(JOB)
    again = scene.invoke(b"a", b"b")
    scene.run(10)
    assert [item.status for item in scene.outcomes(0)] == [Status.OK, Status.CANCELLED]
    assert scene.outcomes(again) == [Item(0, b"A"), Item(1, b"B")]


def test_coroutines_run_beside_each_other() -> None:
    """Ten that wait a second are done in one, and each is handed over as it ends."""

    async def handler(payload: bytes) -> bytes:
        await asyncio.sleep(int(payload) / 10)
        return payload

    scene = Scene({"f": handler})
    scene.invoke(*[b"%d" % wait for wait in (10, 1, 5)])
    scene.run(1.05)
    assert [item.sequence for item in scene.outcomes()] == [1, 2, 0]
    assert [round(at / S, 1) for at, _ in scene.finished] == [0.1, 0.5, 1.0]


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_instruments_hear_what_begins(kind: str) -> None:
    """Each message that is run, with its attempt; not those that are skipped."""

    async def slow(payload: bytes) -> bytes:
        return payload

    scene = Scene({"f": bytes.upper if kind == "plain" else slow})
    scene.invoke(b"a", b"b", attempts=[1, 4])
    scene.invoke(b"c", expires=0)
    scene.run(1)
    assert scene.begun == [(0, 1), (1, 4)]


def test_every_item_has_one_end() -> None:
    """A mix of all: as many outcomes as items, each sequence once."""

    def handler(payload: bytes) -> Any:
        return {b"a": payload, b"b": None, b"c": "text"}.get(payload) if payload != b"d" else raiser(Stop())(payload)

    scene = Scene({"f": handler})
    scene.invoke(b"a", b"b", b"c", b"d", b"e")
    scene.run(1)
    found: list[Payload] = [item.payload for item in scene.outcomes()]
    assert [item.sequence for item in scene.outcomes()] == [0, 1, 2, 3, 4] and len(found) == 5
    assert [item.status for item in scene.outcomes()] == [
        Status.OK,
        Status.EMPTY,
        Status.FAILED,
        Status.FAILED,
        Status.EMPTY,
    ]
