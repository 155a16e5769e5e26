"""A worker that is killed in the middle of a job costs no more than what it had in hand and the time to notice.

Messages take 2 ms of time and no processor, so that a lost worker is a third of the speed and nothing else. The cost is
what the job took beyond what the workers that were left need for the rest, at the pace that they had before.
"""

from __future__ import annotations

import os
import signal
from itertools import repeat
from time import perf_counter
from typing import Any

from bench.butterfly import WORK_S
from bench.figures import Figure, alternate, compared
from bench.processes import Fleet, ask

WORKERS = 3
DETECTED_S = 5.0
"""The lease, at its default: who kept it until the end is sure to be gone."""
IN_HAND_S = 0.2
"""What a worker has asked for, some 40 ms of work each way, and what its leader had on the way to it."""


def measure(*, smoke: bool, rounds: int) -> Figure:
    messages = 600 if smoke else 12_000
    spared: list[dict[str, Any]] = []
    killed: list[dict[str, Any]] = []

    def one(kill: bool, into: list[dict[str, Any]]) -> float:
        into.append(_job(messages, kill))
        return float(into[-1]["took_s"])

    with_kill, without = alternate(rounds, lambda: one(True, killed), lambda: one(False, spared))
    costs = sorted(float(run["cost_s"]) for run in killed)
    return compared(
        "loss",
        "s for a job in which a worker is killed",
        with_kill,
        without,
        f"costs at most {DETECTED_S:g} s to notice and {IN_HAND_S:g} s of work in hand (beside: nobody is killed)",
        lambda _palm, _ratio: costs[-1] <= DETECTED_S + IN_HAND_S,
        messages=messages,
        workers=WORKERS,
        work_ms=WORK_S * 1_000,
        cost_s=[round(cost, 3) for cost in costs],
        bound_s=DETECTED_S + IN_HAND_S,
    )


def _job(messages: int, kill: bool) -> dict[str, Any]:
    with Fleet() as fleet:
        etcd = fleet.registry()
        for _ in range(WORKERS + 1):
            fleet.server("nap", etcd, "bench.servers:Nap")
        roles = ask("bench.client:instances", etcd=etcd, server="nap", count=WORKERS + 1)
        victim = next(int(pid) for pid, role in roles.items() if role == "worker")
        answer: dict[str, Any] = ask("bench.loss:run", etcd=etcd, messages=messages, victim=victim if kill else 0)
        return answer


def run(etcd: str, messages: int, victim: int) -> dict[str, float]:
    """How long the job took (s), and, with a victim, what its death at a third of the way cost."""
    from palm import Client

    warm_up, third = messages // 10, messages // 3
    with Client(etcd, window=256) as client:
        assert len(list(client.map(repeat(b"x", warm_up), "nap.nap"))) == warm_up
        begin, taken, at_third = perf_counter(), 0, 0.0
        for _ in client.map(repeat(b"x", messages), "nap.nap"):
            taken += 1
            if taken == third:
                at_third = perf_counter()
                if victim:
                    os.kill(victim, signal.SIGKILL)
        took = perf_counter() - begin
    assert taken == messages, f"{taken} results of {messages} messages"
    rest = (at_third - begin) * (messages - third) / third * (WORKERS / (WORKERS - 1) if victim else 1)
    return {"took_s": took, "cost_s": max(0.0, took - (at_third - begin) - rest)}
