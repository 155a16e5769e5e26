"""What a report shows of a run beyond its history: every frame, where it went and what became of it."""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple, cast

from palm.core.message import Frame, JobId
from palm.sim.cluster import Cluster, Instance
from palm.sim.network import Pipe
from palm.sim.steps import Script

FRAMES_MAX = 400_000
"""Later ones are counted only. A page with as many still answers; one with ten times as many would not open."""

BROKEN = "broken"
"""The fate of a frame that was sent, and whose connection was gone when it would have arrived."""


class Shot(NamedTuple):
    """One frame on one link."""

    at: int
    src: str
    dst: str
    fate: str
    """`sent`, or why it did not set out: `held`, `cut`, `lost`."""
    arrival: int
    pipe: str
    parts: Frame


class Film:
    """An observer of the network for one run; `finish` takes what else is needed before the world is closed."""

    def __init__(self, *, frames_max: int = FRAMES_MAX) -> None:
        self.left_out = 0
        self.jobs: Mapping[JobId, str] = {}
        self.subjects: Mapping[str, tuple[str, ...]] = {}
        """By step: the instances that it was done to."""
        self._frames_max = frames_max
        self._shots: list[Shot] = []
        self._missed: dict[tuple[str, int], None] = {}

    def frame(self, pipe: Pipe[Any], now: int, fate: str, arrival: int, parts: tuple[bytes, ...]) -> None:
        if len(self._shots) == self._frames_max:
            self.left_out += 1
            return
        self._shots.append(Shot(now, pipe.src, pipe.dst, fate, arrival, pipe.name, cast(Frame, parts)))

    def missed(self, pipe: Pipe[Any], now: int) -> None:
        self._missed[pipe.name, now] = None

    def finish(self, cluster: Cluster, script: Script[Instance]) -> None:
        self.jobs = dict(cluster.recorder.jobs)
        self.subjects = script.subjects()

    @property
    def shots(self) -> list[Shot]:
        """In the order in which they were sent."""
        return [
            shot._replace(fate=BROKEN) if shot.fate == "sent" and (shot.pipe, shot.arrival) in self._missed else shot
            for shot in self._shots
        ]
