"""Faults inside of user code: at a mark that it has placed, a function fails, its process dies, or it waits."""

from __future__ import annotations

from palm.sim.cluster import Cluster
from palm.sim.history import Entry, EntryKind
from palm.sim.scenario.actions import Point
from palm.sim.stacks import GreenletExit


class PointReached(RuntimeError):
    """What a function fails with where a scenario says so."""


class Points:
    """Those that are armed. `reached` is called on the stack of the user code that has come to a mark, and what it
    raises, that code sees."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._armed: dict[str, Point] = {}
        self.touched: dict[str, int] = {}

    def arm(self, step: str, point: Point) -> None:
        self._armed[step] = point
        self.touched[step] = 0

    def disarm(self, step: str) -> None:
        self._armed.pop(step, None)

    def reached(self, entry: Entry) -> None:
        if entry.kind is not EntryKind.MARK:
            return
        for step, point in list(self._armed.items()):
            if point.name == entry.detail and point.server in (None, entry.server):
                self.touched[step] += 1
                if self.touched[step] >= point.times:
                    self.disarm(step)
                self._act(point, entry)

    def _act(self, point: Point, entry: Entry) -> None:
        [host] = [one.host for one in self._cluster.instances[entry.server] if one.name == entry.instance]
        assert host is not None, "who comes to a mark lives"
        match point.effect:
            case "fail":
                raise PointReached(f"the scenario lets {entry.server} fail at {point.name}")
            case "crash":
                host.crash()
                raise GreenletExit
            case _:
                host.pause(point.by_ns)
