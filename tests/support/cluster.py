"""A real cluster of processes on free loopback ports: a registry, `palm run` processes, and the `palm` command.

Every process is gone at the end, however the test ended.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal

import psutil

from palm.gateway.children import command, environment
from tests.support.etcd import FLAVOURS, Flavour, etcd

LETTERS = str(Path(__file__).with_name("letters.py"))
START_S = 30.0
"""For a process on two cores that others use, too."""


class Running:
    """One process of the cluster; what it says on both streams is kept."""

    def __init__(self, words: list[str], folder: Path, number: int) -> None:
        self._log = folder / f"{number}.log"
        with open(self._log, "wb") as log:
            self.process = subprocess.Popen(
                words,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def said(self) -> str:
        return self._log.read_text(errors="replace")

    def wait_for(self, text: str, times: int = 1, within_s: float = START_S) -> str:
        """Until it has said `text` that often; all it said."""
        wait_until(
            lambda: self.said.count(text) >= times or self.process.poll() is not None,
            within_s,
            lambda: f"{text!r} was not said: {self.said}",
        )
        assert self.said.count(text) >= times, f"it ended with {self.process.returncode}: {self.said}"
        return self.said

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def wait(self, within_s: float = START_S) -> int:
        """Its exit code."""
        return self.process.wait(within_s)

    def kill(self) -> None:
        """SIGKILL; harmless when it is gone."""
        self.process.kill()
        self.process.wait()


class Cluster:
    def __init__(self, folder: Path, endpoint: str) -> None:
        self.endpoint = endpoint
        self.registry: Running | None = None
        """The process of the embedded one; None for an etcd."""
        self._folder = folder
        self._started: list[Running] = []

    def start(self, *arguments: str, script: str = "") -> Running:
        """`palm ARGUMENTS`, or `python SCRIPT ARGUMENTS`, against this cluster's registry."""
        words = [sys.executable, script, *arguments] if script else command(*arguments)
        if self.endpoint:
            words += ["--etcd", self.endpoint]
        running = Running(words, self._folder, len(self._started))
        self._started.append(running)
        return running

    def serve(self, *options: str, script: str = LETTERS) -> Running:
        """`palm run SCRIPT OPTIONS`, once it serves."""
        running = self.start("run", script, *options)
        running.wait_for("serves at")
        return running

    def palm(self, *arguments: str, stdin: bytes = b"", within_s: float = 60.0) -> subprocess.CompletedProcess[bytes]:
        """`palm ARGUMENTS` to its end."""
        return palm(*arguments, "--etcd", self.endpoint, stdin=stdin, within_s=within_s)

    def end(self) -> None:
        for running in reversed(self._started):
            workers = psutil.Process(running.pid).children(recursive=True) if running.process.poll() is None else []
            running.kill()
            for worker in workers:
                if worker.is_running():
                    worker.kill()
            psutil.wait_procs(workers)


def palm(*arguments: str, stdin: bytes = b"", within_s: float = 60.0) -> subprocess.CompletedProcess[bytes]:
    """The `palm` command to its end."""
    return subprocess.run(
        command(*arguments), env=environment(), input=stdin, capture_output=True, timeout=within_s
    )


@contextmanager
def cluster(registry: Literal["embedded"] | Flavour = "embedded") -> Iterator[Cluster]:
    """A registry (`palm registry`, or a real etcd) and nothing else yet."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="palm-cluster-")))
        if registry in FLAVOURS:
            made = Cluster(folder, stack.enter_context(etcd(registry)).endpoints[0])
            stack.callback(made.end)
        else:
            made = Cluster(folder, "")
            stack.callback(made.end)
            made.registry = made.start("registry", "--port", "0")
            ready = made.registry.wait_for("is ready on")
            made.endpoint = ready.partition("is ready on ")[2].split()[0]
        yield made


def wait_until(condition: Callable[[], bool], within_s: float, otherwise: Callable[[], str]) -> None:
    """Look again and again until it holds; fails with `otherwise()` after `within_s`."""
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, otherwise()
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A zombie of somebody else's is no process any more.
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state != "Z"
