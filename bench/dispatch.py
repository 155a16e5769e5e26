"""What a message costs the leader of a butterfly, in processor time: taken, handed out, answered, passed on.

Beside it, the same messages through one plain server: what any instance spends on taking and answering a message.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from bench.figures import Figure, alternate, compared
from bench.processes import Fleet, ask

WORKERS = 2
PAYLOAD_BYTES = 100
WINDOW = 1024
MOST_US = 20.0
"""A leader that takes this long feeds 100 workers whose messages take 2 ms."""


def measure(*, smoke: bool, rounds: int) -> Figure:
    messages = 20_000 if smoke else 100_000
    with Fleet() as fleet:
        etcd = fleet.registry()
        leader = fleet.server("spread", etcd, "bench.servers:Spread").pid
        ask("bench.client:instances", etcd=etcd, server="spread", count=1)
        for _ in range(WORKERS):
            fleet.server("spread", etcd, "bench.servers:Spread")
        plain = fleet.server("echo", etcd).pid
        ask("bench.client:instances", etcd=etcd, server="spread", count=WORKERS + 1)
        ask("bench.client:instances", etcd=etcd, server="echo", count=1)
        job: dict[str, Any] = {"etcd": etcd, "messages": messages, "payload_bytes": PAYLOAD_BYTES, "window": WINDOW}
        palm, beside = alternate(
            rounds,
            lambda: _us_each(leader, "spread.echo", job),
            lambda: _us_each(plain, "echo.echo", job),
        )
    return compared(
        "dispatch",
        "us of the leader's processor a message",
        palm,
        beside,
        f"at most {MOST_US:g} us (beside: a plain server that runs them itself)",
        lambda us, _: us <= MOST_US,
        messages=messages,
        payload_bytes=PAYLOAD_BYTES,
        workers=WORKERS,
        window=WINDOW,
    )


def _us_each(pid: int, route: str, job: dict[str, Any]) -> float:
    """Of that process, while the job runs along the route."""
    before = _processor_s(pid)
    ask("bench.client:stream", route=[route], warm_up=1, **job)
    messages: int = job["messages"]
    return (_processor_s(pid) - before) / messages * 1e6


def _processor_s(pid: int) -> float:
    """User and system time of a process and all its threads so far; counted in hundredths of a second."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
