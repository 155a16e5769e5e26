"""Faults inside of user code, in the process that runs it: at a mark that the code has placed, its function fails, the
process dies, or it waits. How often that may still happen, in all processes together, is a pipe of tokens."""

from __future__ import annotations

import threading
import time
from typing import Callable, NoReturn, Sequence

from palm.sim.history import Entry, EntryKind
from palm.sim.points import PointReached
from palm.sim.scenario.actions import Point
from palm.testing.real.tokens import take


class Points:
    """`reached` is called where user code comes to a mark, on its thread: what it raises, that code sees. `die` ends
    the process, and is called on the event loop's thread; `submit` brings something there."""

    def __init__(
        self,
        points: Sequence[tuple[int, Point]],
        *,
        submit: Callable[[Callable[[], None]], object],
        die: Callable[[], None],
    ) -> None:
        self._points = points
        self._submit = submit
        self._die = die
        self._home = threading.current_thread()

    def reached(self, entry: Entry) -> None:
        if entry.kind is EntryKind.MARK:
            for fd, point in self._points:
                if point.name == entry.detail and point.server in (None, entry.server) and take(fd):
                    self._act(point, entry)

    def _act(self, point: Point, entry: Entry) -> None:
        match point.effect:
            case "fail":
                raise PointReached(f"the scenario lets {entry.server} fail at {point.name}")
            case "crash":
                self._crash()
            case _:
                time.sleep(point.by_ns / 1e9)

    def _crash(self) -> NoReturn:
        if threading.current_thread() is self._home:
            self._die()
        else:
            self._submit(self._die)
        while True:  # nothing more of this code happens
            time.sleep(1)
