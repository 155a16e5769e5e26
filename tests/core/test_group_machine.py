"""The same system with leaders and workers: two stages, each a group of instances that a model of the registry elects
leaders for.

The registry keeps its rules (one holder of a key, a lease that ends, terms that grow), and is otherwise as late with
its news as it likes: a leader may hear of its own election, or of its end, long after the others.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from palm.core.butterfly import ButterflyNode
from palm.core.client import MAX_DEATHS
from palm.core.effect import Effect, Send, Stand
from palm.core.election import MARGIN
from palm.core.event import Deposed, Elected, InstanceDown, InstanceUp, Listed
from palm.core.message import Instance, Leg, Peer
from palm.testing.harness import NS
from tests.core.test_system_machine import SERVERS, System

LEASE = 5 * NS


class Key(NamedTuple):
    """Who leads a server, as the registry has it."""

    holder: Peer
    term: int
    until: int


class Groups(System):
    def __init__(self) -> None:
        super().__init__()
        self.keys: dict[str, Key] = {}
        self.revision = 0
        self.mandates: dict[int, int] = {}
        """Until when who leads in a term may act, as far as it can know."""

    # -- the world ----------------------------------------------------------------------------------------------------

    def node_of(self, instance: Instance) -> ButterflyNode:
        return ButterflyNode(
            peer=instance.peer, server=instance.server, functions=("f", "g"), max_in_flight=8, now=self.now
        )

    def start(self, server: str) -> None:
        before = set(self.alive)
        super().start(server)
        (peer,) = set(self.alive) - before
        place = self.places[peer]
        # An instance of a group follows its own name.
        place.follows.append(server)
        place.news += [InstanceUp(mate) for mate in self.alive.values() if mate.server == server]
        place.news.append(Listed(server))

    def perform(self, at: Peer, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Stand(role, term):
                    here = self.alive[at] = replace(self.alive[at], role=role, term=term)
                    self.tell(here.server, InstanceUp(here))
                case Send(_, batch) if batch.header.leg == Leg.TO_WORKER:
                    assert self.now < self.mandates[batch.header.term], "it leads on after its lease"
        super().perform(at, effects)

    def vacate(self, server: str) -> None:
        """The key is gone, if its holder is or its lease has ended; a holder that lives is told, some time."""
        key = self.keys.get(server)
        if key is not None and (key.holder not in self.alive or key.until <= self.now):
            del self.keys[server]
            if key.holder in self.places:
                self.places[key.holder].news.append(Deposed())

    # -- what happens -------------------------------------------------------------------------------------------------

    @rule(server=st.sampled_from(SERVERS), which=st.integers(0, 2))
    def campaign(self, server: str, which: int) -> None:
        """Where nobody leads somebody is elected; who leads has its lease renewed."""
        self.vacate(server)
        here = [peer for peer, instance in self.alive.items() if instance.server == server]
        if server not in self.keys:
            if which >= len(here):
                return
            self.revision += 1
            self.keys[server] = Key(here[which], self.revision, 0)
        key = self.keys[server]
        self.keys[server] = key._replace(until=self.now + LEASE)
        self.mandates[key.term] = self.now + LEASE - MARGIN
        self.places[key.holder].news.append(Elected(key.term, self.mandates[key.term]))

    @precondition(lambda self: self.keys)
    @rule(data=st.data())
    def resign(self, data: st.DataObject) -> None:
        """A leader makes room: it knows so first."""
        server = data.draw(st.sampled_from(sorted(self.keys)))
        holder = self.keys.pop(server).holder
        if holder in self.places:
            self.places[holder].news.append(Deposed())
            self.hear_at(holder)

    @rule(server=st.sampled_from(SERVERS), which=st.integers(0, 2))
    def lapse(self, server: str, which: int) -> None:
        """The lease of an instance that lives ends: to the others it is lost, goes on for a while, and comes back."""
        here = [peer for peer, instance in self.alive.items() if instance.server == server]
        if which < len(here) and self.deaths[server] < MAX_DEATHS - 1:
            peer = here[which]
            self.deaths[server] += 1
            self.tell(server, InstanceDown(server, peer))
            self.tell(server, InstanceUp(self.alive[peer]))
            if server in self.keys and self.keys[server].holder == peer:
                del self.keys[server]
                self.places[peer].news.append(Deposed())

    @rule(rounds=st.integers(1, 3))
    def quiet(self, rounds: int) -> None:
        for server in SERVERS:
            self.campaign(server, 0)
        super().quiet(rounds)


TestGroups = Groups.TestCase
TestGroups.settings = settings(
    max_examples=60, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
