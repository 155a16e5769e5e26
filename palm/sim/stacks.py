"""Stacks that user code can leave in the middle, so that plain blocking code waits in simulated time.

A handler may block (in a call to another server, in `time.sleep`) while the world goes on. A thread each would cost
55 us per switch; a greenlet from a pool costs 0.6. This file knows nothing of hosts: whoever parks a stack resumes it.
"""

from __future__ import annotations

from collections.abc import Callable

from greenlet import GreenletExit, getcurrent, greenlet

POOLED = 64
"""Idle stacks that are kept; each is worth 10 us and holds about 10 KB."""


class Stacks:
    """The stacks of one world, all of one thread."""

    def __init__(self) -> None:
        self._idle: list[greenlet] = []
        self._busy: dict[greenlet, None] = {}

    def start(self, body: Callable[[], None]) -> greenlet:
        """Run `body` on a stack of its own until it parks or ends. What it raises comes out here, or out of
        `resume`."""
        stack = self._idle.pop() if self._idle else greenlet(self._live)
        self._busy[stack] = None
        self._switch(stack, body)
        return stack

    @property
    def inside(self) -> bool:
        """The caller is on one of these stacks."""
        return getcurrent() in self._busy

    def current(self) -> greenlet:
        """The stack that the caller is on, to `resume` later."""
        stack = getcurrent()
        assert stack in self._busy, "only a running body has a stack"
        return stack

    def park(self) -> None:
        """Leave the current stack until somebody resumes it."""
        parent = getcurrent().parent
        assert parent is not None, "only a running body has a stack"
        parent.switch()

    def resume(self, stack: greenlet) -> None:
        """Go on with a parked stack until it parks again or ends."""
        self._switch(stack, None)

    def kill(self, stack: greenlet) -> None:
        """Raise GreenletExit where the stack is parked. Its `finally` blocks run; the caller has made them harmless."""
        if stack not in self._busy or stack is getcurrent():
            return
        stack.parent = getcurrent()
        stack.throw(GreenletExit)
        self._busy.pop(stack, None)

    def close(self) -> None:
        """End all stacks, the parked ones where they are. A parked stack is never collected, nor is what it refers to:
        a world that is not closed stays in memory."""
        for stack in list(self._busy):
            self.kill(stack)
        for stack in self._idle:
            stack.parent = getcurrent()
            stack.throw(GreenletExit)
        self._idle.clear()

    def _switch(self, stack: greenlet, body: Callable[[], None] | None) -> None:
        stack.parent = getcurrent()
        try:
            stack.switch(body)
        finally:
            if stack.dead:
                self._busy.pop(stack, None)

    def _live(self, body: Callable[[], None]) -> None:
        stack = getcurrent()
        while True:
            body()
            self._busy.pop(stack, None)
            if len(self._idle) >= POOLED:
                return
            self._idle.append(stack)
            assert stack.parent is not None, "a stack was switched to by somebody"
            body = stack.parent.switch()


__all__ = ["GreenletExit", "Stacks", "greenlet"]
