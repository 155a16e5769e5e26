"""One case: a cluster, a job along a route, and what goes wrong. Values whose `repr` is the code that makes them again.

How a case is drawn is here too. Simple things come first in every strategy, so that a case shrinks to something that a
person can read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from hypothesis import strategies as st

from palm.core.client import MAX_DEATHS
from palm.core.route import RouteText
from tests.system.kinds import KINDS, Slots, functions, meaning


class Do(NamedTuple):
    """A stage."""

    function: str

    @property
    def folds(self) -> bool:
        return meaning(self.function)[0] == "fold"

    def text(self) -> list[Any]:
        return [self.function]

    def run(self, slots: Slots) -> Slots:
        place, does = meaning(self.function)
        if place != "stage":
            return does(slots)
        return [out for slot in slots for out in ([None] if slot is None else does(slot) or [None])]


class Fork(NamedTuple):
    """A source, two branches, and where they meet."""

    function: str
    left: list[Any]
    right: list[Any]
    meet: str

    def text(self) -> list[Any]:
        return [self.function, {"left": text_of(self.left), "right": text_of(self.right)}, self.meet]

    def run(self, slots: Slots) -> Slots:
        return [out for slot in slots for out in ([None] if slot is None else self._fork(slot))]

    def _fork(self, payload: bytes) -> Slots:
        _, does = meaning(self.function)
        _, met = meaning(self.meet)
        parts: Slots = []
        for branch, result in does(payload):
            parts += compose(self.left if branch == "left" else self.right, [result])
        return met(parts)


def compose(route: list[Any], slots: Slots) -> Slots:
    """What a branch makes of one message, in plain Python."""
    for element in route:
        slots = element.run(slots)
    return slots


def compose_job(route: list[Any], payloads: list[bytes]) -> list[bytes]:
    """All results of a job, in order."""
    messages: list[Slots] = [[payload] for payload in payloads]
    for element in route:
        if isinstance(element, Do) and element.folds:
            _, does = meaning(element.function)
            messages = does(messages)
        else:
            messages = [element.run(slots) for slots in messages]
    return [slot for slots in messages for slot in slots if slot is not None]


def text_of(route: list[Any]) -> RouteText:
    return [part for element in route for part in element.text()]


What = Literal["crash", "drain", "freeze", "cut", "mute", "orphan", "rain", "absent"]


class Fault(NamedTuple):
    """At that time (s) something happens to somebody, for so long.

    crash, drain: down until it is started again. freeze. cut: `who` from all others; mute: what `who` says is lost;
    orphan: `who` from the registry. rain: on all links one frame in twenty is lost, as many come twice, and some
    overtake others. absent: the registry, for everybody.
    """

    at_s: float
    what: What
    who: str
    for_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    route: list[Any]
    clients: int = 1
    """As many jobs at the same time."""
    messages: int = 8
    payload_bytes: int = 0
    """At least; over 64 KiB each payload travels in a frame of its own."""
    window: int = 1024
    ordered: bool = True
    instances: int = 1
    service_s: float = 0.002
    pause_s: float = 0.0
    """Between one message and the next: a slow source is what makes a job long."""
    faults: tuple[Fault, ...] = ()
    seed: int = 0

    def servers(self) -> list[str]:
        """Those of the route, in the order of the table."""
        text = repr(text_of(self.route))
        return [name for name in KINDS if f"'{name}." in text]

    def payloads(self) -> list[bytes]:
        return [(b"%d," % number).ljust(self.payload_bytes, b"-") for number in range(self.messages)]

    def folds(self) -> bool:
        return any(isinstance(element, Do) and element.folds for element in self.route)

    def is_harsh(self) -> bool:
        """Whether a message may have been with `MAX_DEATHS` instances when they died: then it is dead-lettered, and
        rightly so."""
        return sum(fault.what not in ("drain", "rain") for fault in self.faults) >= MAX_DEATHS


# -- how it is drawn --------------------------------------------------------------------------------------------------

stages = st.builds(Do, st.sampled_from(functions("stage")))
meets = st.sampled_from(functions("meet"))
flat = st.lists(st.one_of(stages, stages, st.builds(Do, meets)), min_size=1, max_size=2)


def forks(inner: st.SearchStrategy[list[Any]]) -> st.SearchStrategy[Fork]:
    return st.builds(Fork, st.sampled_from(functions("fork")), inner, inner, meets)


inner = st.lists(st.one_of(stages, stages, forks(flat), st.builds(Do, meets)), min_size=1, max_size=2)
bodies = st.lists(st.one_of(stages, stages, forks(inner), st.builds(Do, meets)), min_size=1, max_size=4)
"""Few servers and many stages: most routes visit one of them twice."""
ends = st.lists(st.builds(Do, st.sampled_from(functions("end"))), max_size=1)
fold = st.sampled_from(functions("fold")).map(lambda function: [Do(function)])
folds = st.just([]) | st.builds(list.__add__, fold, bodies | st.just([]))
routes = st.builds(lambda body, fold, end: body + fold + end, bodies, folds, ends)

SOMEBODY: list[What] = ["crash", "freeze", "drain"]
ANYBODY: list[What] = ["cut", "mute", "orphan"]
EVERYBODY: list[What] = ["rain", "absent"]
lengths = st.sampled_from([2.0, 7.0, 0.2])


@st.composite
def cases(draw: st.DrawFn) -> Case:
    case = Case(
        route=draw(routes),
        clients=draw(st.sampled_from([1, 1, 2])),
        messages=draw(st.sampled_from([8, 40, 1])),
        payload_bytes=draw(st.sampled_from([0, 0, 0, 70_000])),
        window=draw(st.sampled_from([1024, 1, 5])),
        ordered=draw(st.sampled_from([True, False])),
        instances=draw(st.sampled_from([2, 1, 3])),
        service_s=draw(st.sampled_from([0.002, 0.05, 0.0])),
        pause_s=draw(st.sampled_from([0.05, 0.0, 0.2])),
    )
    names = [f"{server}[{index}]" for server in case.servers() for index in range(case.instances)]
    at = st.sampled_from([0.1, 0.01, 0.0, 0.03, 0.3, 0.6, 1.0, 2.0, 4.0])
    somebody = st.builds(Fault, at, st.sampled_from(SOMEBODY), st.sampled_from(names), lengths)
    anybody = st.builds(Fault, at, st.sampled_from(ANYBODY), st.sampled_from([*names, "client"]), lengths)
    everybody = st.builds(Fault, at, st.sampled_from(EVERYBODY), st.just(""), lengths)
    least = draw(st.sampled_from([0, 1, 2, 3]))
    faults = draw(st.lists(st.one_of(somebody, anybody, everybody), min_size=least, max_size=5).map(tuple))
    return Case(**{name: getattr(case, name) for name in case.__slots__} | {"faults": faults, "seed": draw(SEEDS)})


SEEDS = st.integers(0, 1000)
