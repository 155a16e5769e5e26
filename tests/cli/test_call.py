"""`palm call` against a real cluster."""

from __future__ import annotations

import base64
import json
import time

import pytest

from tests.support.cluster import Cluster, cluster, palm
from tests.support.etcd import free_ports


def test_call_prints_the_result_and_nothing_else(letters: Cluster) -> None:
    """The result's bytes go to stdout as they are."""
    done = letters.palm("call", "letters.shout", "hello")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"HELLO", b"")


def test_call_takes_several_stages(letters: Cluster) -> None:
    """`first.f,second.g` is a chained route."""
    assert letters.palm("call", "letters.shout,letters.echo", "hello").stdout == b"HELLO"


def test_call_reads_the_message_from_stdin(letters: Cluster) -> None:
    """`-` stands for stdin, bytes that are no text included."""
    assert letters.palm("call", "letters.echo", "-", stdin=b"\xff\x00\n").stdout == b"\xff\x00\n"


def test_call_prints_one_object_with_json(letters: Cluster) -> None:
    """--json: route, result as text, seconds."""
    value = json.loads(letters.palm("call", "letters.shout", "hello", "--json").stdout)
    assert value.pop("seconds") > 0
    assert value == {"route": ["letters.shout"], "result": {"text": "HELLO"}}


def test_call_with_json_says_bytes_that_are_no_text_in_base64(letters: Cluster) -> None:
    """JSON knows no bytes."""
    value = json.loads(letters.palm("call", "letters.echo", "-", "--json", stdin=b"\xff").stdout)
    assert value["result"] == {"base64": base64.b64encode(b"\xff").decode()}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("letters.shot", "x"), ["'letters' has no function 'shot'", "did you mean 'shout'?", "echo"]),
        (("leters.shout", "x", "--wait", "1"), ["'leters'", "did you mean 'letters'?", "palm run"]),
        (("letters.fail", "x"), ["letters.fail raised KeyError: 'x'", "instance"]),
        (("letters.text", "x"), ["'text' of server 'letters' returned str, bytes are needed"]),
        (("letters.doze", "30", "--timeout", "1.2"), ["no answer from letters.doze within 1.2 s", "busy in doze"]),
    ],
)
def test_an_error_of_a_call_is_one_line(letters: Cluster, arguments: tuple[str, ...], words: list[str]) -> None:
    """What failed, and the way out, on one line of stderr; nothing on stdout; exit code 1."""
    done = letters.palm("call", *arguments)
    said = done.stderr.decode()
    assert (done.returncode, done.stdout, said.count("\n")) == (1, b"", 1)
    assert said.startswith("palm call: ") and all(word in said for word in words), said


def test_a_remote_traceback_is_shown_on_demand(letters: Cluster) -> None:
    """--debug: the traceback of the handler, by the names of its own file."""
    said = letters.palm("call", "letters.fail", "x", "--debug").stderr.decode()
    assert "letters.py" in said and "raise KeyError" in said


@pytest.mark.parametrize(
    "arguments",
    [("letters", "x"), ("letters.echo",), ("letters.echo", "x", "--timeout", "soon"), ("a.b.c", "x"), ("l/r.f", "x")],
)
def test_a_wrong_command_line_ends_with_2(arguments: tuple[str, ...]) -> None:
    """No registry is asked, and no traceback is shown."""
    done = palm("call", *arguments)
    assert done.returncode == 2
    assert b"usage: palm call" in done.stderr and b"Traceback" not in done.stderr


def test_no_registry_is_said_within_the_timeout() -> None:
    """It names the endpoint that was tried and the way out, and does not take longer than it may."""
    endpoint = f"127.0.0.1:{free_ports(1)[0]}"
    begin = time.monotonic()
    done = palm("call", "letters.echo", "x", "--timeout", "1", "--etcd", endpoint)
    assert time.monotonic() - begin < 8  # of which the start of a process may take some, here
    said = done.stderr.decode()
    assert (done.returncode, said.count("\n")) == (1, 1)
    assert endpoint in said and "palm registry" in said


def test_a_call_may_come_before_its_server() -> None:
    """The order of start does not matter: a call that waits is answered once the server is there."""
    with cluster() as made:
        call = made.start("call", "letters.shout", "early", "--wait", "60")
        made.serve()
        assert call.wait() == 0
        assert call.said == "EARLY"
