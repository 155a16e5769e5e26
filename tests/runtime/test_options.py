"""Options of functions, and what is refused before anything is served."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import palm
from palm import RegisteredServer, SinkServer, SourceServer
from palm.errors import BadRequest
from palm.runtime.functions import functions_of, may_wait
from palm.runtime.options import NONE, Options, options_of


def test_the_decorator_leaves_the_function_alone() -> None:
    """It is the same object, with and without options; without the decorator there are none."""

    def plain(self: object, payload: bytes) -> bytes:
        return payload

    assert options_of(plain) is NONE and palm.function(plain) is plain
    assert palm.function(retries=2, backoff=0.5, retry_on=(OSError, ValueError), timeout=3)(plain) is plain
    assert options_of(plain) == Options(
        retries=2, backoff_ns=500_000_000, retry_on=(OSError, ValueError), timeout_ns=3_000_000_000
    )


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"retries": -1}, "'f': retries is -1; a whole number from 0 to 100 is needed"),
    ({"retries": 2.5}, "'f': retries is 2.5; a whole number"),
    ({"backoff": 0}, "'f': backoff is 0; a number of seconds above 0"),
    ({"timeout": "2s"}, "'f': timeout is '2s'; a number of seconds above 0"),
    ({"timeout": float("nan")}, "'f': timeout is nan; a number of seconds"),
    ({"concurrency": 0}, "'f': concurrency is 0; a whole number from 1"),
    ({"batch": True}, "'f': batch is True; a whole number from 1"),
    ({"codec": "yaml"}, "'f': codec is 'yaml'; it takes 'bytes', 'text', 'json', 'pickle'"),
    ({"retry_on": "ValueError"}, "'f': retry_on is 'ValueError'; an exception type is needed"),
    ({"at_most_once": True, "retries": 1}, "'f' has at_most_once and retries=1: it can have one of them"),
]


@pytest.mark.parametrize(("how", "said"), REFUSED, ids=[str(how) for how, _ in REFUSED])
def test_options_out_of_range_are_refused_where_they_are_written(how: dict[str, Any], said: str) -> None:
    """Naming function, option, value and range."""

    def f(self: object, payload: bytes) -> bytes:
        return payload

    with pytest.raises(BadRequest) as caught:
        palm.function(**how)(f)
    assert said in str(caught.value)


def test_a_generator_takes_no_batches() -> None:
    """How its results belong to messages would be anybody's guess."""

    def f(self: object, payloads: list[bytes]) -> Any:
        yield b""

    with pytest.raises(BadRequest, match="'f' has batch=2 and yields"):
        palm.function(batch=2)(f)


class Odd(RegisteredServer):
    def lock(self, payload: Callable[[], None]) -> bytes:
        return b""

    @palm.function(batch=2)
    def one(self, payload: str) -> str:
        return payload

    def unread(self, payload: "Nowhere") -> bytes:  # type: ignore[name-defined]  # noqa: F821, UP037
        return b""


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("lock", "function 'lock': msgspec knows no JSON for"),
        ("one", "function 'one' works on lists: its hint is <class 'str'>; write list"),
        ("unread", "function 'unread': its type hints cannot be read .*Nowhere"),
    ],
)
def test_hints_without_a_codec_are_refused_at_the_start(name: str, said: str) -> None:
    """Before the first message finds out."""
    with pytest.raises(BadRequest, match=said):
        functions_of(Odd(), [name])


class Split(SourceServer):
    def sort(self, number: int) -> tuple[str, int]:
        return ("odd" if number % 2 else "even"), number + 1

    def pair(self, number: int) -> bytes:
        return b"%d" % number


class Meet(SinkServer):
    join = "zip"

    def all(self, parts: tuple[str | None, ...]) -> str:
        return "/".join(part or "-" for part in parts)


def test_named_outputs_and_joined_parts_have_their_types() -> None:
    """The codec is for the payload beside the name, and for each part."""
    assert functions_of(Split(), ["sort"])["sort"](b"3") == ("odd", b"4")
    assert functions_of(Meet(), ["all"])["all"]((b"a", None)) == b"a/-"  # type: ignore[arg-type]  # what a zip gets


class Lined(SinkServer):
    join = "order"

    @palm.function(retries=2)
    def again(self, payload: bytes) -> bytes:
        return payload

    @palm.function(concurrency=4)
    def beside(self, payload: bytes) -> bytes:
        return payload

    @palm.function(concurrency=1, timeout=2, batch=8)
    def kept(self, payloads: list[bytes]) -> list[bytes]:
        return payloads


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("again", "'again' of class Lined has retries=2, which lets later messages go before one that failed.*'order'"),
        ("beside", "'beside' of class Lined has concurrency=4, which runs several messages beside each other.*arrival"),
    ],
)
def test_what_would_break_the_order_of_a_sink_is_refused_at_the_start(name: str, said: str) -> None:
    """With what to do instead; options that keep the order are welcome, and a sink by arrival may have any."""
    with pytest.raises(BadRequest, match=said):
        functions_of(Lined(), [name])
    assert functions_of(Lined(), ["kept"])

    class AsTheyCome(Lined):
        join = "arrival"

    assert functions_of(AsTheyCome(), [name])


def test_bytes_have_nothing_in_between() -> None:
    """A function of bytes is served as it is."""
    caller = Caller()
    assert functions_of(caller, ["asks"])["asks"] == caller.asks


class Caller(RegisteredServer):
    def asks(self, payload: bytes) -> bytes:
        return self._there(payload)

    def _there(self, payload: bytes) -> bytes:
        return self.call("a.b", payload)


def test_who_may_wait_is_known_before_it_does() -> None:
    """Any code of the class that names `call`, however deep; classes without are fast for all PALM knows."""
    assert may_wait(functions_of(Caller(), ["asks"])["asks"])
    assert not may_wait(functions_of(Split(), ["sort"])["sort"])
