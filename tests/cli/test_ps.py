"""`palm ps` against a real cluster."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from palm.cli.main import main
from palm.cli.ps import age
from tests.support.cluster import Cluster, cluster, palm, wait_until
from tests.support.etcd import free_ports

PRIMES = str(Path(__file__).parents[2] / "examples" / "parallel" / "primes.py")


def test_ps_lists_who_lives(letters: Cluster) -> None:
    """--json: one entry an instance, with what it serves, where, since when and how it stands."""
    [entry] = json.loads(letters.palm("ps", "--json").stdout)
    assert (entry["server"], entry["host"], entry["state"]) == ("letters", socket.gethostname(), "idle")
    assert "shout" in entry["functions"] and entry["address"].startswith("tcp://127.0.0.1:")
    assert (entry["in_flight"], entry["failed"], entry["rate_per_s"]) == (0, 0, 0)
    assert 0 < entry["age_s"] < 120 and entry["pid"] > 1


def test_ps_prints_a_table_for_people(letters: Cluster) -> None:
    """Without --json; through a pipe nothing is cut."""
    said = letters.palm("ps").stdout.decode()
    assert "in flight" in said and "letters" in said and "shout" in said and "idle" in said


def test_ps_says_when_nobody_lives() -> None:
    """An empty list, and a hint for people; that is no error."""
    with cluster() as made:
        assert json.loads(made.palm("ps", "--json").stdout) == []
        done = made.palm("ps")
        assert (done.returncode, done.stdout) == (0, b"")
        assert b"no server is registered in namespace 'palm'" in done.stderr


def test_ps_shows_other_namespaces_not_at_all(letters: Cluster) -> None:
    """A namespace is a cluster of its own."""
    assert json.loads(letters.palm("ps", "--json", "--namespace", "elsewhere").stdout) == []


def test_ps_shows_a_working_and_a_silent_instance_as_they_are() -> None:
    """One is busy in a function for some time, the other was stopped: nothing is made up about it."""
    with cluster() as made:
        busy, stopped = made.serve("--name", "busy"), made.serve("--name", "stopped")
        made.start("call", "busy.nap", "60")
        os.kill(stopped.pid, signal.SIGSTOP)
        try:
            wait_until(lambda: _state(made, "busy") == "busy", 20, lambda: "it never was busy")
            entries = {entry["server"]: entry for entry in json.loads(made.palm("ps", "--json").stdout)}
            table = made.palm("ps").stdout.decode()
        finally:
            os.kill(stopped.pid, signal.SIGCONT)
        assert entries["busy"]["in_flight"] == 1 and "in nap for" in entries["busy"]["detail"]
        assert busy.pid == entries["busy"]["pid"]
        # Its lease lasts for some seconds: then it is not listed any more, which is as true.
        if "stopped" in entries:
            assert entries["stopped"]["state"] == "unreachable" and entries["stopped"]["in_flight"] is None
            assert "silent for" in entries["stopped"]["detail"]
        assert "busy" in table


def test_ps_shows_a_stopped_instance_as_unreachable() -> None:
    """It holds its lease still, and answers nobody."""
    with cluster() as made:
        stopped = made.serve()
        os.kill(stopped.pid, signal.SIGSTOP)
        [entry] = json.loads(made.palm("ps", "--json").stdout)
        assert (entry["state"], entry["in_flight"], entry["rate_per_s"]) == ("unreachable", None, None)
        assert "not to be reached at" in entry["detail"] and entry["silent_s"] >= 1.5


STUCK = """
import re, sys
from palm import RegisteredServer, run_server

class Stuck(RegisteredServer):
    def search(self, message):
        print("searching", file=sys.stderr, flush=True)
        return b"%r" % re.match(r"(a+)+$", "a" * 40 + "b")  # for years, in C, without giving up the GIL

run_server(Stuck, "stuck")
"""


def test_ps_tells_a_stuck_instance_from_one_that_cannot_be_reached(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its process answers the heartbeats of the wire, and nothing that Python would have to say."""
    script = tmp_path / "stuck.py"
    script.write_text(STUCK)
    with cluster() as made:
        server = made.serve(script=str(script))
        made.start("call", "stuck.search", "x")
        server.wait_for("searching")
        # Here: it has a lease's few seconds left, which a new process may need to start on a busy machine.
        assert main(["ps", "--json", "--etcd", made.endpoint]) == 0
        [entry] = json.loads(capsys.readouterr().out)
        assert entry["state"] == "stuck" and "holds the GIL" in entry["detail"]


def test_ps_shows_who_leads() -> None:
    """Role and term of each instance of a parallel server."""
    with cluster() as made:
        for _ in range(2):
            made.serve(script=PRIMES)
        roles: list[dict[str, Any]] = []

        def settled() -> bool:
            roles[:] = json.loads(made.palm("ps", "--json").stdout)
            return sorted(entry["role"] for entry in roles) == ["leader", "worker"]

        wait_until(settled, 20, lambda: f"roles are {roles}")
        assert [entry["term"] > 0 for entry in sorted(roles, key=lambda entry: str(entry["role"]))] == [True, False]
        assert "leader (term " in made.palm("ps").stdout.decode()


def test_ps_without_a_registry_is_one_line() -> None:
    """The endpoint, and the way out; exit code 1."""
    endpoint = f"127.0.0.1:{free_ports(1)[0]}"
    done = palm("ps", "--etcd", endpoint)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (1, b"", 1)
    assert endpoint.encode() in done.stderr


def test_ages_are_said_in_the_unit_that_fits() -> None:
    """Two units at most."""
    assert [age(seconds) for seconds in (0.4, 59, 200, 18_130, 187_300)] == ["0s", "59s", "3m20s", "5h02m", "2d04h"]


def _state(made: Cluster, server: str) -> str:
    entries = json.loads(made.palm("ps", "--json").stdout)
    return next((str(entry["state"]) for entry in entries if entry["server"] == server), "")
