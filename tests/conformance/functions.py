"""What functions can be and do: checks on any client, whose cluster has `front`, `fitted` and `hooked` once, and `back`
twice."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable

import pytest

from palm import Client, DeadlineExpired, HandlerFailed, MessageFailed, NoSuchFunction
from palm.wire import palm_pb2

Check = Callable[[Client], None]
TRACE = bytes(range(16))


def a_handler_calls_other_servers(client: Client) -> None:
    """From plain functions and from coroutines, one call or many, along a route."""
    assert client.call("front.ask", b"x") == b"front(back(x))"
    assert client.call("front.aask", b"x") == b"front(back(x))"
    assert client.call("front.ask_along", b"x") == b"back(back(x))"
    assert client.call("front.gather", b"x") == b"x0x1x2x3x4"
    job = client.job([b"%d" % number for number in range(300)], ["front.ask", "back.answer"], ordered=True)
    assert list(client.submit()) == [b"back(front(back(%d)))" % number for number in range(300)]
    assert tuple(job.ledger) == (300, 300, 0, 0, 0, 0)
    assert sorted(client.map([b"a"] * 100, "front.aask")) == [b"front(back(a))"] * 100


def what_a_nested_call_raises_is_the_handlers(client: Client) -> None:
    """The error of the stage behind, with its place; and the name of a server that is not there."""
    with pytest.raises(HandlerFailed, match="front.ask_what_fails raised HandlerFailed: back.fails raised ValueError"):
        client.call("front.ask_what_fails", b"x")
    with pytest.raises(HandlerFailed, match="NoSuchServer: no live instance of server 'nobody'"):
        client.call("front.ask_nobody", b"x")


def a_server_that_calls_itself_hears_why_it_waits(client: Client) -> None:
    """No deadlock without a word: the error names the stage and what keeps it busy. Then it works on."""
    said = "WaitTimeout: no answer from front.echo within 1 s: .*busy in ask_itself"
    with pytest.raises(HandlerFailed, match=said):
        client.call("front.ask_itself", b"x")
    assert client.call("front.ask", b"x") == b"front(back(x))"


def a_blocking_call_in_a_coroutine_is_refused(client: Client) -> None:
    """It would stop all others; the error says what to do instead."""
    with pytest.raises(HandlerFailed, match="use `await self.acall"):
        client.call("front.block", b"x")


def a_nested_call_inherits_deadline_and_trace(client: Client) -> None:
    """What is left of the one, and all of the other."""
    for function in ("what_arrives", "awhat_arrives"):
        left, trace = client.call(f"front.{function}", b"x", deadline=20, trace=TRACE).split()
        assert 15 <= int(left) <= 20 and trace == TRACE.hex().encode()
        [result] = client.submit(client.job([b"x"], f"front.{function}", trace=TRACE))
        left, trace = result.split()
        assert int(left) >= 55 and trace == TRACE.hex().encode(), "a call has a minute, unless somebody says less"


def a_nested_call_ends_with_the_deadline_of_the_message_at_hand(client: Client) -> None:
    """As expired, with the stage's name; not a minute later."""
    job = client.job([b"x"], "front.ask_slow", deadline=1, errors="yield")
    [error] = list(client.submit(job))
    assert isinstance(error, DeadlineExpired) and "front.ask_slow" in str(error)
    with pytest.raises(DeadlineExpired):
        client.call("front.ask_slow", b"x", deadline=1)


def marks_do_no_harm(client: Client) -> None:
    """In the simulator they are events; everywhere they are lines of the log."""
    assert client.call("front.marked", b"x") == b"x"


def errors_are_tried_again_as_often_as_asked(client: Client) -> None:
    """Those that are named, with pauses; the last one tells how often."""
    assert client.call("fitted.third_time", b"x") == b"x at try 3"
    assert client.call("fitted.bare", b"x") == b"x"
    with pytest.raises(HandlerFailed, match=r"ConnectionError: never \(3 tries\)"):
        client.call("fitted.never", b"x")
    with pytest.raises(HandlerFailed, match=r"ValueError: another \(inst"):
        client.call("fitted.another", b"x")
    job = client.job([b"%d" % number for number in range(50)], "fitted.third_time", ordered=True)
    assert list(client.submit()) == [b"%d at try 3" % number for number in range(50)]
    assert tuple(job.ledger) == (50, 50, 0, 0, 0, 0)


def what_takes_too_long_fails(client: Client) -> None:
    """A coroutine is cancelled, a plain function's late result dropped; both serve on."""
    for function in ("slow", "slow_plain"):
        assert client.call(f"fitted.{function}", b"0.01") == b"0.01"
        with pytest.raises(HandlerFailed, match="TimeoutError: .*ran longer than its timeout of 0.3 s"):
            client.call(f"fitted.{function}", b"0.8")
        assert client.call(f"fitted.{function}", b"0.01") == b"0.01"


def concurrency_is_bounded(client: Client) -> None:
    """Coroutines to so many, plain functions to so many threads."""
    assert max(client.map([b"x"] * 40, "fitted.three")) == b"3"
    assert sorted(client.map([b"%d" % number for number in range(8)], "fitted.threads")) == [
        b"%d" % number for number in range(8)
    ]


def batches_have_what_is_ready(client: Client) -> None:
    """At most so many at a time; each result is its message's."""
    results = list(client.map([b"%d" % number for number in range(40)], "fitted.together", ordered=True))
    assert [int(result.split()[0]) for result in results] == list(range(40))
    assert 1 < max(int(result.split()[2]) for result in results) <= 8


def what_a_batch_returns_is_each_messages_own(client: Client) -> None:
    """A result, none, several, an error; a wrong number, and what is raised, is the error of all."""
    job = client.job([b"a", b"error", b"none", b"two"], "fitted.mixed", ordered=True, errors="yield")
    first, error, *rest = list(client.submit(job))
    assert [first, *rest] == [b"a", b"1", b"2"] and isinstance(error, HandlerFailed) and error.text == "bad"
    with pytest.raises(HandlerFailed, match="returned 0 results for a batch of 1, a list of 1 is needed"):
        client.call("fitted.too_few", b"x")
    with pytest.raises(HandlerFailed, match="all of them"):
        client.call("fitted.raises", b"x")


def a_function_may_be_at_most_once(client: Client) -> None:
    """It works as any other while nobody is lost; the registry shows it."""
    assert client.call("fitted.once", b"x") == b"x"
    [fitted] = [instance for instance in client.instances() if instance.server == "fitted"]
    assert fitted.once == ("once",)


def type_hints_choose_the_codec(client: Client) -> None:
    """Text, JSON, protobuf; None and generators as without."""
    assert client.call("fitted.shout", "grün".encode()) == "GRÜN".encode()
    assert client.call("fitted.total", b"[1, 2, 3]") == b"6"
    assert client.call("fitted.bill", b'{"item": "rope", "count": 2}') == b'{"rope":6}'
    for function in ("letters", "aletters"):
        assert list(client.map([b"abc"], f"fitted.{function}", ordered=True)) == [b"a", b"b", b"c"]
    assert list(client.map([b"no", b"yes!"], "fitted.maybe")) == [b"yes!"]
    wired = palm_pb2.Failure(text="loud")
    assert palm_pb2.Failure.FromString(client.call("fitted.wired", wired.SerializeToString())).text == "LOUD"
    assert pickle.loads(client.call("fitted.pickled", pickle.dumps({1, 2}))) == ({1, 2}, "set")
    assert list(client.map([b"[1,2]", b"[]", b"[5]"], "fitted.totals", ordered=True)) == [b"3", b"0", b"5"]


def a_payload_of_another_type_fails_with_its_place(client: Client) -> None:
    """Function, type, position; and it is nobody's crash. A batch's others are not touched by it."""
    for function, payload, said in (
        ("total", b'[1, "2"]', r"'total' of server 'fitted' cannot read its payload as list\[int\]: .*\$\[1\]"),
        ("total", b"[1, 2", r"'total' .*list\[int\]: Input data was truncated"),
        ("bill", b'{"count": 2}', r"'bill' .* as Order: .*missing required field `item`"),
        ("shout", b"ab\xff", r"'shout' .* as str: byte 2 is not UTF-8"),
        ("wired", b"\xff", r"'wired' .* as Failure: it does not parse as protobuf"),
        ("pickled", b"x", r"'pickled' .* as pickle: "),
    ):
        with pytest.raises(MessageFailed, match=said):
            client.call(f"fitted.{function}", payload)
    with pytest.raises(HandlerFailed, match="'lies' .*returned a value that is not str: int is no str"):
        client.call("fitted.lies", b"x")
    job = client.job([b"[1]", b"oops", b"[2]"], "fitted.totals", ordered=True, errors="yield")
    results = list(client.submit(job))
    assert results[::2] == [b"1", b"2"] and isinstance(results[1], MessageFailed)


def on_start_comes_first(client: Client) -> None:
    """Before any message."""
    assert client.call("hooked.steps_so_far", b"") == b"started"


def built_in_functions_answer_while_user_code_is_busy(client: Client) -> None:
    """They do not wait for the function that runs, and see it."""
    results = client.submit(client.job([b"1.5"], "hooked.naps"))
    for _ in range(1000):
        stats = json.loads(client.call("hooked._stats", b""))
        if stats["functions"]["naps"]["in_flight"]:
            break
    assert stats["functions"]["naps"]["in_flight"] == stats["in_flight"] - 1 == 1 and stats["busy_in"] == "naps"
    assert client.call("hooked._ping", b"are you there") == b"are you there"
    assert list(results) == [b"1.5"]


def stats_tell_what_each_function_did(client: Client) -> None:
    """Counts, failures and quantiles; who it is that says so."""
    for _ in range(3):
        with pytest.raises(HandlerFailed):
            client.call("hooked.fails", b"x")
    assert list(client.map([b"0.01"] * 20, "hooked.naps")) == [b"0.01"] * 20
    stats = json.loads(client.call("hooked._stats", b""))
    fails, naps = stats["functions"]["fails"], stats["functions"]["naps"]
    assert fails["count"] == fails["failed"] >= 3 and naps["failed"] == 0 and naps["count"] >= 20
    assert 10 <= naps["latency_ms"]["p50"] <= naps["latency_ms"]["p99"] <= 1.125 * naps["latency_ms"]["max"]
    identity = json.loads(client.call("hooked._ping", b""))
    [hooked] = [instance for instance in client.instances() if instance.server == "hooked"]
    assert identity["instance"] == stats["instance"] == hooked.peer and "_stats" not in hooked.functions


def the_log_can_be_asked(client: Client) -> None:
    """By level, text and trace; each line names its message."""
    list(client.submit(client.job([b"one", b"two"], "hooked.says", ordered=True, trace=TRACE)))
    client.call("hooked.asays", b"three")

    def lines(**query: object) -> list[dict[str, object]]:
        found: list[dict[str, object]] = json.loads(client.call("hooked._log_query", json.dumps(query).encode()))
        return found

    said = lines(trace=TRACE.hex())[-2:]
    assert [(line["sequence"], line["level"], line["trace"]) for line in said] == [
        (0, "WARNING", TRACE.hex()),
        (1, "WARNING", TRACE.hex()),
    ]
    text = str(said[0]["text"])
    assert text.endswith(f":0 {TRACE.hex()}] it says one") and str(said[0]["job"]) in text
    assert [line["level"] for line in lines(level="error", text="three")][-1:] == ["ERROR"]
    assert len(lines(last=1)) == 1 and lines(last=0) == [] == lines(text="never said")
    for query, error in ((b"[]", "no JSON object"), (b"{", "no JSON"), (b'{"lines": 1}', "no key 'lines'")):
        with pytest.raises(MessageFailed, match=f"_log_query.*{error}"):
            client.call("hooked._log_query", query)
    with pytest.raises(MessageFailed, match="level is 'loud'"):
        lines(level="loud")


def names_with_an_underscore_stay_palms_own(client: Client) -> None:
    """A name that is not built in is no function, anywhere on a route; one that is may stand in the middle."""
    with pytest.raises(NoSuchFunction, match="no function '_secret'"):
        client.call("hooked._secret", b"x")
    assert client.call(["hooked._ping", "back.answer", "hooked._ping"], b"x") == b"back(x)"


CHECKS: list[Check] = [
    a_handler_calls_other_servers,
    what_a_nested_call_raises_is_the_handlers,
    a_server_that_calls_itself_hears_why_it_waits,
    a_blocking_call_in_a_coroutine_is_refused,
    a_nested_call_inherits_deadline_and_trace,
    a_nested_call_ends_with_the_deadline_of_the_message_at_hand,
    marks_do_no_harm,
    errors_are_tried_again_as_often_as_asked,
    what_takes_too_long_fails,
    concurrency_is_bounded,
    batches_have_what_is_ready,
    what_a_batch_returns_is_each_messages_own,
    a_function_may_be_at_most_once,
    type_hints_choose_the_codec,
    a_payload_of_another_type_fails_with_its_place,
    on_start_comes_first,
    built_in_functions_answer_while_user_code_is_busy,
    stats_tell_what_each_function_did,
    the_log_can_be_asked,
    names_with_an_underscore_stay_palms_own,
]
