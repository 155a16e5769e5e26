"""CPU work of 2 ms a message on two workers and their leader, beside raw pyzmq that does the same with PUSH and PULL.

What both are held against is two processes that do nothing but that work.
"""

from __future__ import annotations

from statistics import median
from time import perf_counter, thread_time

from bench.figures import Figure, alternate, compared
from bench.processes import Fleet, answer_of, ask, free_port

WORK_S = 0.002
WORKERS = 2
WINDOW = 1024
PAYLOAD_BYTES = 100


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
    ideal: list[float] = []

    def raw() -> float:
        ideal.append(_ideal(messages))
        return _raw(messages)

    with Fleet() as fleet:
        etcd = fleet.registry()
        for _ in range(WORKERS + 1):
            fleet.server("burn", etcd, "bench.servers:Burn")
        palm, pushed = alternate(
            rounds,
            lambda: ask(
                "bench.client:stream",
                etcd=etcd,
                route=["burn.burn"],
                messages=messages,
                payload_bytes=PAYLOAD_BYTES,
                window=WINDOW,
                warm_up=warm_up,
            ),
            raw,
        )
    best = median(ideal)
    return compared(
        "butterfly",
        "messages/s",
        palm,
        pushed,
        f"at least 0.9 of the {best:,.4g} of two processes that only work",
        lambda rate, _: rate >= 0.9 * best,
        messages=messages,
        workers=WORKERS,
        work_ms=WORK_S * 1_000,
        ideal=round(best, 1),
        of_ideal=round(median(palm) / best, 3),
        raw_of_ideal=round(median(pushed) / best, 3),
    )


def _ideal(messages: int) -> float:
    """Messages a second of as many processes that only work."""
    with Fleet() as fleet:
        running = [fleet.child("bench.butterfly:work_often", times=messages // WORKERS) for _ in range(WORKERS)]
        slowest: float = max(answer_of(process) for process in running)
        return messages / slowest


def _raw(messages: int) -> float:
    """The same work behind PUSH and PULL."""
    tasks, results = (f"tcp://127.0.0.1:{free_port()}" for _ in range(2))
    with Fleet() as fleet:
        for _ in range(WORKERS):
            fleet.child("bench.raw:serve_work", tasks=tasks, results=results)
        answer: float = ask(
            "bench.raw:farm",
            tasks=tasks,
            results=results,
            workers=WORKERS,
            messages=messages,
            payload_bytes=PAYLOAD_BYTES,
            window=WINDOW,
        )
        return answer
