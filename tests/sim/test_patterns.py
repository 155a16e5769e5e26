"""Random routes with branches, generators, filters and joins, under random faults: the same as the functions composed
in plain Python, and the ledger exact."""

from __future__ import annotations

from typing import Any, NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from palm import RegisteredServer, SinkServer, SourceServer
from palm.core.route import RouteText
from palm.testing.simulate import simulate

MESSAGES = 24


class Work(RegisteredServer):
    def tag(self, payload):
        return payload + b"t"

    async def wait(self, payload):
        return payload + b"w"

    def two(self, payload):
        yield payload + b"1"
        yield payload + b"2"

    async def some(self, payload):
        for number in range(sum(payload) % 3):
            yield payload + b"s%d" % number

    def odd(self, payload):
        return payload if sum(payload) % 2 else None


class Split(SourceServer):
    def copy(self, payload):
        return payload + b"c"

    def choose(self, payload):
        return ("left" if sum(payload) % 2 else "right"), payload

    def deal(self, payload):
        yield "left", payload + b"l"
        yield payload + b"b"
        if sum(payload) % 2:
            yield "right", payload + b"r"

    def sift(self, payload):
        return payload if sum(payload) % 3 else None


class Zipped(SinkServer):
    join = "zip"

    def all(self, parts):
        return b"(" + b"|".join(b"-" if part is None else part for part in parts) + b")"


class Passing(SinkServer):
    def each(self, payload):
        return payload + b"e"


class Ordered(SinkServer):
    join = "order"

    def each(self, payload):
        return payload + b"o"


# -- routes, and what they mean ---------------------------------------------------------------------------------------

Slots = list["bytes | None"]
"""The parts of a message in the order of paths; None for one that ended without a result."""


class Stage(NamedTuple):
    name: str

    def text(self) -> list[Any]:
        return [f"work.{self.name}"]

    def run(self, slots: Slots) -> Slots:
        return [out for slot in slots for out in ([None] if slot is None else WORK[self.name](slot) or [None])]


class Fork(NamedTuple):
    name: str
    left: list[Any]
    right: list[Any]
    join: str

    def text(self) -> list[Any]:
        joined = {"zip": ["zipped.all"], "each": ["passing.each"]}
        return [f"split.{self.name}", {"left": text_of(self.left), "right": text_of(self.right)}, *joined[self.join]]

    def run(self, slots: Slots) -> Slots:
        return [out for slot in slots for out in ([None] if slot is None else self._fork(slot))]

    def _fork(self, payload: bytes) -> Slots:
        parts: Slots = []
        for branch, result in SPLIT[self.name](payload):
            parts += compose(self.left if branch == "left" else self.right, [result])
        if self.join == "zip":
            return zipped(parts)
        return [None if part is None else part + b"e" for part in parts] or [None]


class All(NamedTuple):
    """A zipping sink with no branches before it: of all parts of what came into this route or branch."""

    def text(self) -> list[Any]:
        return ["zipped.all"]

    def run(self, slots: Slots) -> Slots:
        return zipped(slots)


WORK = {
    "tag": lambda p: [p + b"t"],
    "wait": lambda p: [p + b"w"],
    "two": lambda p: [p + b"1", p + b"2"],
    "some": lambda p: [p + b"s%d" % number for number in range(sum(p) % 3)],
    "odd": lambda p: [p] if sum(p) % 2 else [],
}
BOTH = ("left", "right")
SPLIT = {
    "copy": lambda p: [(branch, p + b"c") for branch in BOTH],
    "choose": lambda p: [("left" if sum(p) % 2 else "right", p)],
    "deal": lambda p: [("left", p + b"l")]
    + [(branch, p + b"b") for branch in BOTH]
    + ([("right", p + b"r")] if sum(p) % 2 else []),
    "sift": lambda p: [(branch, p) for branch in BOTH] if sum(p) % 3 else [],
}


def zipped(parts: Slots) -> Slots:
    if all(part is None for part in parts):
        return [None]
    return [b"(" + b"|".join(b"-" if part is None else part for part in parts) + b")"]


def compose(route: list[Any], slots: Slots) -> Slots:
    for element in route:
        slots = element.run(slots)
    return slots


def text_of(route: list[Any]) -> RouteText:
    return [part for element in route for part in element.text()]


stages = st.builds(Stage, st.sampled_from(sorted(WORK)))
flat = st.lists(st.one_of(stages, stages, st.just(All())), min_size=1, max_size=2)


def forks(inner: st.SearchStrategy[list[Any]]) -> st.SearchStrategy[Fork]:
    return st.builds(Fork, st.sampled_from(sorted(SPLIT)), inner, inner, st.sampled_from(["zip", "each"]))


inner = st.lists(st.one_of(stages, forks(flat), st.just(All())), min_size=1, max_size=2)
routes = st.lists(st.one_of(stages, forks(inner)), min_size=1, max_size=3)

NAMES = [f"{server}[{index}]" for server in ("work", "split", "zipped", "passing", "ordered") for index in (0, 1)]


class Trouble(NamedTuple):
    at_s: float
    what: str
    where: str
    for_s: float


troubles = st.lists(
    st.builds(
        Trouble,
        st.integers(0, 300).map(lambda ms: ms / 1000),
        st.sampled_from(["crash", "freeze", "cut"]),
        st.sampled_from(NAMES),
        st.sampled_from([0.2, 2.0, 7.0]),
    ),
    # A message that was with three instances when they died is dead-lettered, and rightly so.
    max_size=2,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(route=routes, in_order=st.booleans(), trouble=troubles, seed=st.integers(0, 1000))
def test_any_route_gives_what_its_functions_give(
    route: list[Any], in_order: bool, trouble: list[Trouble], seed: int
) -> None:
    """Results of each message in the order of paths, no more and no less, whatever went wrong on the way."""
    payloads = [b"%d," % number for number in range(MESSAGES)]
    expected = [part for payload in payloads for part in compose(route, [payload]) if part is not None]
    with simulate(Work, name="work", instances=2, seed=seed, service_s=0.002) as sim:
        for make, name in ((Split, "split"), (Zipped, "zipped"), (Passing, "passing"), (Ordered, "ordered")):
            sim.serve(make, name=name, instances=2, service_s=0.001)
        client = sim.client(timeout=300)
        for one in trouble:
            sim.at(one.at_s, lambda one=one: strike(sim, one))  # type: ignore[misc]  # bound now
        text = [*text_of(route), "ordered.each"] if in_order else text_of(route)
        job = client.job(payloads, text, ordered=True)
        results = list(client.submit())
        assert results == [part + b"o" * in_order for part in expected]
        assert tuple(job.ledger) == (MESSAGES, MESSAGES, 0, 0, 0, 0)
        sim.run(12)
        assert sim.left_open() == []


def strike(sim: Any, trouble: Trouble) -> None:
    if trouble.what == "crash":
        sim.crash(trouble.where)
        sim.at(sim.now + trouble.for_s, lambda: sim.restart(trouble.where))
    elif trouble.what == "freeze":
        sim.freeze(trouble.where, trouble.for_s)
    else:
        sim.cut(f"{trouble.where} <-> *", trouble.for_s)
