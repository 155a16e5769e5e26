"""Random routes through functions with options, under random faults: the same as the functions composed in plain
Python, and the ledger exact. Routes of every shape, without options: test_patterns.py."""

from __future__ import annotations

import random
from typing import Callable

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import palm
from palm import RegisteredServer
from palm.core.callers import FORGET_SILENT_CALLER
from palm.testing.simulate import simulate

MESSAGES = 20
# A server that calls another and dies is a silent caller: looked for at each end of that time, so twice it at most.
FORGOTTEN_AFTER_S = 2 * FORGET_SILENT_CALLER / 1e9


class Work(RegisteredServer):
    @palm.function(retries=40, backoff=0.01, retry_on=ConnectionError)
    def again(self, message):
        if random.random() < 0.3:
            raise ConnectionError("away")
        return message + b"a"

    @palm.function(concurrency=3)
    def beside(self, message):
        return message + b"b"

    @palm.function(concurrency=2, timeout=30)
    async def bounded(self, message):
        return message + b"c"

    @palm.function(batch=4, retries=40, backoff=0.01, retry_on=ConnectionError)
    def together(self, messages):
        if random.random() < 0.3:
            raise ConnectionError("away")
        return [ConnectionError("once more") if random.random() < 0.1 else message + b"t" for message in messages]

    @palm.function(batch=3)
    async def typed(self, texts: list[str]) -> list[str]:
        return [text + "s" for text in texts]

    def nested(self, message):
        return self.call("back.plain", message) + b"n"


class Back(RegisteredServer):
    def plain(self, message):
        return message + b"p"


AS_COMPOSED: dict[str, Callable[[bytes], bytes]] = {
    "again": lambda message: message + b"a",
    "beside": lambda message: message + b"b",
    "bounded": lambda message: message + b"c",
    "together": lambda message: message + b"t",
    "typed": lambda message: message + b"s",
    "nested": lambda message: message + b"pn",
}


def composed(route: list[str], message: bytes) -> bytes:
    for function in route:
        message = AS_COMPOSED[function](message)
    return message


FAULTS = st.tuples(
    st.sampled_from(["crash", "freeze", "cut"]), st.integers(0, 2), st.floats(0.2, 4), st.floats(0.5, 6)
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(route=["nested"], faults=[("crash", 0, 1.0, 1.0)], seed=0)
@given(
    st.lists(st.sampled_from(sorted(AS_COMPOSED)), min_size=1, max_size=4),
    st.lists(FAULTS, max_size=2),
    st.integers(0, 2**32),
)
def test_any_route_gives_what_its_functions_give(
    route: list[str], faults: list[tuple[str, int, float, float]], seed: int
) -> None:
    """Each message one result, in the order sent, whatever goes wrong; and nothing is left behind."""
    with simulate(Work, name="work", instances=3, seed=seed, service_s=0.02) as sim:
        sim.serve(Back, name="back", instances=2, service_s=0.005)
        for what, index, at_s, for_s in faults:
            name = f"work[{index}]"
            if what == "crash":
                sim.at(at_s, lambda name=name: sim.crash(name))  # type: ignore[misc]  # bound for each fault
                sim.at(at_s + for_s, lambda name=name: sim.restart(name))  # type: ignore[misc]  # as above
            elif what == "freeze":
                sim.at(at_s, lambda name=name, for_s=for_s: sim.freeze(name, for_s))  # type: ignore[misc]  # as above
            else:
                sim.at(at_s, lambda name=name, for_s=for_s: sim.cut(f"client <-> {name}", for_s))  # type: ignore[misc]  # as above
        client = sim.client(timeout=300)
        messages = [b"%d" % number for number in range(MESSAGES)]
        job = client.job(messages, [f"work.{function}" for function in route], ordered=True)
        assert list(client.submit(job)) == [composed(route, message) for message in messages]
        assert tuple(job.ledger) == (MESSAGES, MESSAGES, 0, 0, 0, 0)
        sim.run(FORGOTTEN_AFTER_S)
        assert sim.left_open() == []
