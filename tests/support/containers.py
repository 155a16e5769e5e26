"""Containers under test: an engine that answers, images made here, and etcd members that can be killed and frozen.

Fixed host ports on the loopback address, so that an endpoint stays where it is across a member's restart. Nothing here
knows PALM; `etcdctl` inside of each member is the witness that owes it nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from base64 import b64decode
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

# The reaper is an image that cannot be pulled here; every container below is removed by its own `with`.
os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")

from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network

TOOLS = Path(__file__).resolve().parents[2] / "tools"
CLIENT_PORT = 2379
# Below the kernel's ephemeral range: nobody else is handed a member's port while the member is down.
HOST_PORTS = iter(range(21_000 + os.getpid() % 5_000, 32_000))


def engine_answers() -> bool:
    return shutil.which("docker") is not None and _succeeds("docker", "info")


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@contextmanager
def engine() -> Iterator[None]:
    """An engine that answers: the one that runs, or else one started here and ended after.

    Skips only where no engine is installed and this is not CI; where one is installed but cannot be had, it fails.
    """
    if engine_answers():
        yield
        return
    if shutil.which("dockerd") is None and os.environ.get("CI") != "true":
        pytest.skip("no container engine is installed here; `bash .ci/run` installs and starts one")
    with TemporaryDirectory() as folder:
        pid_file = Path(folder, "dockerd.pid")
        command = ["bash", str(TOOLS / "start_engine.sh"), str(pid_file)]
        started = subprocess.run(command, capture_output=True, text=True, check=False)
        try:
            if started.returncode != 0:
                pytest.fail(f"no container engine answers, and none could be started (see .ci/run): {started.stderr}")
            yield
        finally:
            if pid_file.exists():
                _end(int(pid_file.read_text()))


def _end(pid: int) -> None:
    """Ask a process that is not our child to stop, and see it gone."""
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 30
    while _runs(pid) and time.monotonic() < deadline:
        time.sleep(0.1)


def _runs(pid: int) -> bool:
    try:
        # Where nobody collects orphans, one that has ended stays behind as a zombie.
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


@cache
def etcd_image() -> str:
    return _made_by("make_etcd_image.py")


@cache
def python_image() -> str:
    return _made_by("make_python_image.py")


def _made_by(script: str) -> str:
    made = subprocess.run([sys.executable, TOOLS / script], capture_output=True, text=True, check=False)
    assert made.returncode == 0, f"{script} failed: {made.stderr}"
    return made.stdout.strip()


def free_port() -> int:
    for port in HOST_PORTS:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port below 32000")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One change as `etcdctl watch` prints it; `value` is empty for a delete."""

    revision: int
    deleted: bool
    key: str
    value: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    name: str
    port: int
    container: DockerContainer

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def state(self) -> str:
        """The engine's word: "running", "paused" or "exited"."""
        wrapped = self.container.get_wrapped_container()
        wrapped.reload()
        return str(wrapped.status)

    @property
    def started_at(self) -> str:
        """When its present life began, by the engine."""
        wrapped = self.container.get_wrapped_container()
        wrapped.reload()
        return str(wrapped.attrs["State"]["StartedAt"])

    @property
    def term(self) -> int:
        """The raft term it is in: one more for each election."""
        return int(json.loads(self.etcdctl("endpoint", "status", "--write-out", "json"))[0]["Status"]["raftTerm"])

    def kill(self) -> None:
        """SIGKILL; what it had written to its disk stays."""
        self.container.get_wrapped_container().kill()
        self.container.get_wrapped_container().wait()

    def start(self) -> None:
        self.container.get_wrapped_container().start()

    def pause(self) -> None:
        """Every process in it stops where it is; its connections stay open and silent."""
        self.container.get_wrapped_container().pause()

    def unpause(self) -> None:
        self.container.get_wrapped_container().unpause()

    def restart(self) -> None:
        """SIGTERM, wait for its end, start."""
        self.container.get_wrapped_container().restart(timeout=10)

    def healthy(self) -> bool:
        """It answers, and a write through it reaches a quorum."""
        try:
            with urllib.request.urlopen(f"{self.endpoint}/health", timeout=2) as answer:
                return bool(json.load(answer)["health"] == "true")
        except (OSError, ValueError, KeyError):
            return False

    def wait_healthy(self, within_s: float = 30.0) -> None:
        deadline = time.monotonic() + within_s
        while not self.healthy():
            if time.monotonic() > deadline:
                logs = self.container.get_wrapped_container().logs(tail=20).decode(errors="replace")
                raise AssertionError(f"etcd member {self.name} ({self.state}) not healthy in {within_s} s:\n{logs}")
            time.sleep(0.05)

    def etcdctl(self, *arguments: str) -> str:
        """What etcd's own client says, run inside the member."""
        done = subprocess.run(self._exec(*arguments), capture_output=True, text=True, check=False, timeout=30)
        assert done.returncode == 0, f"etcdctl {arguments}: {done.stderr}"
        return done.stdout

    def _exec(self, *arguments: str) -> list[str]:
        return ["docker", "exec", self.container.get_container_id(), "/bin/etcdctl", *arguments]

    def history(self, prefix: str, until_key: str, within_s: float = 60.0) -> list[Event]:
        """Every change below `prefix` from revision 1 to the first put of `until_key`, by `etcdctl watch`."""
        command = self._exec("watch", "--prefix", prefix, "--rev", "1", "--write-out", "json")
        # `timeout` bounds a watch that never shows the key; inside the container etcdctl ends with its closed output.
        with subprocess.Popen(["timeout", str(within_s), *command], stdout=subprocess.PIPE, text=True) as watching:
            assert watching.stdout is not None, "asked for as a pipe"
            events: list[Event] = []
            try:
                for line in watching.stdout:
                    for event in _events_of(line):
                        events.append(event)
                        if event.key == until_key:
                            return events
            finally:
                watching.terminate()
        raise AssertionError(f"{until_key!r} is not in the history after {within_s} s and {len(events)} events")


def _events_of(line: str) -> Iterator[Event]:
    """One answer of a watch; its JSON leaves out what is zero: the type of a put, an empty value."""
    for event in json.loads(line).get("Events") or ():
        kv = event["kv"]
        yield Event(
            revision=kv["mod_revision"],
            deleted=event.get("type") == 1,
            key=b64decode(kv["key"]).decode(),
            value=b64decode(kv.get("value", "")),
        )


@contextmanager
def etcd_members(*names: str) -> Iterator[Sequence[Member]]:
    """One etcd cluster, a member a container, on a network of their own; removed with all they hold at the end."""
    with Network() as network, etcd_members_on(network, *names) as members:
        yield members


@contextmanager
def etcd_members_on(network: Network, *names: str) -> Iterator[Sequence[Member]]:
    """The same on a network that is there, where each answers at `http://NAME:2379`."""
    cluster = ",".join(f"{name}=http://{name}:2380" for name in names)
    with ExitStack() as stack:
        members = [_enter_member(stack, network, name, cluster) for name in names]
        for member in members:
            member.wait_healthy()
        yield members


def _enter_member(stack: ExitStack, network: Network, name: str, cluster: str) -> Member:
    port = free_port()
    container = DockerContainer(etcd_image()).with_network(network).with_network_aliases(name)
    container.with_command([
        f"--name={name}", "--data-dir=/data", "--logger=zap", "--log-level=warn",
        "--listen-client-urls=http://0.0.0.0:2379", f"--advertise-client-urls=http://{name}:2379",
        "--listen-peer-urls=http://0.0.0.0:2380", f"--initial-advertise-peer-urls=http://{name}:2380",
        f"--initial-cluster={cluster}", "--initial-cluster-state=new",
        # A paused member is missed after a second; each is given time on a shared machine.
        "--heartbeat-interval=100", "--election-timeout=1000",
    ])  # fmt: skip
    bind_to_loopback(container, CLIENT_PORT, port)
    stack.enter_context(container)
    return Member(name=name, port=port, container=container)


def bind_to_loopback(container: DockerContainer, inside: int, outside: int) -> None:
    """Publish a port on 127.0.0.1 only; testcontainers' own method would listen on every address."""
    ports: dict[str, object] = container.ports  # type: ignore[assignment]  # the engine's client takes pairs as well
    ports[f"{inside}/tcp"] = ("127.0.0.1", outside)
