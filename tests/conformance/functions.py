"""What functions can be and do: checks on any client, whose cluster has `front` once and `back` twice."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from palm import Client, DeadlineExpired, HandlerFailed

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


CHECKS: list[Check] = [
    a_handler_calls_other_servers,
    what_a_nested_call_raises_is_the_handlers,
    a_server_that_calls_itself_hears_why_it_waits,
    a_blocking_call_in_a_coroutine_is_refused,
    a_nested_call_inherits_deadline_and_trace,
    a_nested_call_ends_with_the_deadline_of_the_message_at_hand,
    marks_do_no_harm,
]
