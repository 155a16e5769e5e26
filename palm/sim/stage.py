"""The world that a script is let loose on, simulated or of real processes: what `palm.sim.steps` asks of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Mapping, Protocol, Sequence, TypeVar

from palm.sim.history import Entry
from palm.sim.kernel import Clock
from palm.sim.network import Action as LinkAction
from palm.sim.network import Ends, Rule
from palm.sim.recorder import Recorder
from palm.sim.scenario.actions import Action


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """`touched` is asked at the end of the run. `undo` None: it is over at once; `for_ns` None: until it is healed."""

    touched: Callable[[], int]
    undo: Callable[[], None] | None = None
    for_ns: int | None = None


class Actor(Protocol):
    """One place of a server, through all its lives: what steps are done to."""

    @property
    def name(self) -> str: ...

    @property
    def place(self) -> str: ...

    @property
    def is_up(self) -> bool: ...

    @property
    def leaves(self) -> bool:
        """Its present life was asked to end in good order."""
        ...


A = TypeVar("A", bound=Actor)


class Stage(Protocol[A]):
    @property
    def clock(self) -> Clock: ...

    @property
    def recorder(self) -> Recorder: ...

    @property
    def instances(self) -> Mapping[str, Sequence[A]]:
        """Those of each server."""
        ...

    def leader(self, server: str) -> Sequence[A]:
        """The instance that was elected last; nobody, where there was no election."""
        ...

    def start(self, instance: A) -> None:
        """Begin a new life of an instance that is down; one that was suspended goes on with the old one."""
        ...

    def crash(self, instance: A) -> None:
        """Kill its present life. Harmless when it is down."""
        ...

    def drain(self, instance: A) -> None:
        """End its present life in good order. Harmless when it is down, or leaves already."""
        ...

    def freeze(self, instance: A) -> Callable[[], None]:
        """Stop one that is up; what is returned has that life go on."""
        ...

    def lay(self, ends: Ends, action: LinkAction, name: str) -> Rule:
        """Lay a rule on links."""
        ...

    def lift(self, rule: Rule) -> None:
        """End it. Harmless when it was lifted before."""
        ...

    def cancel(self, job: str) -> Callable[[], int]:
        """The job's caller has no further interest; what is returned says how many messages had not ended."""
        ...

    def act(self, step: str, action: Action, who: Sequence[A]) -> Done:
        """Everything else: done to `who`, where the action is one on processes."""
        ...

    def heard(self, entry: Entry) -> None:
        """Something was written to the ledger, where it happened."""
        ...
