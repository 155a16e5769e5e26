"""The way on: to which instance of the next server an answer goes, or that it waits for one, or for its client's link.

Where an instance is lost on the way, another is chosen; a sink's messages of one job all go to one instance.
"""

from __future__ import annotations

from typing import Callable

from palm.core.callers import Callers
from palm.core.effect import Effect, Follow, Send
from palm.core.event import Bounced, InstanceDown, InstanceUp
from palm.core.joins import SINK, meeting_place
from palm.core.links import Link, Links
from palm.core.memory import Memory
from palm.core.message import Batch, Control, Header, JobId, Peer, Pong
from palm.core.parked import Parked, Where


class Onward:
    """`memory_behind` finds the memory of the stage whose answers travel under a header; None where their job is
    forgotten."""

    def __init__(
        self, links: Links, callers: Callers, memory_behind: Callable[[Header], Memory | None], max_in_flight: int
    ) -> None:
        self._links = links
        self._callers = callers
        self._memory_behind = memory_behind
        self._parked = Parked(max_in_flight)
        self._followed: set[str] = set()
        # Servers all of whose instances were heard of: before that, nobody knows where a job's messages are to meet.
        self._listed: set[str] = set()
        self._sent_since_pong: dict[Peer, int] = {}

    @property
    def deadline(self) -> int | None:
        return self._links.deadline

    @property
    def waiting(self) -> int:
        """How many answers are held back."""
        return self._parked.count

    def link(self, peer: Peer) -> Link | None:
        return self._links.get(peer)

    # -- answers out --------------------------------------------------------------------------------------------------

    def to_client(self, batch: Batch, now: int) -> list[Effect]:
        client = batch.header.job.client
        if client in self._callers:
            return [Send(client, batch)]
        return self._park(client, batch, now)

    def to_next(self, memory: Memory, batch: Batch, before: Peer | None, now: int) -> list[Effect]:
        """To `before`, where these went there before and it is well."""
        server = batch.header.target.server
        links = self._links.of(server)
        if any(link.instance.kind == SINK for link in links.values()):
            return self._to_sink(memory, batch, links, now)
        peer = (
            before
            if before is not None and before in links and links[before].usable
            else self._choose(links, batch.header.target.function)
        )
        if peer is None:
            return self._follow(server) + self._park(server, batch, now)
        (memory.parts_went if batch.header.parts else memory.went)(batch.sequences, peer)
        self._sent_since_pong[peer] = self._sent_since_pong.get(peer, 0) + len(batch)
        return [Send(peer, batch)]

    def _to_sink(self, memory: Memory, batch: Batch, links: dict[Peer, Link], now: int) -> list[Effect]:
        """All of a job go to one instance, and wait for it where it is silent: until it is back, or gone."""
        server, function = batch.header.target
        link = meeting_place(batch.header.job, links.values(), function)
        if link is None or server not in self._listed or not link.usable:
            return self._follow(server) + self._park(server, batch, now)
        (memory.parts_went if batch.header.parts else memory.went)(batch.sequences, link.instance.peer)
        return [Send(link.instance.peer, batch)]

    def _choose(self, links: dict[Peer, Link], function: str) -> Peer | None:
        """The usable instance of that function with the least before it, by its own last word and what was sent since;
        ties to the first."""
        best: Peer | None = None
        least = 0
        for peer, link in links.items():
            if link.usable and link.instance.has(function):
                load = self._sent_since_pong.get(peer, 0) + (link.pong.in_flight if link.pong is not None else 0)
                if best is None or load < least:
                    best, least = peer, load
        return best

    def _follow(self, server: str) -> list[Effect]:
        if server in self._followed:
            return []
        self._followed.add(server)
        return [Follow(server)]

    # -- what waits ---------------------------------------------------------------------------------------------------

    def _park(self, where: Where, batch: Batch, now: int) -> list[Effect]:
        self._parked.put(where, batch, now)
        return []

    def unpark(self, where: Where, now: int) -> list[Effect]:
        """There is a way now for what waited for it."""
        effects: list[Effect] = []
        for batch in self._parked.take(where, now):
            if batch.header.is_result:
                effects += self.to_client(batch, now)
            else:
                memory = self._memory_behind(batch.header)
                if memory is not None:
                    effects += self.to_next(memory, batch, None, now)
        return effects

    def drop(self, client: Peer) -> None:
        self._parked.drop(client)

    def forget(self, job: JobId) -> None:
        self._parked.forget(job)

    # -- who is there -------------------------------------------------------------------------------------------------

    def tick(self, now: int) -> list[Effect]:
        return self._links.tick(now)

    def heard(self, peer: Peer, control: Control, now: int) -> list[Effect]:
        """A word of a dialed instance's. What waited for one of its server can go now, where it was silent before."""
        if isinstance(control, Pong):
            self._sent_since_pong.pop(peer, None)
        woken = self._links.heard(peer, now)
        effects = self._links.told(peer, control)
        link = self._links.get(peer)
        return effects + self.unpark(link.instance.server, now) if woken and link is not None else effects

    def listed(self, server: str, now: int) -> list[Effect]:
        self._listed.add(server)
        return self.unpark(server, now)

    def instance_up(self, event: InstanceUp, now: int) -> list[Effect]:
        instance = event.instance
        return self._links.add(instance, now) + self.unpark(instance.server, now)

    def instance_down(self, event: InstanceDown, now: int) -> list[Effect]:
        self._sent_since_pong.pop(event.peer, None)
        return [*self._links.remove(event.peer, event.server), *self.unpark(event.server, now)]

    def bounced(self, event: Bounced, now: int) -> list[Effect]:
        """It did not leave this process. To a client: wait for its link. To a server: another instance, or wait."""
        batch, peer = event.batch, event.peer
        if batch.header.is_result:
            self._callers.lost(peer, now)
            return self._park(peer, batch, now)
        link = self._links.get(peer)
        if link is not None:
            link.suspected = True
        memory = self._memory_behind(batch.header)
        return [] if memory is None else self.to_next(memory, batch, None, now)
