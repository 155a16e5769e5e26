"""`palm job` against a real cluster."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

from palm.gateway.children import command, environment
from tests.support.cluster import Cluster, palm

NUMBERS = b"".join(b"%d\n" % number for number in range(10))


def piped(letters: Cluster, route: str) -> subprocess.Popen[bytes]:
    """`palm job ROUTE` with all three streams in our hands."""
    words = command("job", route, "--etcd", letters.endpoint)
    pipe = subprocess.PIPE
    return subprocess.Popen(words, env=environment(), stdin=pipe, stdout=pipe, stderr=pipe)


def test_a_job_goes_from_file_to_file(letters: Cluster, tmp_path: Path) -> None:
    """One line, one message; one result, one line; the ledger at the end."""
    (tmp_path / "in").write_bytes(b"alpha\n\nbeta\r\nlast line without an end")
    files = ("--in", str(tmp_path / "in"), "--out", str(tmp_path / "out"))
    done = letters.palm("job", "letters.shout", *files, "--ordered")
    assert (done.returncode, done.stdout) == (0, b"")
    assert (tmp_path / "out").read_bytes() == b"ALPHA\n\nBETA\r\nLAST LINE WITHOUT AN END\n"
    assert b"sent 4  delivered 4  failed 0" in done.stderr


def test_a_job_goes_from_stdin_to_stdout(letters: Cluster) -> None:
    """Without files; through two stages; in order."""
    done = letters.palm("job", "letters.odd,letters.echo", "--ordered", stdin=b"2\n4\n6")
    assert (done.returncode, done.stdout) == (0, b"2\n4\n6\n")


def test_results_come_while_the_source_still_runs(letters: Cluster) -> None:
    """A line that a person types is answered before the next one is typed."""
    with piped(letters, "letters.shout") as job:
        assert job.stdin is not None and job.stdout is not None
        for word in (b"one", b"two"):
            job.stdin.write(word + b"\n")
            job.stdin.flush()
            assert job.stdout.readline() == word.upper() + b"\n"
        job.stdin.close()
        assert job.wait(30) == 0


def test_a_message_that_fails_is_named_and_the_rest_goes_on(letters: Cluster) -> None:
    """errors=yield, the default: a line on stderr for each, with the number of its line; exit code 1."""
    done = letters.palm("job", "letters.odd", "--ordered", stdin=NUMBERS)
    said = done.stderr.decode()
    assert (done.returncode, done.stdout) == (1, b"0\n2\n4\n6\n8\n")
    assert said.count("letters.odd raised ValueError") == 5
    assert "palm job: line 10: letters.odd raised ValueError: 9 is odd" in said
    assert "sent 10  delivered 5  failed 5  expired 0  dead lettered 0  in flight 0" in said


def test_failures_may_be_only_counted(letters: Cluster) -> None:
    """errors=skip: the ledger alone tells of them."""
    done = letters.palm("job", "letters.odd", "--errors", "skip", "--ordered", stdin=NUMBERS)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (1, b"0\n2\n4\n6\n8\n", 1)


def test_the_first_failure_may_end_the_job(letters: Cluster) -> None:
    """errors=raise: one line says which, and the ledger what became of the rest."""
    done = letters.palm("job", "letters.odd", "--errors", "raise", "--ordered", stdin=NUMBERS)
    said = done.stderr.decode()
    assert (done.returncode, done.stdout, said.count("\n")) == (1, b"0\n", 2)
    assert "1 is odd" in said


def test_a_job_with_json_is_one_object(letters: Cluster) -> None:
    """--json without --out: ledger, failures and results in one object on stdout."""
    done = letters.palm("job", "letters.odd", "--ordered", "--json", stdin=b"2\n3\n")
    value = json.loads(done.stdout)
    assert value["ledger"] == {
        "sent": 2, "delivered": 1, "failed": 1, "expired": 0, "dead_lettered": 0, "in_flight": 0,
    }  # fmt: skip
    assert value["results"] == [{"text": "2"}]
    assert [(failure["line"], failure["error"]) for failure in value["failures"]] == [(2, "HandlerFailed")]
    assert (value["route"], value["messages"]) == (["letters.odd"], 2)


def test_json_leaves_results_to_the_file_that_is_named(letters: Cluster, tmp_path: Path) -> None:
    """--json with --out: the object holds no results."""
    done = letters.palm("job", "letters.echo", "--json", "--out", str(tmp_path / "out"), stdin=b"a\n")
    assert "results" not in json.loads(done.stdout)
    assert (tmp_path / "out").read_bytes() == b"a\n"


def test_a_file_that_cannot_be_read_ends_with_2() -> None:
    """One line, before any registry is asked."""
    done = palm("job", "letters.echo", "--in", "no-such-file")
    assert (done.returncode, done.stderr) == (2, b"palm job: no-such-file: No such file or directory\n")


def test_a_reader_that_goes_away_ends_the_job_quietly(letters: Cluster) -> None:
    """`palm job ... | head`: no traceback."""
    with piped(letters, "letters.echo") as job:
        assert job.stdin is not None and job.stdout is not None and job.stderr is not None
        job.stdin.write(b"one\n")
        job.stdin.flush()
        assert job.stdout.readline() == b"one\n"
        job.stdout.close()
        job.stdin.write(b"two\n")
        job.stdin.close()
        said = job.stderr.read()
        assert job.wait(30) == 1
    assert b"Traceback" not in said and b"Exception" not in said, said


def test_ctrl_c_ends_a_job_and_says_how_far_it_came(letters: Cluster) -> None:
    """The ledger is the last word; no traceback, though the source still waits for its terminal."""
    with piped(letters, "letters.echo") as job:
        assert job.stdin is not None and job.stdout is not None and job.stderr is not None
        job.stdin.write(b"one\n")
        job.stdin.flush()
        assert job.stdout.readline() == b"one\n"
        job.send_signal(signal.SIGINT)
        assert job.wait(30) == 130
        said = job.stderr.read().decode()
    assert "sent 1  delivered 1" in said and said.count("\n") == 1, said
