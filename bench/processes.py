"""The processes that a workload runs in: PALM's own as a user starts them, and any function of ours as a child.

Everything listens on loopback and ends with the `Fleet` that started it. Knows no workload.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

REPOSITORY = Path(__file__).resolve().parent.parent

END_S = 10.0
"""How long a process gets to end by itself before it is killed."""

ROUND_S = 900.0
"""Longer than any round takes at its full size on a slow machine."""


class Fleet:
    """Processes that live as long as a `with` block."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        # The registry came first and goes last: servers deregister on their way out.
        for process in reversed(self._processes):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """`python arguments`, quiet; its stdout can be read."""
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=REPOSITORY,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._processes.append(process)
        return process

    def registry(self, port: int = 0) -> str:
        """`palm registry`, ready; its endpoint."""
        process = self.start("-m", "palm", "registry", "--port", str(port))
        return _first_line(process).split(" (")[0].rpartition(" ")[2]

    def server(
        self, name: str, etcd: str, target: str = "bench.servers:Bench", *options: str
    ) -> subprocess.Popen[str]:
        """`palm run` of a workload's server, starting: who calls it waits for it."""
        return self.start("-m", "palm", "run", target, "--name", name, "--etcd", etcd, *options)

    def child(self, target: str, **arguments: Any) -> subprocess.Popen[str]:
        """`module:function` of ours, running."""
        return self.start("-m", "bench.child", target, json.dumps(arguments))

    def announcing(self, target: str, **arguments: Any) -> Any:
        """`module:function` of ours that prints one line of JSON once it serves; what it said."""
        return json.loads(_first_line(self.child(target, **arguments)))


def answer_of(process: subprocess.Popen[str]) -> Any:
    """What a child's function returned, once it has. Raises RuntimeError where it came to no end."""
    output, _ = process.communicate(timeout=ROUND_S)
    if process.returncode:
        raise RuntimeError(f"{process.args!r} ended with {process.returncode}; run it by hand to see why")
    return json.loads(output)


def ask(target: str, **arguments: Any) -> Any:
    """Run `module:function` in a process of its own; what it returned."""
    with Fleet() as fleet:
        return answer_of(fleet.child(target, **arguments))


def free_port() -> int:
    """A port of loopback that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def peak_rss_kib(pid: int) -> int:
    """The most memory that a living process had. VmHWM: `getrusage` also counts what was there before `exec`."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    raise RuntimeError(f"process {pid} shows no VmHWM")


def _environment() -> dict[str, str]:
    """Ours, without what would lead a process to another registry."""
    return {key: value for key, value in os.environ.items() if not key.startswith("PALM_")}


def _first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{process.args!r} ended before it was ready; run it by hand to see why")
    return line
