"""Bugs planted into PALM's own protocol: what a distributed system gets wrong, one line each, patched in memory.

A scenario, a check or a seed is worth what it catches; `palm simulate --score` finds out (`palm.testing.score`). A
line that is not there any more is an error, so the table cannot rot.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Iterator, Sequence

from palm.testing.patch import patched


@dataclass(frozen=True, slots=True)
class Planted:
    """`module` behaves as if `line` read `instead`. `breaks` says what that does; `caught_by` names scenarios, by
    their path below the scenarios' directory, that are to find it."""

    name: str
    module: str
    line: str
    instead: str
    breaks: str
    caught_by: tuple[str, ...]

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within the block, PALM has this bug. ValueError where its line is gone."""
        try:
            with patched(import_module(self.module), self.line, self.instead):
                yield
        except ValueError as error:
            raise ValueError(f"planted bug {self.name}: {error}") from error


PLANTED: Sequence[Planted] = (
    Planted(
        "acknowledge-before-work",
        "palm.core.dispatch",
        "            self._lose(piece, worker, died, lost)\n",
        "            pass\n",
        "a message counts as done once a worker has it: what a dying worker had is given to nobody",
        ("butterfly/worker-crash.yaml",),
    ),
    Planted(
        "no-retry",
        "palm.core.client",
        "            for flight in job.overdue(now):\n",
        "            for flight in job.overdue(now)[:0]:\n",
        "what gets no answer is never sent again",
        ("partition.yaml",),
    ),
    Planted(
        "no-dedup-at-the-client",
        "palm.core.client",
        "    if not all(map(rows.__contains__, sequences)) or len(set(sequences)) < len(sequences):\n",
        "    if False:\n",
        "a second answer to a message is taken for a first one",
        ("partition.yaml",),
    ),
    Planted(
        "no-dedup-at-the-server",
        "palm.core.memory",
        "        if sequence < self.floor or sequence in self._rows:\n",
        "        if sequence < self.floor:\n",
        "a message that comes twice is run twice",
        (),
    ),
    Planted(
        "watermark-off-by-one",
        "palm.core.jobs",
        "        return self.floor\n",
        "        return self.floor + 1\n",
        "the first message that has not ended counts as ended: servers forget it, and drop it as stale",
        ("partition.yaml",),
    ),
    Planted(
        "watermark-never-moves",
        "palm.core.memory",
        "        if watermark <= floor:\n",
        "        if watermark >= floor:\n",
        "servers remember every message of a job for as long as it lasts",
        (),
    ),
    Planted(
        "stale-term-accepted",
        "palm.core.election",
        "        if term < self.latest:\n",
        "        if term < 0:\n",
        "a worker obeys a leader whose time is over",
        ("butterfly/leader-frozen.yaml",),
    ),
    Planted(
        "answer-of-an-old-term-taken",
        "palm.core.butterfly",
        "        if self.lead is None or batch.header.term != self.lead.term:\n",
        "        if self.lead is None:\n",
        "a leader takes what a worker answers to the one before it",
        (),
    ),
    Planted(
        "lease-kept-after-expiry",
        "palm.core.election",
        "        return self.term > 0 and now < self.until and self.term >= self.latest\n",
        "        return self.term > 0\n",
        "a leader acts on although its lease has run out: two of them lead",
        ("butterfly/leader-frozen.yaml",),
    ),
    Planted(
        "no-return-after-a-lost-lease",
        "palm.runtime.registration",
        "                self._lease = None\n                self.on_renewed()\n",
        "                self.on_renewed()\n",
        "an instance whose lease was lost never registers again",
        ("partition.yaml",),
    ),
    Planted(
        "lost-wake-up",
        "palm.core.server",
        "        return self._links.add(instance, now) + self._unpark(instance.server, now)\n",
        "        return self._links.add(instance, now)\n",
        "answers that wait for an instance of the next server are not told that there is one",
        (),
    ),
    Planted(
        "window-leak",
        "palm.core.client",
        "        job.untaken -= event.outcomes\n",
        "        job.untaken -= event.delivered\n",
        "a message that fails keeps its place in the window for ever",
        ("poison/first-stage.yaml",),
    ),
    Planted(
        "no-window",
        "palm.core.window",
        "        room = self.size - messages\n",
        "        room = self.size\n",
        "a job takes all of its source, however slow its consumer is",
        (),
    ),
    Planted(
        "busy-is-final",
        "palm.core.client",
        "_NOT_TAKEN = (Status.BUSY, Status.AWAY)\n",
        "_NOT_TAKEN = (Status.AWAY,)\n",
        "a server that says BUSY is taken to have answered",
        (),
    ),
    Planted(
        "definite-failure-retried",
        "palm.core.client",
        "_NOT_TAKEN = (Status.BUSY, Status.AWAY)\n",
        "_NOT_TAKEN = (Status.BUSY, Status.AWAY, Status.FAILED)\n",
        "what user code has refused for good is asked of it again, for ever",
        (),
    ),
    Planted(
        "shares-rounded",
        "palm.core.share",
        "            if done[0] < key[1]:\n",
        "            if done[0] < key[1] - 1:\n",
        "a message counts as complete while a part of it is missing",
        ("flow/fan-out.yaml",),
    ),
    Planted(
        "attempts-mixed",
        "palm.core.share",
        "            key = (step.fork, step.parts)\n",
        "            key = (0, step.parts)\n",
        "parts of two attempts at a message are added up together",
        ("flow/fan-out.yaml",),
    ),
    Planted(
        "filtered-without-a-word",
        "palm.core.server",
        "            kept = [i for i, status in enumerate(statuses) if status != Status.CANCELLED]\n",
        "            kept = [i for i, status in enumerate(statuses) if status not in (Status.CANCELLED, Status.EMPTY)]\n",
        "nobody is told that nothing comes of a message",
        ("flow/filter.yaml",),
    ),
    Planted(
        "poison-for-ever",
        "palm.core.dispatch",
        "                if len(deaths) >= MAX_DEATHS:\n",
        "                if False:\n",
        "a message that kills its worker is given to the next one, for ever",
        ("butterfly/poison.yaml",),
    ),
    Planted(
        "poison-takes-others-along",
        "palm.core.client",
        "                    job.suspects.append(Waiting([sequence], flight.attempt + 1, flight.expires))\n",
        "                    job.waiting.append(Waiting([sequence], flight.attempt + 1, flight.expires))\n",
        "what was beside a message that kills goes with it again, until it is dead-lettered, too",
        ("poison/first-stage.yaml",),
    ),
    Planted(
        "sink-meets-anywhere",
        "palm.core.server",
        "        if any(link.instance.kind == SINK for link in links.values()):\n            return self._to_sink",
        "        if False:\n            return self._to_sink",
        "parts that belong together go to different instances of a sink, each of which waits for the rest",
        ("flow/zip.yaml",),
    ),
    Planted(
        "memory-kept-for-ever",
        "palm.core.server",
        "        for key in [key for key in self._memories if key[0] == job]:\n",
        "        for key in []:\n",
        "a server remembers jobs that are over",
        (),
    ),
    Planted(
        "watch-resumes-from-the-header",
        "palm.sim.registry",
        "",
        "",
        "a watch that breaks goes on from the revision of the last answer, and not from what it handed on",
        (),
    ),
    Planted(
        "suspicion-without-end",
        "palm.core.links",
        "        link.suspected = False\n",
        "        pass\n",
        "an instance that was silent once gets nothing more, however it speaks up",
        (),
    ),
    Planted(
        "deadline-not-looked-at",
        "palm.runtime.invoke",
        "        return expires is not None and self._host.now() >= expires\n",
        "        return False\n",
        "what has expired in a queue is run all the same",
        (),
    ),
    Planted(
        "life-not-checked",
        "palm.core.server",
        "        if hello.expects != self.peer:\n",
        "        if False:\n",
        "a new life at an old address is taken for the former one",
        (),
    ),
)
