"""Faults as values, for drawn scripts: each says when, to whom and for how long, and every one ends by itself.

    for fault in (Crash(at=1.0, who="words[0]", back_after=2.0), Cut(at=2.5, between="client -> words[1]", lasts=4.0)):
        fault.befall(sim)

What is printed of one is the code that makes it. Times are simulated seconds since the start.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterable

from palm.testing.simulate import Simulation


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """The instance is killed, and started again some time later."""

    at: float
    who: str
    back_after: float

    def befall(self, sim: Simulation) -> None:
        sim.at(self.at, lambda: sim.crash(self.who))
        sim.at(self.at + self.back_after, lambda: sim.restart(self.who))


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """The instance stands still, as at SIGSTOP."""

    at: float
    who: str
    lasts: float

    def befall(self, sim: Simulation) -> None:
        sim.at(self.at, lambda: sim.freeze(self.who, self.lasts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Nothing passes on the links that match, such as `client -> words[0]` or `words[1] <-> registry`."""

    at: float
    between: str
    lasts: float

    def befall(self, sim: Simulation) -> None:
        sim.at(self.at, lambda: sim.cut(self.between, self.lasts))


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryDown:
    """The registry is away; its data stay."""

    at: float
    lasts: float

    def befall(self, sim: Simulation) -> None:
        sim.at(self.at, lambda: sim.registry_down(self.lasts))


Fault = Crash | Freeze | Cut | RegistryDown


def befall(sim: Simulation, script: Iterable[Fault]) -> None:
    """Have all of it happen, each at its time."""
    for fault in script:
        fault.befall(sim)
