"""CPU work of 2 ms a message on two workers and their leader, beside two processes that do nothing else."""

from __future__ import annotations

from time import perf_counter, thread_time

from bench.figures import Figure, alternate, compared
from bench.processes import Fleet, answer_of, ask

WORK_S = 0.002
WORKERS = 2
WINDOW = 1024


def work() -> None:
    """Use the processor for `WORK_S`."""
    end = thread_time() + WORK_S
    while thread_time() < end:
        pass


def work_often(times: int) -> float:
    """How long (s) that many take one after another."""
    begin = perf_counter()
    for _ in range(times):
        work()
    return perf_counter() - begin


def measure(*, smoke: bool, rounds: int) -> Figure:
    messages, warm_up = (100, 50) if smoke else (4_000, 500)
    with Fleet() as fleet:
        etcd = fleet.registry()
        for _ in range(WORKERS + 1):
            fleet.server("burn", etcd, "bench.servers:Burn")
        palm, raw = alternate(
            rounds,
            lambda: ask(
                "bench.client:stream",
                etcd=etcd,
                route=["burn.burn"],
                messages=messages,
                payload_bytes=100,
                window=WINDOW,
                warm_up=warm_up,
            ),
            lambda: _raw(messages),
        )
    return compared(
        "butterfly",
        "messages/s",
        palm,
        raw,
        "at least 0.9 of the same work without PALM",
        lambda _, ratio: ratio >= 0.9,
        messages=messages,
        workers=WORKERS,
        work_ms=WORK_S * 1_000,
    )


def _raw(messages: int) -> float:
    """Messages a second of as many processes that only work."""
    with Fleet() as fleet:
        running = [fleet.child("bench.butterfly:work_often", times=messages // WORKERS) for _ in range(WORKERS)]
        slowest: float = max(answer_of(process) for process in running)
        return messages / slowest
