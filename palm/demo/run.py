"""The demo: a registry, two servers in a chained route, and a client that streams the standard library through them."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from palm.client import Client
from palm.demo.work import Totals, in_one_process, standard_library
from palm.errors import HandlerFailed, NoSuchServer, PalmError, WaitTimeout
from palm.gateway import children
from palm.observe.ledger import Ledger

ROUTE = ["parse.outline", "score.score"]
SERVERS = ("parse", "score")
READY_S = 30.0
"""For two servers to start, or for the next file, on a machine that is busy with other things."""

LOOK_S = 2.0
"""A wait this long is long enough to see whether everybody is still there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """`totals_match`: the cluster and one process alone came to the same figures, file by file."""

    seconds: float
    ledger: Ledger
    totals: Totals
    totals_match: bool

    @property
    def messages(self) -> int:
        return self.ledger.sent

    @property
    def messages_per_s(self) -> float:
        return self.messages / self.seconds

    @property
    def holds(self) -> bool:
        """Whether nothing was lost and nothing was made up."""
        return self.totals_match and self.ledger.adds_up and self.ledger.in_flight == 0


def run_demo(*, progress: bool) -> Report:
    """Start the cluster, do the work in it and again here, compare, and leave no process behind.

    Raises PalmError with what the children said when one of them does not start.
    """
    files = {path: Path(path).read_bytes() for path in standard_library()}
    with cluster() as processes, Client(processes.endpoint) as client:
        _wait_ready(client, processes)  # the start of processes is not what is measured
        totals, ledger, seconds = _stream(client, processes, files, progress)
    return Report(seconds=seconds, ledger=ledger, totals=totals, totals_match=totals == in_one_process(files))


def _wait_ready(client: Client, processes: Processes) -> None:
    """Until both servers have answered."""
    until = time.monotonic() + READY_S
    while True:
        try:
            client.call(ROUTE, b"", timeout=LOOK_S)
            return
        except (NoSuchServer, WaitTimeout):
            processes.check()
            if time.monotonic() > until:
                raise


def _stream(
    client: Client, processes: Processes, files: dict[str, bytes], progress: bool
) -> tuple[Totals, Ledger, float]:
    totals = Totals()
    begin = time.monotonic()
    job = client.job(list(files.values()), ROUTE, ordered=True, errors="yield")
    results = _patiently(client.submit(job, timeout=LOOK_S, progress=progress), processes)
    # Results carry no names: they come in the order of the files.
    for path, result in zip(files, results, strict=True):
        if isinstance(result, HandlerFailed):
            totals.unparsed[path] = result.kind
        elif isinstance(result, PalmError):
            raise result
        else:
            totals.add(path, result)
    return totals, job.ledger, time.monotonic() - begin


def _patiently(results: Iterator[bytes], processes: Processes) -> Iterator[bytes]:
    """The same results; looks after the processes whenever none comes for a while."""
    waits = 0
    while True:
        try:
            result = next(results)
        except StopIteration:
            return
        except WaitTimeout:
            processes.check()
            waits += 1
            if waits > READY_S / LOOK_S:
                raise
        else:
            waits = 0
            yield result


class Processes:
    """The registry and the two servers, and what they said. `stop` is to be called, whatever happens."""

    def __init__(self, said: IO[bytes]) -> None:
        self.endpoint = ""
        self._said = said
        self._started: dict[str, children.Child] = {}

    def start(self) -> None:
        registry = children.start("registry", "--port", "0", stdout=subprocess.PIPE, stderr=self._said)
        self._started["registry"] = registry
        assert registry.stdout is not None, "it was started with a pipe"
        with registry.stdout as lines:
            words = lines.readline().decode().split()
        self.endpoint = next((word for word in words if word.startswith("127.0.0.1:")), "")
        if not self.endpoint:
            registry.wait(children.STOP_S)
            self.check()
        for name in SERVERS:
            script = str(Path(__file__).with_name(f"{name}.py"))
            arguments = ("run", script, "--etcd", self.endpoint)
            self._started[name] = children.start(*arguments, stdout=self._said, stderr=self._said)

    def check(self) -> None:
        """Raises PalmError with its last words when one of them has ended."""
        for name, child in self._started.items():
            code = child.poll()
            if code is not None:
                raise PalmError(f"the demo's process {name!r} ended with code {code}; last words: {self._last_words()}")

    def stop(self) -> None:
        # The servers first: they take leave of the registry.
        children.stop([child for name, child in self._started.items() if name != "registry"])
        children.stop(list(self._started.values()))

    def _last_words(self) -> str:
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "none")


@contextmanager
def cluster() -> Iterator[Processes]:
    """A registry and the two servers, each a process of its own. All are gone at the end."""
    with TemporaryFile() as said:
        processes = Processes(said)
        try:
            processes.start()
            yield processes
        finally:
            processes.stop()
