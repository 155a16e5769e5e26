"""`palm run` as real processes: start, drain, stop at once, workers, and what does not start."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from palm import Client
from tests.support.cluster import LETTERS, Cluster, cluster, palm, wait_until


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import no_such_module\n", ["ModuleNotFoundError", "no_such_module", "line 1"]),
        ("def broken(:\n", ["SyntaxError", "line 1"]),
        ("x = 1\n", ["0 server classes", "run_server"]),
        ("from palm import RegisteredServer\nclass S(RegisteredServer): pass\n", ["offers no function"]),
    ],
)
def test_a_file_that_holds_no_server_is_said_in_one_line(tmp_path: Path, text: str, words: list[str]) -> None:
    """A server.py that does not import, or serves nothing: file, line and cause, and no traceback."""
    path = tmp_path / "server.py"
    path.write_text(text)
    done = palm("run", str(path), "--etcd", "127.0.0.1:1")
    said = done.stderr.decode()
    assert done.returncode in (1, 2) and said.count("\n") == 1, said
    assert all(word in said for word in words), said


def test_a_script_runs_as_palm_run_does() -> None:
    """`python server.py run` and `palm run server.py` are two instances of one server, with the same functions."""
    with cluster() as made:
        made.serve()
        made.start("run", script=LETTERS).wait_for("serves at")
        with Client(made.endpoint) as client:
            first, second = client.instances()
        assert first.functions == second.functions and first.server == second.server == "letters"
        assert first.peer != second.peer


def test_ctrl_c_drains() -> None:
    """What was taken is finished and handed over, the instance takes leave of the registry, and the exit code is 0."""
    with cluster() as made:
        server = made.serve()
        call = made.start("call", "letters.nap", "2")
        _wait_in_flight(made, 1)
        server.interrupt()
        assert server.wait() == 0
        assert "drains: 1 in flight" in server.said and server.said.rstrip().endswith("is drained")
        assert call.wait() == 0 and call.said == "2"
        with Client(made.endpoint) as client:
            assert client.instances() == []


def test_a_second_ctrl_c_stops_at_once() -> None:
    """Who does not want to wait for a long call need not."""
    with cluster() as made:
        server = made.serve()
        made.start("call", "letters.nap", "60")
        _wait_in_flight(made, 1)
        server.interrupt()
        server.wait_for("drains: 1 in flight")
        begin = time.monotonic()
        server.interrupt()
        assert server.wait() == 130
        assert time.monotonic() - begin < 10 and "stopped at once" in server.said


def test_a_drain_that_takes_too_long_is_given_up() -> None:
    """After --drain seconds the process ends with code 3 and says so."""
    with cluster() as made:
        server = made.serve("--drain", "1")
        made.start("call", "letters.nap", "60")
        _wait_in_flight(made, 1)
        server.interrupt()
        assert server.wait() == 3
        assert "gave up draining after 1 s" in server.said


def test_a_dead_worker_is_started_again() -> None:
    """--workers 2: the supervisor says why one ended and after which pause another starts; Ctrl-C drains them all."""
    with cluster() as made:
        supervisor = made.start("run", LETTERS, "--workers", "2")
        supervisor.wait_for("serves at", times=2)
        victim, other = psutil.Process(supervisor.pid).children()
        victim.kill()
        supervisor.wait_for("serves at", times=3)
        assert f"(pid {victim.pid}) was killed by SIGKILL" in supervisor.said
        assert "a new one starts in 0.5 s" in supervisor.said
        workers = psutil.Process(supervisor.pid).children()
        assert other in workers and len(workers) == 2
        with Client(made.endpoint) as client:
            assert client.call("letters.shout", b"x") == b"X"
        supervisor.interrupt()
        assert supervisor.wait() == 0
        assert supervisor.said.count("is drained") == 2 and not any(worker.is_running() for worker in workers)


def test_a_worker_that_keeps_dying_is_started_less_and_less_often(tmp_path: Path) -> None:
    """The pause doubles from one death to the next."""
    path = tmp_path / "server.py"
    path.write_text(
        "import os, threading\nfrom palm import RegisteredServer, run_server\n"
        "class S(RegisteredServer):\n"
        "    def __init__(self): threading.Timer(0.2, os._exit, [9]).start()\n"
        "    def f(self, message): return message\n"
        "run_server(S, 's', ['f'])\n"
    )
    with cluster() as made:
        supervisor = made.start("run", str(path), "--workers", "2")
        said = supervisor.wait_for("starts in 1 s")
        assert "exited with code 9" in said and "starts in 0.5 s" in said
        supervisor.interrupt()
        supervisor.wait()


def test_a_killed_supervisor_takes_its_workers_along() -> None:
    """SIGKILL runs no code of ours: the kernel tells the workers, who drain."""
    with cluster() as made:
        supervisor = made.start("run", LETTERS, "--workers", "2")
        supervisor.wait_for("serves at", times=2)
        workers = psutil.Process(supervisor.pid).children()
        os.kill(supervisor.pid, signal.SIGKILL)
        supervisor.process.wait()
        assert psutil.wait_procs(workers, timeout=30)[1] == []


def test_an_option_that_makes_no_sense_ends_with_2() -> None:
    """One line of usage, no traceback."""
    done = palm("run", LETTERS, "--workers", "0")
    assert done.returncode == 2 and b"not a number from 1 to 1024" in done.stderr


def test_a_registry_that_is_not_there_is_said() -> None:
    """A server does not start without one; it names what it tried."""
    done = palm("run", LETTERS, "--etcd", "127.0.0.1:1")
    assert done.returncode == 1 and done.stderr.count(b"\n") == 1
    assert b"127.0.0.1:1" in done.stderr


def _wait_in_flight(made: Cluster, count: int) -> None:
    """Until the instances say that they have taken that many."""
    with Client(made.endpoint) as client:
        wait_until(
            lambda: sum(standing.pong.in_flight for standing in client.survey() if standing.pong) == count,
            20,
            lambda: f"never {count} in flight",
        )


