"""PALM's side of the streaming workloads: a user's client in a process of its own."""

from __future__ import annotations

from itertools import repeat
from time import monotonic, perf_counter, perf_counter_ns, sleep
from typing import Iterator

from palm import Client

START_S = 30.0


def stream(
    etcd: str, route: list[str], messages: int, payload_bytes: int, window: int, warm_up: int, record: str = ""
) -> float:
    """Messages a second along the route and back. `record`: see `palm calibrate`."""
    payload = b"x" * payload_bytes
    with Client(etcd, window=window, record=record) as client:
        _exhaust(client, route, payload, warm_up)
        begin = perf_counter()
        _exhaust(client, route, payload, messages)
        return messages / (perf_counter() - begin)


def timed(
    etcd: str,
    server: str,
    instances_here: int,
    route: list[str],
    messages: int,
    payload_bytes: int,
    window: int,
    warm_up: int,
    record: str = "",
) -> tuple[float, float]:
    """Messages a second of an echoing route, and the 99th percentile of their times under way in ms, from when each was
    taken from the source to when its result was handed out. `record`: see `palm calibrate`."""
    instances(etcd, server, instances_here)
    rest = b"x" * (payload_bytes - 8)

    def stamped() -> Iterator[bytes]:
        for _ in range(messages):
            yield perf_counter_ns().to_bytes(8, "big") + rest

    with Client(etcd, window=window, record=record) as client:
        _exhaust(client, route, b"x" * payload_bytes, warm_up)
        times = []
        begin = perf_counter()
        for result in client.map(stamped(), route):
            times.append(perf_counter_ns() - int.from_bytes(result[:8], "big"))
        rate = messages / (perf_counter() - begin)
    return rate, sorted(times)[-(-99 * len(times) // 100) - 1] / 1e6


def echo(etcd: str, calls: int, payload_bytes: int, warm_up: int) -> list[int]:
    """The round-trip times of single calls, one after the other, in ns."""
    payload = b"x" * payload_bytes
    times = []
    with Client(etcd) as client:
        for _ in range(warm_up + calls):
            begin = perf_counter_ns()
            client.call("echo.echo", payload)
            times.append(perf_counter_ns() - begin)
    return times[warm_up:]


def instances(etcd: str, server: str, count: int) -> dict[str, str]:
    """The roles of a server's instances by process id, once there are so many of them and, in a group, one leads."""
    end = monotonic() + START_S
    with Client(etcd) as client:
        while monotonic() < end:
            here = [one for one in client.instances() if one.server == server]
            if len(here) == count and ({one.role for one in here} != {"worker"}):
                return {str(one.pid): one.role for one in here}
            sleep(0.02)
    raise RuntimeError(f"{count} instances of {server!r} were not there within {START_S:g} s: {here}")


def _exhaust(client: Client, route: list[str], payload: bytes, messages: int) -> None:
    taken = 0
    for _ in client.map(repeat(payload, messages), route):
        taken += 1
    assert taken == messages, f"{taken} results of {messages} messages"
