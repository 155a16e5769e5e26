"""The embedded registry, seen from outside: by etcd's own `etcdctl`, by the package `etcd3`, and by the system."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import psutil
import pytest

from palm.gateway.registry import EmbeddedRegistry
from palm.wire import etcd as wire
from tests.support.aio import in_loop
from tests.support.etcd import FLAVOURS, Flavour, binary, call, free_ports, wheel_program

PALM = (sys.executable, "-c", "import sys; from palm.cli.main import main; sys.exit(main())")
TIMEOUT_S = 20


@contextmanager
def palm_registry(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process of `palm registry` and its endpoint, once it says that it is ready."""
    process = subprocess.Popen(
        [*PALM, "registry", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("palm registry is ready on "), line
        yield process, line.split()[5]
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with palm_registry("--port", "0") as (_, endpoint):
        yield endpoint


@pytest.fixture(params=FLAVOURS)
def etcdctl(request: pytest.FixtureRequest, endpoint: str) -> list[str]:
    """The command line of each version's `etcdctl`, on an empty registry."""
    flavour: Flavour = request.param
    program = wheel_program("etcdctl") if flavour == "wheel" else str(Path(binary("debian")).with_name("etcdctl"))
    call(endpoint, wire.DELETE_RANGE, wire.DeleteRangeRequest(key=b"\0", range_end=b"\0"))
    return [program, f"--endpoints={endpoint}"]


def run(etcdctl: list[str], *arguments: str, stdin: str = "", code: int = 0) -> str:
    """What it prints; on failure, what it complains of."""
    done = subprocess.run(
        [*etcdctl, *arguments],
        input=stdin,
        env={**os.environ, "ETCDCTL_API": "3"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == code, done.stderr
    return done.stderr if code else done.stdout


@contextmanager
def watching(etcdctl: list[str], *arguments: str) -> Iterator[Iterator[str]]:
    """The lines that `etcdctl watch` prints, as they come."""
    process = subprocess.Popen(
        [*etcdctl, "watch", *arguments], env={**os.environ, "ETCDCTL_API": "3"}, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield (line.rstrip("\n") for line in process.stdout)
    finally:
        process.kill()
        process.communicate()


# -- etcdctl -----------------------------------------------------------------------------------------------------------


def test_etcdctl_puts_gets_and_deletes(etcdctl: list[str]) -> None:
    """Keys, prefixes, versions, and a read of the past."""
    run(etcdctl, "put", "dir/a", "1")
    run(etcdctl, "put", "dir/a", "2")
    run(etcdctl, "put", "dir/b", "3")
    assert run(etcdctl, "get", "--prefix", "dir/") == "dir/a\n2\ndir/b\n3\n"
    answer = json.loads(run(etcdctl, "get", "dir/a", "--write-out=json"))
    (kv,) = answer["kvs"]
    assert kv["version"] == 2
    assert run(etcdctl, "get", "dir/a", f"--rev={kv['create_revision']}") == "dir/a\n1\n"
    assert run(etcdctl, "del", "--prefix", "dir/") == "2\n"
    assert run(etcdctl, "get", "--prefix", "dir/") == ""


def test_etcdctl_runs_the_branch_that_its_guard_chooses(etcdctl: list[str]) -> None:
    """A transaction by way of etcd's own encoding."""
    guarded = 'version("k") = "0"\n\nput k created\n\nget k\n\n'
    assert run(etcdctl, "txn", stdin=guarded) == "SUCCESS\n\nOK\n"
    assert run(etcdctl, "txn", stdin=guarded) == "FAILURE\n\nk\ncreated\n"


def test_etcdctl_watches_what_was_and_what_comes(etcdctl: list[str]) -> None:
    """History from a revision on, then puts and deletes as they happen."""
    first = json.loads(run(etcdctl, "put", "w/a", "1", "--write-out=json"))["header"]["revision"]
    with watching(etcdctl, "--prefix", "w/", f"--rev={first}") as lines:
        assert [next(lines) for _ in range(3)] == ["PUT", "w/a", "1"]
        run(etcdctl, "put", "w/b", "2")
        run(etcdctl, "del", "w/a")
        assert [next(lines) for _ in range(6)] == ["PUT", "w/b", "2", "DELETE", "w/a", ""]


def test_etcdctl_sees_a_key_go_when_its_lease_has_run_out(etcdctl: list[str]) -> None:
    """Not before its ttl, and without anybody asking."""
    begun = time.monotonic()
    lease = run(etcdctl, "lease", "grant", "2").split()[1]
    first = json.loads(run(etcdctl, "put", "held", "x", f"--lease={lease}", "--write-out=json"))["header"]["revision"]
    assert "attached keys([held])" in run(etcdctl, "lease", "timetolive", lease, "--keys")
    assert lease in run(etcdctl, "lease", "list")
    with watching(etcdctl, "held", f"--rev={first}") as lines:
        assert [next(lines) for _ in range(5)] == ["PUT", "held", "x", "DELETE", "held"]
        assert time.monotonic() - begun >= 2.0
    assert "already expired" in run(etcdctl, "lease", "timetolive", lease)


def test_etcdctl_keeps_a_lease_alive_and_revokes_it(etcdctl: list[str]) -> None:
    """The revoked lease takes its key along."""
    lease = run(etcdctl, "lease", "grant", "60").split()[1]
    run(etcdctl, "put", "held", "x", f"--lease={lease}")
    assert "keepalived with TTL(60)" in run(etcdctl, "lease", "keep-alive", "--once", lease)
    assert "revoked" in run(etcdctl, "lease", "revoke", lease)
    assert run(etcdctl, "get", "held") == ""


def test_etcdctl_locks_with_it(etcdctl: list[str]) -> None:
    """etcd's own recipe of leases, transactions and watches works on it."""
    assert run(etcdctl, "lock", "mutex", "echo", "held") == "held\n"


def test_etcdctl_finds_a_healthy_member(etcdctl: list[str], endpoint: str) -> None:
    """Status, health and member list, and credentials that nobody asked for."""
    (status,) = json.loads(run(etcdctl, "endpoint", "status", "--cluster", "--write-out=json"))
    assert status["Endpoint"] == f"http://{endpoint}"
    assert status["Status"]["leader"] == status["Status"]["header"]["member_id"]
    run(etcdctl, "endpoint", "health")
    assert endpoint in run(etcdctl, "member", "list")
    run(etcdctl, "--user=somebody:secret", "put", "k", "v")


def test_etcdctl_is_refused_in_etcd_s_words(etcdctl: list[str]) -> None:
    """Its clients match on these texts."""
    assert "etcdserver: requested lease not found" in run(etcdctl, "put", "k", "v", "--lease=1234", code=1)
    revision = json.loads(run(etcdctl, "put", "k", "v", "--write-out=json"))["header"]["revision"]
    run(etcdctl, "compact", str(revision))
    compacted = "etcdserver: mvcc: required revision has been compacted"
    assert compacted in run(etcdctl, "get", "k", f"--rev={revision - 1}", code=1)
    assert compacted in run(etcdctl, "watch", "k", f"--rev={revision - 1}", code=5)


# -- etcd3 -------------------------------------------------------------------------------------------------------------

ETCD3_SCRIPT = """
import sys, etcd3
host, port = sys.argv[1].split(":")
client = etcd3.client(host=host, port=int(port))
events, cancel = client.watch_prefix("e3/")
client.put("e3/a", "1")
assert client.get("e3/a")[0] == b"1"
assert [value for value, _ in client.get_prefix("e3/")] == [b"1"]
lease = client.lease(60)
client.put("e3/leased", "2", lease=lease)
assert lease.refresh()[0].TTL == 60
assert lease.keys == [b"e3/leased"]
lease.revoke()
assert client.get("e3/leased") == (None, None)
assert client.delete("e3/a")
done, _ = client.transaction(
    compare=[client.transactions.version("e3/t") == 0], success=[client.transactions.put("e3/t", "3")], failure=[]
)
assert done
seen = [(type(event).__name__, event.key) for _, event in zip(range(5), events)]
cancel()
assert client.status().leader.name == "palm"
client.close()
print(seen)
"""


def test_etcd3_puts_watches_and_leases(endpoint: str) -> None:
    """The client that PALM's users know, in a process of its own: it wants protobuf's Python implementation."""
    done = subprocess.run(
        [sys.executable, "-c", ETCD3_SCRIPT, endpoint],
        env={**os.environ, "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(
        [
            ("PutEvent", b"e3/a"),
            ("PutEvent", b"e3/leased"),
            ("DeleteEvent", b"e3/leased"),
            ("DeleteEvent", b"e3/a"),
            ("PutEvent", b"e3/t"),
        ]
    )


# -- limits ------------------------------------------------------------------------------------------------------------


def test_value_over_etcd_s_limit_is_refused(endpoint: str) -> None:
    """1.5 MiB for a request; what is larger than any request may be is not even read."""
    for size, code in ((1_572_864, grpc.StatusCode.INVALID_ARGUMENT), (2_200_000, grpc.StatusCode.RESOURCE_EXHAUSTED)):
        with pytest.raises(grpc.RpcError) as caught:
            call(endpoint, wire.PUT, wire.PutRequest(key=b"big", value=b"x" * size))
        assert caught.value.code() is code


def test_operation_that_says_nothing_is_refused(endpoint: str) -> None:
    """With etcd's answer to it."""
    with pytest.raises(grpc.RpcError) as caught:
        call(endpoint, wire.TXN, wire.TxnRequest(success=[wire.RequestOp()]))
    assert caught.value.details() == "etcdserver: key not found"


def test_method_that_is_not_there_is_unimplemented(endpoint: str) -> None:
    """Nobody waits for an answer that does not come."""
    with grpc.insecure_channel(endpoint) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/etcdserverpb.Maintenance/Defragment", bytes, bytes)(b"", timeout=TIMEOUT_S)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


# -- the process -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_it_cleanly_under_an_open_watch(number: signal.Signals) -> None:
    """Exit code 0 at once, nothing on stderr, and the port is free again."""
    with palm_registry("--port", "0") as (process, endpoint):
        with grpc.insecure_channel(endpoint) as channel:
            stub = channel.stream_stream(
                wire.WATCH.path,
                request_serializer=wire.WATCH.serialize,
                response_deserializer=wire.WATCH.parse_response,
            )
            answers = stub(iter([wire.WatchRequest(create_request=wire.WatchCreateRequest(key=b"a"))]))
            assert next(iter(answers)).created
            process.send_signal(number)
            assert process.wait(timeout=5) == 0
        assert process.stderr is not None and process.stderr.read() == ""
        socket.create_server(("127.0.0.1", int(endpoint.rpartition(":")[2]))).close()


def test_taken_port_is_one_clear_line_and_exit_code_1() -> None:
    """Two registries never share a port, as gRPC would let them by default."""
    with palm_registry("--port", "0") as (_, endpoint):
        port = endpoint.rpartition(":")[2]
        done = subprocess.run([*PALM, "registry", "--port", port], capture_output=True, text=True, timeout=TIMEOUT_S)
    assert (done.returncode, done.stdout) == (1, "")
    said = f"palm registry: port {port} on 127.0.0.1 is taken: stop what has it, or give another --port\n"
    assert done.stderr == said


def test_it_is_ready_soon() -> None:
    """At most half a second of processor time from nothing to the first answer, so that a demo need not wait."""
    with palm_registry("--port", "0") as (process, endpoint):
        call(endpoint, wire.PUT, wire.PutRequest(key=b"k"))
        spent = psutil.Process(process.pid).cpu_times()
        assert spent.user + spent.system < 0.5


@in_loop
async def test_registry_in_this_process_frees_its_port_when_it_is_closed() -> None:
    """Closing twice is harmless; a second one on the port fails while the first lives, and starts after."""
    (port,) = free_ports(1)
    first, second, third = EmbeddedRegistry(), EmbeddedRegistry(), EmbeddedRegistry()
    assert await first.start("127.0.0.1", port) == port
    with pytest.raises(OSError, match=f"port {port} on 127.0.0.1 is taken"):
        await second.start("127.0.0.1", port)
    await second.aclose()
    await first.aclose()
    await first.aclose()
    assert await third.start("127.0.0.1", port) == port
    await third.aclose()


@in_loop
async def test_address_that_is_not_ours_is_said_to_be_so() -> None:
    """The system's own reason reaches the user."""
    with pytest.raises(OSError, match=r"cannot listen on 192\.0\.2\.1:0"):
        await EmbeddedRegistry().start("192.0.2.1", 0)
