"""The tools of the etcd tests do what they say: members live as long as they should, and the proxy's faults bite."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from palm.wire import etcd as wire
from tests.support.etcd import call, etcd
from tests.support.proxy import proxy_to


def test_a_member_outlives_the_thread_that_restarted_it() -> None:
    """Restarted by a worker thread that is gone, it serves on."""
    with etcd() as cluster:
        (member,) = cluster.members
        worker = threading.Thread(target=member.restart)
        worker.start()
        worker.join()
        assert call(member.endpoint, wire.STATUS, wire.StatusRequest()).version


def test_members_die_with_tests_that_are_killed() -> None:
    """`os._exit` in mid test, as pytest-timeout does it, leaves no etcd behind."""
    code = (
        "import os\nfrom tests.support.etcd import etcd\n"
        "with etcd() as cluster:\n    print(cluster.members[0].pid, flush=True)\n    os._exit(1)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    pid = int(ran.stdout)
    if psutil.pid_exists(pid):
        psutil.Process(pid).wait(timeout=5)


@contextmanager
def echo() -> Iterator[str]:
    """A server that sends back what it gets, one thread for each connection."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(65536):
                    connection.sendall(data)
            except OSError:
                pass  # reset by the proxy

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return  # closed: the test is over
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def connected(endpoint: str) -> socket.socket:
    host, port = endpoint.split(":")
    connection = socket.create_connection((host, int(port)))
    connection.settimeout(0.3)
    return connection


def test_the_proxy_carries_cuts_and_refuses() -> None:
    """A cut is a reset; refusing lasts until resumed."""
    with echo() as target, proxy_to(target) as proxy:
        with connected(proxy.endpoint) as one:
            one.sendall(b"hello")
            assert one.recv(10) == b"hello"
            proxy.cut(refuse=True)
            with pytest.raises(ConnectionResetError):
                one.recv(10)
        with connected(proxy.endpoint) as two, pytest.raises(ConnectionResetError):
            two.recv(10)
        proxy.resume()
        with connected(proxy.endpoint) as three:
            three.sendall(b"again")
            assert three.recv(10) == b"again"


def test_the_proxy_stalls_without_a_reset_and_resumes() -> None:
    """Nothing comes, nothing is lost: what was sent while stalled arrives once it is resumed."""
    with echo() as target, proxy_to(target) as proxy, connected(proxy.endpoint) as one:
        one.sendall(b"a")
        assert one.recv(10) == b"a"
        proxy.stall()
        one.sendall(b"b")
        with pytest.raises(TimeoutError):
            one.recv(10)
        with connected(proxy.endpoint) as two:
            two.sendall(b"c")
            with pytest.raises(TimeoutError):
                two.recv(10)
            proxy.resume()
            assert (one.recv(10), two.recv(10)) == (b"b", b"c")


def test_the_proxy_kills_a_line_for_ever_and_lets_new_ones_pass() -> None:
    """After `stall(new_too=False)` resuming does not bring the old connection back."""
    with echo() as target, proxy_to(target) as proxy, connected(proxy.endpoint) as dead:
        dead.sendall(b"a")
        assert dead.recv(10) == b"a"
        proxy.stall(new_too=False)
        with connected(proxy.endpoint) as new:
            new.sendall(b"b")
            assert new.recv(10) == b"b"
        proxy.resume()
        dead.sendall(b"c")
        with pytest.raises(TimeoutError):
            dead.recv(10)
        assert proxy.held_bytes == 1


def test_the_proxy_resets_at_its_limit() -> None:
    """About so many bytes reach the client, then a reset."""
    with echo() as target, proxy_to(target) as proxy, connected(proxy.endpoint) as one:
        proxy.limit(20_000)
        one.sendall(b"x" * 40_000)
        got = 0
        with pytest.raises(ConnectionResetError):
            while data := one.recv(65536):
                got += len(data)
        assert got <= 20_000 + 4096
        assert proxy.cuts_by_limit == 1
