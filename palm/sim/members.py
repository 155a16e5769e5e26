"""The members of the simulated registry: who is up, who sees whom, who leads, and who is left without a leader.

As far as clients can tell, and no further: what the members agree on is one store, and whoever is in touch with the
leader serves it. A leader leads while it is one of a majority that see each other. When it is lost the others need the
time of an election, and until then believe in it: what they are asked meanwhile has no answer. A registry of one member
leads itself at once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from palm.ports.host import Timer
from palm.sim.draws import Key, Uniform
from palm.sim.network import Ends, Hold, Network, Rule

PLACE = "registry"
"""The host of a registry of one member, and the name that all members have in common."""
ELECTION = Uniform(1_000_000_000, 2_000_000_000)
"""How long etcd's members wait for a leader that says nothing: its election timeout, which each draws anew."""
UNAWARE_NS = 1_500_000_000
"""For so long a member that has lost its leader, and gets no other, believes in it; then it says that it has none."""
STREAMS_END_NS = 3_000_000_000
"""After that, a watch that wants a leader (`hasleader`) is ended: etcd looks three times. 3.9 s in all were seen."""


class Members:
    """`on_leader` is called when a leader is lost (None) or elected, `on_touch` when a member is in touch again, and
    `on_streams` when one has been without a leader for so long that it ends its watches."""

    def __init__(
        self,
        network: Network,
        count: int,
        *,
        on_leader: Callable[[int | None], None],
        on_touch: Callable[[int], None],
        on_streams: Callable[[int], None],
    ) -> None:
        self.count = count
        self.places = (PLACE,) if count == 1 else tuple(f"{PLACE}[{member}]" for member in range(count))
        self.up = [True] * count
        self.frozen = [False] * count
        self.headless = False
        """A registry of one member can be told to do as if the others were gone."""
        self._network = network
        self._clock = network.kernel
        self._key = Key(self._clock.seed, "registry/election")
        self._elections = 0
        self._election: Timer | None = None
        self._holds: dict[int, list[Rule]] = {}
        self._on_leader, self._on_touch, self._on_streams = on_leader, on_touch, on_streams
        self.leader: int | None = self._key.random(0).randrange(count)
        self.in_touch = frozenset(range(count))
        """Who sees the leader; empty while there is none."""
        self.lost_at: dict[int, int] = {}
        """By member: since when it has no leader. Not those that are down."""
        for place in self.places:
            network.add_host(place, part_of=PLACE if count > 1 else "")
        if count > 1:
            network.on_change(self, self.look)

    @property
    def majority(self) -> int:
        return self.count // 2 + 1

    def serves(self, member: int) -> bool:
        """It is in touch with the leader."""
        return member in self.in_touch

    def is_unaware(self, member: int) -> bool:
        """It has no leader, and has not noticed yet."""
        return self.count > 1 and self._clock.now < self.lost_at.get(member, -UNAWARE_NS) + UNAWARE_NS

    def who_leads(self) -> int:
        """The leader; while there is none, one that may be elected next."""
        if self.leader is not None:
            return self.leader
        return min(self._most() or self._living() or range(self.count))

    # -- what happens to them ------------------------------------------------------------------------------------------

    def crash(self, member: int) -> None:
        self.up[member] = False
        self.look()

    def restart(self, member: int) -> None:
        self.up[member] = True
        self.look()

    def freeze(self, member: int, name: str) -> Rule:
        """Its connections stay, and what is sent to it waits. The rule tells what waited."""
        self.frozen[member] = True
        rule = self._network.lay(Ends("*", self.places[member], both=True), Hold(), f"{name}/{self.places[member]}")
        self._holds.setdefault(member, []).append(rule)
        self.look()
        return rule

    def thaw(self, member: int) -> None:
        """It goes on with what has waited. Harmless when it was not frozen."""
        self.frozen[member] = False
        self.look()
        for rule in self._holds.pop(member, []):
            self._network.lift(rule)

    def look(self) -> None:
        """Who leads, and who sees the leader, as things stand now."""
        most = self._most()
        if self.leader is not None and self.leader not in most:
            self.leader = None
            self._touch(frozenset())
            self._on_leader(None)
        if self.leader is not None:
            self._touch(most)
        elif most and self._election is None:
            self._elect_later()

    # -- elections -----------------------------------------------------------------------------------------------------

    def _elect_later(self) -> None:
        if self.count == 1:
            self._elected()
            return
        self._elections += 1
        # Each that is left has drawn how long it waits; the first to be tired of it is elected by the others.
        waits = [ELECTION.sample(self._key.unit(self._elections * self.count + m)) for m in sorted(self._most())]
        self._election = self._clock.call_at(self._clock.now + min(waits), self._elected)

    def _elected(self) -> None:
        self._election = None
        most = self._most()
        if not most:
            return  # the next that is seen begins another
        # Who lacks what the others have agreed on is not elected: who saw the last leader until its end knows it all.
        latest = max(self.lost_at.get(member, -1) for member in most)
        fit = sorted(member for member in most if self.lost_at.get(member, -1) == latest)
        self.leader = fit[self._key.random(self._elections).randrange(len(fit))]
        if self.count > 1:
            self._clock.trace.record(PLACE, PLACE, f"leader {self.places[self.leader]}")
        self._on_leader(self.leader)
        self._touch(most)

    def _touch(self, most: frozenset[int]) -> None:
        """These are in touch with the leader from now on, and no others."""
        back, gone = most - self.in_touch, self.in_touch - most
        self.in_touch = most
        now = self._clock.now
        for member in range(self.count):
            if member in most or not self.up[member]:
                self.lost_at.pop(member, None)
            elif member in gone or member not in self.lost_at:
                self.lost_at[member] = now
                ends_at = now + UNAWARE_NS + STREAMS_END_NS
                if self.count > 1:
                    self._clock.call_at(ends_at, partial(self._end_streams, member, now))
        for member in sorted(back):
            self._on_touch(member)

    def _end_streams(self, member: int, lost_at: int) -> None:
        if self.lost_at.get(member) == lost_at:
            self._on_streams(member)

    # -- who sees whom -------------------------------------------------------------------------------------------------

    def _living(self) -> list[int]:
        return [m for m in range(self.count) if self.up[m] and not self.frozen[m]]

    def _most(self) -> frozenset[int]:
        """The members that see each other, where they are a majority; else nobody."""
        if self.headless:
            return frozenset()
        left = set(self._living())
        while left:
            group, edge = set[int](), [min(left)]
            while edge:
                member = edge.pop()
                group.add(member)
                left.discard(member)
                edge += sorted(other for other in left if self._sees(member, other))
            if len(group) >= self.majority:
                return frozenset(group)
        return frozenset()

    def _sees(self, one: int, other: int) -> bool:
        if self._network.passes(self.places[one], self.places[other]):
            return True
        self._network.blame(self.places[one], self.places[other])
        return False
