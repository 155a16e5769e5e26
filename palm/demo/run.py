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
from palm.errors import HandlerFailed, PalmError
from palm.gateway import children
from palm.observe.ledger import Ledger

ROUTE = ["parse.outline", "score.score"]
SERVERS = ("parse", "score")
READY_S = 30.0
"""For two servers on a machine that is busy with other things."""


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
    with cluster() as endpoint, Client(endpoint, ready_timeout=READY_S) as client:
        client.call(ROUTE, b"")  # both servers are there: the start of processes is not what is measured
        totals, ledger, seconds = _stream(client, files, progress)
    return Report(seconds=seconds, ledger=ledger, totals=totals, totals_match=totals == in_one_process(files))


def _stream(client: Client, files: dict[str, bytes], progress: bool) -> tuple[Totals, Ledger, float]:
    # Results carry no names: they come in the order of the files, and those that failed say which they are.
    totals = Totals()
    paths = list(files)
    begin = time.monotonic()
    job = client.job(list(files.values()), ROUTE, ordered=True, errors="yield")
    for path, result in zip(paths, client.submit(job, progress=progress), strict=True):
        if isinstance(result, HandlerFailed):
            totals.unparsed[path] = result.kind
        elif isinstance(result, PalmError):
            raise result
        else:
            totals.add(path, result)
    return totals, job.ledger, time.monotonic() - begin


@contextmanager
def cluster() -> Iterator[str]:
    """A registry and the two servers, each a process of its own; the registry's endpoint. All are gone at the end."""
    started: list[children.Child] = []
    with TemporaryFile() as said:
        try:
            registry = children.start("registry", "--port", "0", stdout=subprocess.PIPE, stderr=said)
            started.append(registry)
            endpoint = _endpoint(registry, said)
            for name in SERVERS:
                script = str(Path(__file__).with_name(f"{name}.py"))
                started.append(children.start("run", script, "--etcd", endpoint, stdout=said, stderr=said))
            yield endpoint
        except PalmError as error:
            dead = [child for child in started if child.poll() is not None]
            if not dead:
                raise
            raise PalmError(f"a process of the demo ended: {_last_line(said)}") from error
        finally:
            # The servers first: they take leave of the registry.
            children.stop(started[1:])
            children.stop(started[:1])


def _endpoint(registry: children.Child, said: IO[bytes]) -> str:
    """From the line by which the registry says that it is ready."""
    assert registry.stdout is not None, "it was started with a pipe"
    with registry.stdout as lines:
        words = lines.readline().decode().split()
    found = [word for word in words if word.startswith("127.0.0.1:")]
    if not found:
        raise PalmError(f"the demo's registry did not start: {_last_line(said)}")
    return found[0]


def _last_line(said: IO[bytes]) -> str:
    said.seek(0)
    lines = said.read().decode(errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "it said nothing")
