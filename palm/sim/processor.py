"""Processor time in the simulator: processes of one host share its cores, as those of one machine do.

Each process is one lane, as Python runs one thread of it at a time: PALM's own steps go before user code, and interrupt
it. Lanes that have something to compute share the cores alike: with n of them on c cores each gets min(1, c/n) of one,
which is what a fair scheduler comes to. A host without `cores` has one for each process. This file knows callbacks and
numbers; who computes what, and for how long, is said by hosts, transports and executors.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from palm.errors import BadRequest
from palm.sim.draws import ZERO, Distribution
from palm.sim.kernel import Kernel, Timer

_FINE = 1 << 10
"""Parts of a nanosecond that shares are counted in, so that rounding does not add up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What a process computes. `handling`: for each message that its user code handles, beside the time that it takes
    waiting. `handover`: PALM's own (ns) for each of them, to give it to user code and to get its result. `frame`,
    `message`: PALM's own for each frame that it takes or gives, and each message in one."""

    handling: Distribution = ZERO
    handover: int = 0
    frame: int = 0
    message: int = 0


FREE = Costs()


class Machine:
    """The cores of one host, shared by its processes."""

    __slots__ = ("_active", "_kernel", "_since", "_timer", "_virtual", "cores")

    def __init__(self, kernel: Kernel, cores: int | None = None) -> None:
        if cores is not None and cores < 1:
            raise BadRequest(f"a host needs at least 1 core, not {cores}")
        self.cores = cores
        self._kernel = kernel
        self._active: dict[Processor, None] = {}
        self._virtual = 0
        """How much each active lane has got since the beginning, in parts of a nanosecond."""
        self._since = 0
        self._timer: Timer | None = None

    def processor(self, costs: Costs) -> Processor:
        """One more process."""
        return Processor(self, costs)

    # -- for lanes -------------------------------------------------------------------------------------------------

    def now(self) -> int:
        """What each active lane has got by now."""
        kernel_now, lanes = self._kernel.now, len(self._active)
        if lanes:
            self._virtual += (kernel_now - self._since) * self._at_once(lanes) * _FINE // lanes
        self._since = kernel_now
        return self._virtual

    def put(self, lane: Processor) -> None:
        self._active[lane] = None
        self._plan()

    def take(self, lane: Processor) -> None:
        self._active.pop(lane, None)
        self._plan()

    def _at_once(self, lanes: int) -> int:
        return lanes if self.cores is None else min(self.cores, lanes)

    def _plan(self) -> None:
        """Look again when the first of them is through."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lanes = len(self._active)
        if lanes:
            left = max(0, min(lane.through_at for lane in self._active) - self.now())
            wait = -(-left * lanes // (self._at_once(lanes) * _FINE))
            self._timer = self._kernel.call_at(self._kernel.now + wait, self._look)

    def _look(self) -> None:
        self._timer = None
        now = self.now()
        for lane in list(self._active):
            if lane in self._active and lane.through_at <= now:  # what one does may end another
                lane.through()
        self._plan()


@dataclass(eq=False, slots=True)
class _Work:
    left: int
    """In parts of a nanosecond."""
    done: Callable[[], None]


class Processor:
    """What one process computes, one thing at a time."""

    __slots__ = ("_current", "_is_own", "_machine", "_own", "_stopped", "_users", "costs", "through_at")

    def __init__(self, machine: Machine, costs: Costs) -> None:
        self.costs = costs
        self.through_at = 0
        """When its present work is done, in the machine's virtual time; for the machine."""
        self._machine = machine
        self._own: deque[_Work] = deque()
        self._users: deque[_Work] = deque()
        self._current: _Work | None = None
        self._is_own = False
        self._stopped = False

    def compute(self, duration: int, done: Callable[[], None], *, own: bool = False) -> None:
        """Call `done` once that much (ns) is computed, after what was asked for before. `own`: a step of PALM's, which
        goes before user code."""
        (self._own if own else self._users).append(_Work(duration * _FINE, done))
        if self._current is None:
            self._next()
        elif own and not self._is_own:
            self._users.appendleft(self._put_down())
            self._next()

    def stop(self) -> None:
        """The process is frozen: it gets nothing until `go`. Harmless when it is."""
        if not self._stopped:
            self._stopped = True
            if self._current is not None:
                (self._own if self._is_own else self._users).appendleft(self._put_down())

    def go(self) -> None:
        if self._stopped:
            self._stopped = False
            self._next()

    def crash(self) -> None:
        """Nothing of it is computed any more."""
        self._stopped = True
        if self._current is not None:
            self._put_down()
        self._own.clear()
        self._users.clear()

    def through(self) -> None:
        """The machine says that the present work is done."""
        work, self._current = self._current, None
        assert work is not None, "only lanes with work are active"
        self._machine.take(self)
        work.done()
        if self._current is None:
            self._next()

    def _next(self) -> None:
        queue = self._own or self._users
        if queue and not self._stopped:
            self._is_own = queue is self._own
            self._current = queue.popleft()
            self.through_at = self._machine.now() + self._current.left
            self._machine.put(self)

    def _put_down(self) -> _Work:
        """Stop the present work; what is left of it."""
        work, self._current = self._current, None
        assert work is not None, "there is present work"
        work.left = max(0, self.through_at - self._machine.now())
        self._machine.take(self)
        return work
