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
        "palm.core.client",
        "                    job.suspects.append(Waiting([sequence], flight.attempt + 1, flight.expires))\n",
        "                    pass\n",
        "a message counts as done once an instance has taken it: what dies with it is sent to nobody",
        ("registered/worker-crash.yaml", "network/old-pipe.yaml"),
    ),
    Planted(
        "no-retry",
        "palm.core.client",
        "        job.waiting.append(Waiting(left, attempt, flight.expires, link))\n",
        "",
        "what gets no answer is never sent again",
        ("network/one-way-cut.yaml", "partition.yaml"),
    ),
    Planted(
        "bounced-and-forgotten",
        "palm.core.client",
        "                group.before = None\n            job.waiting.append(group)\n",
        "                group.before = None\n",
        "what could not leave for a peer that is gone is not sent to another",
        ("registered/gone-peer.yaml",),
    ),
    Planted(
        "no-dedup-at-the-client",
        "palm.core.client",
        "    if not all(map(rows.__contains__, sequences)) or len(set(sequences)) < len(sequences):\n",
        "    if False:\n",
        "a second answer to a message is taken for a first one",
        ("registered/worker-frozen.yaml", "ends/cancel.yaml"),
    ),
    Planted(
        "no-dedup-at-the-server",
        "palm.core.memory",
        "        if sequence < self.floor or sequence in self._rows:\n            return False\n",
        "",
        "a message that comes twice is run twice",
        ("network/doubled-and-reordered.yaml",),
    ),
    Planted(
        "answer-not-repeated",
        "palm.core.server",
        "            effects += self._answer_again(memory, batch, set(fresh), now)\n",
        "",
        "a message whose answer was lost is known, and never answered again",
        ("registered/answer-lost.yaml",),
    ),
    Planted(
        "watermark-off-by-one",
        "palm.core.jobs",
        "        return self.floor\n",
        "        return self.floor + 1\n",
        "the first message that has not ended counts as ended: servers drop it as stale",
        ("partition.yaml", "network/one-way-cut.yaml"),
    ),
    Planted(
        "stale-term-accepted",
        "palm.core.election",
        "        return self.term > 0 and now < self.until and self.term >= self.latest\n",
        "        return self.term > 0\n",
        "a leader goes on with its term, although that is over and a later one has begun",
        ("butterfly/clocks.yaml",),
    ),
    Planted(
        "lease-kept-after-expiry",
        "palm.runtime.election",
        "            self._post(Elected(self._term, self._registration.valid_until - MARGIN))\n",
        "            self._post(Elected(self._term, 1 << 62))\n",
        "a leader acts on although its lease has run out: two of them lead",
        ("butterfly/clocks.yaml", "butterfly/leader-frozen.yaml"),
    ),
    Planted(
        "leader-not-watched",
        "palm.runtime.election",
        "                await self._until_gone(revision)\n",
        "                await self._host.sleep(10**12)\n",
        "nobody notices that the leader is gone",
        ("butterfly/leader-crash.yaml",),
    ),
    Planted(
        "lost-answer-lost-office",
        "palm.runtime.election",
        "                if holder is None or holder.lease == lease:\n",
        "                if holder is None:\n",
        "a leader whose election was answered to nobody does not know that it leads",
        ("registry/unsure.yaml",),
    ),
    Planted(
        "no-return-after-a-lost-lease",
        "palm.runtime.registration",
        "            except LeaseLost:\n                self._lease = None\n",
        "            except LeaseLost:\n                continue\n",
        "an instance whose lease was lost never registers again",
        ("network/partition-and-heal.yaml", "registry/outage-of-many.yaml"),
    ),
    Planted(
        "outage-taken-for-loss",
        "palm.runtime.registration",
        "            except LeaseLost:\n",
        "            except (LeaseLost, RegistryError):\n",
        "a registry that cannot be asked counts as one that has taken the lease",
        ("registry/change-leader.yaml",),
    ),
    Planted(
        "lost-wake-up",
        "palm.core.client",
        "        return effects + self._check_ready(now) + self._dispatch_all(now)\n",
        "        return effects + self._dispatch_all(now)\n",
        "a job that waits for its servers is not told that they have come",
        ("registered/late-start.yaml",),
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
        "window-ends-at-the-answer",
        "palm.core.chain",
        "        count = len(job.rows) + job.root.untaken + job.demanded\n",
        "        count = len(job.rows) + job.demanded\n",
        "results that a slow caller has not taken do not count: memory grows with the job",
        ("pressure/slow-sink.yaml",),
    ),
    Planted(
        "busy-is-final",
        "palm.core.client",
        "            group.pinned = job.at_most_once and later\n            job.waiting.append(group)\n",
        "            group.pinned = job.at_most_once and later\n",
        "what a server was too busy for is not sent again",
        ("pressure/ten-clients.yaml", "pressure/twice-through-a-slow-server.yaml"),
    ),
    Planted(
        "definite-failure-retried",
        "palm.core.client",
        "_NOT_TAKEN = (Status.BUSY, Status.AWAY)\n",
        "_NOT_TAKEN = (Status.BUSY, Status.AWAY, Status.FAILED)\n",
        "what user code has refused for good is asked of it again, for ever",
        ("ends/torn.yaml",),
    ),
    Planted(
        "once-is-not-looked-up",
        "palm.core.client",
        "                job.forbid_repeats()\n",
        "                pass\n",
        "a function that must never run twice is sent lost messages again",
        ("functions/once.yaml",),
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
        "filtered-without-a-word",
        "palm.runtime.invoke",
        "        return Status.EMPTY if self.consume else outcome\n",
        "        return Status.CANCELLED if outcome is Status.EMPTY else outcome\n",
        "nobody is told that nothing comes of a message",
        ("flow/filter.yaml",),
    ),
    Planted(
        "torn-results",
        "palm.runtime.results",
        "            for each in result:\n                gathered.add(each)\n        else:",
        (
            "            try:\n"
            "                for each in result:\n"
            "                    gathered.add(each)\n"
            "            except ValueError:\n"
            "                pass\n"
            "        else:"
        ),
        "what a generator gave before it raised goes on, as if it were all",
        ("ends/torn.yaml",),
    ),
    Planted(
        "sink-meets-anywhere",
        "palm.core.onward",
        "        link = meeting_place(batch.header.job, links.values(), function)\n",
        "        link = max(links.values(), key=lambda link: link.heard_at, default=None)\n",
        "parts that belong together go to different instances of a sink, each of which waits for the rest",
        ("flow/zip.yaml",),
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
        "poison-of-a-later-stage",
        "palm.core.server",
        "                exposed = self._exposed(event)\n",
        "                exposed: list[Effect] = []\n",
        "nobody is told what an instance of a later stage had when it died",
        ("poison/later-stage.yaml",),
    ),
    Planted(
        "answer-of-the-wrong-worker",
        "palm.core.dispatch",
        ("            if piece is None or piece.worker != worker:\n                continue\n            assert"),
        "            assert",
        "a leader takes an answer from a worker whose message it has given to another",
        ("butterfly/worker-frozen.yaml",),
    ),
    Planted(
        "drained-at-once",
        "palm.runtime.serving",
        "        begin = self.host.now()\n        until",
        "        return True\n        begin = 0\n        until",
        "a server that is told to go drops what it has taken",
        ("restart/rolling.yaml",),
    ),
    Planted(
        "overlapping-partials",
        "palm.core.chain",
        "len(open_) < span.count or",
        "not open_ or",
        "a partial result is taken although some of its messages are in another one",
        ("reduce/ran-twice.yaml",),
    ),
    Planted(
        "silent-shard-waited-for",
        "palm.core.scatter",
        "                row.due = due\n                self._due.append((due, row))\n",
        "                pass\n",
        "a part that never answers holds up its message beyond the time it was given",
        ("scatter/silent-shard.yaml",),
    ),
    Planted(
        "watch-resumes-from-the-header",
        "palm.sim.registry",
        "        if changes:\n            self.handed_on = changes[-1].record.mod_revision\n",
        "        self.handed_on = max(self.handed_on, answer.revision)\n        if changes:\n",
        "a watch that breaks goes on from the revision of the last answer, and not from what it handed on",
        ("registry/change-leader.yaml",),
    ),
    Planted(
        "history-gone-for-good",
        "palm.runtime.directory",
        "            except Compacted:\n                continue\n",
        "            except Compacted:\n                return\n",
        "a watch that falls behind a compaction is not begun again from a list",
        ("registry/compaction.yaml",),
    ),
    Planted(
        "endpoint-blacklisted-for-300-s",
        "palm.sim.registry",
        "        return int(pause * (0.5 + jitter / 2))\n",
        "        return 300_000_000_000\n",
        "a registry that failed once is not asked again for five minutes",
        ("registry/compaction.yaml",),
    ),
    Planted(
        "stays-at-a-dead-member",
        "palm.sim.registry",
        "            self._at = (self._at + 1) % len(self._lines)\n",
        "            pass\n",
        "whoever talked to a member of the registry that died goes on to try that one",
        ("registry/member-crash.yaml",),
    ),
    Planted(
        "renewal-missed-until-the-next-is-due",
        "palm.runtime.registration",
        "                pause = min(RETRY, self._renew)\n",
        "",
        "a lease whose renewal failed is renewed again only a whole period later",
        ("registry/two-outages.yaml",),
    ),
)
