"""Hypothesis strategies for users' own properties: what is sent, who is there, and what goes wrong.

    @given(payloads(), topologies(), fault_scripts(["words[0]", "words[1]"]), st.integers(0, 2**32))
    def test_every_line_is_counted_once(lines, topology, script, seed): ...

They shrink to what a reader can hold: fewer messages, one instance, no delay; fewer faults, earlier, of whole seconds,
of the plainer kinds first. What they draw is the script only: every delay and loss in the run is drawn from the seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Sequence

from hypothesis import strategies as st

from palm.sim.draws import Fixed
from palm.testing.faults import Crash, Cut, Fault, Freeze, RegistryDown
from palm.testing.simulate import CLIENT_PLACE, Link, Simulation, simulate

NS = 1_000_000_000
LONGEST_S = 30
"""Of one fault: longer than a lease, a retry and a reconnection together."""


def payloads(*, least: int = 1, most: int = 20, most_bytes: int = 16) -> st.SearchStrategy[list[bytes]]:
    """The messages of a job, in the order in which they are sent; some of them alike, some empty."""
    return st.lists(st.binary(max_size=most_bytes), min_size=least, max_size=most)


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """How one server is laid out."""

    instances: int
    service_s: float
    delay_s: float

    def simulate(self, server: Callable[[], object], *, name: str, seed: int) -> Simulation:
        """`palm.testing.simulate` with this many instances, each as slow and as far away as it says."""
        sim = simulate(server, name=name, instances=self.instances, seed=seed, service_s=self.service_s)
        sim.link("* <-> *", Link(delay=Fixed(round(self.delay_s * NS))))
        return sim

    def names(self, name: str) -> list[str]:
        """Of the instances, as faults want them."""
        return [f"{name}[{index}]" for index in range(self.instances)]


def topologies(*, most_instances: int = 3) -> st.SearchStrategy[Topology]:
    """From one instance that answers at once to several that are slow and far away."""
    return st.builds(
        Topology,
        instances=st.integers(1, most_instances),
        service_s=st.sampled_from([0.0, 0.01, 0.5]),
        delay_s=st.sampled_from([0.0001, 0.01, 0.2]),
    )


def fault_scripts(
    instances: Sequence[str], *, most: int = 5, within_s: int = 20, registry: bool = True
) -> st.SearchStrategy[tuple[Fault, ...]]:
    """Up to `most` faults of the named instances and their links, in order of time; all are over by
    `within_s + LONGEST_S`. `registry`: whether its links and itself are among them."""
    at, lasts = _seconds(within_s), _seconds(LONGEST_S, least=1)
    who = st.sampled_from(list(instances))
    places = [CLIENT_PLACE, *instances, *(["registry"] if registry else [])]
    pairs = [(one, other) for one in places for other in places if one != other]
    links = st.builds(lambda pair, arrow: f"{pair[0]} {arrow} {pair[1]}", st.sampled_from(pairs), _ARROWS)
    kinds: list[st.SearchStrategy[Fault]] = [
        st.builds(Crash, at=at, who=who, back_after=lasts),
        st.builds(Cut, at=at, between=links, lasts=lasts),
        st.builds(Freeze, at=at, who=who, lasts=lasts),
    ]
    if registry:
        kinds.append(st.builds(RegistryDown, at=at, lasts=lasts))
    return st.lists(st.one_of(kinds), max_size=most).map(_in_time)


_ARROWS = st.sampled_from(["->", "<->"])


def _seconds(most: int, least: int = 0) -> st.SearchStrategy[float]:
    """Whole seconds, or halves where that makes a difference."""
    return st.one_of(st.integers(least, most).map(float), st.integers(2 * least, 2 * most).map(lambda half: half / 2))


def _in_time(faults: list[Fault]) -> tuple[Fault, ...]:
    return tuple(sorted(faults, key=lambda fault: fault.at))


__all__ = ["LONGEST_S", "Topology", "fault_scripts", "payloads", "topologies"]
