"""The links that a node has dialed: greeting, heartbeats and suspicion.

One beat serves all links. Every `beat` each link gets a Ping; a link that has not been heard for `suspect` is suspected
until it is heard again. Nothing here decides that a peer is gone: the registry does.
"""

from __future__ import annotations

from typing import Iterator

from palm.core.effect import Dial, Effect, HangUp, Tell
from palm.core.message import PROTOCOL_VERSION, Control, Hello, Instance, Peer, Ping, Pong, Refused

BEAT = 500_000_000
SUSPECT = 1_500_000_000


class Link:
    """One dialed peer. `pong` is its latest word about itself, None before the first;
    `outstanding` is the owner's count of what it sent there and has no answer to; `outranked` says that another
    instance of its server leads by a later election."""

    __slots__ = ("instance", "heard_at", "suspected", "pong", "refused", "leaving", "outranked", "outstanding")

    def __init__(self, instance: Instance, now: int) -> None:
        self.instance = instance
        self.heard_at = now
        self.suspected = False
        self.pong: Pong | None = None
        self.refused: Refused | None = None
        self.leaving = instance.draining
        self.outranked = False
        self.outstanding = 0

    @property
    def usable(self) -> bool:
        return not (self.suspected or self.leaving or self.outranked or self.refused) and self.instance.takes_messages

    @property
    def answers(self) -> bool:
        """It is heard, and talks to us."""
        return not self.suspected and self.refused is None

    def in_words(self, now: int) -> str:
        """How the peer stands, for people."""
        instance, pong = self.instance, self.pong
        name = f"{instance.peer} on {instance.host or instance.address}"
        if self.refused is not None:
            return f"{name} refuses us: {self.refused.text}"
        silent_s = (now - self.heard_at) / 1e9
        if self.suspected:
            return (
                f"{name} was last heard {silent_s:.1f} s ago "
                f"(is it running, and can this machine reach {instance.address}?)"
            )
        if pong is not None and pong.busy_in:
            return f"{name} is busy in {pong.busy_in} for {pong.busy_us / 1e6:.1f} s with {pong.in_flight} in flight"
        return f"{name} is idle, last heard {silent_s:.1f} s ago"


class Links:
    def __init__(self, *, cluster: str, name: str, beat: int = BEAT, suspect: int = SUSPECT) -> None:
        self._cluster = cluster
        self._name = name
        self._beat = beat
        self._suspect = suspect
        self._links: dict[Peer, Link] = {}
        self._by_server: dict[str, dict[Peer, Link]] = {}
        self._beat_at: int | None = None
        self._number = 0

    def __contains__(self, peer: Peer) -> bool:
        return peer in self._links

    def __iter__(self) -> Iterator[Link]:
        return iter(self._links.values())

    def get(self, peer: Peer) -> Link | None:
        return self._links.get(peer)

    def of(self, server: str) -> dict[Peer, Link]:
        """The dialed instances of that server, in the order they appeared. Not to be changed by the caller."""
        return self._by_server.get(server, {})

    @property
    def deadline(self) -> int | None:
        return self._beat_at if self._links else None

    def add(self, instance: Instance, now: int) -> list[Effect]:
        """Dial and greet, or take note of a changed record."""
        known = self._links.get(instance.peer)
        if known is not None and known.instance.server != instance.server:
            return []  # a life belongs to one server: whoever else claims it is not believed
        if known is not None:
            known.instance = instance
            known.leaving = known.leaving or instance.draining
            self._rank(instance.server)
            return []
        link = Link(instance, now)
        self._links[instance.peer] = link
        self._by_server.setdefault(instance.server, {})[instance.peer] = link
        self._rank(instance.server)
        if self._beat_at is None or len(self._links) == 1:
            self._beat_at = now + self._beat
        return [Dial(instance.peer, instance.address), self._hello(instance.peer)]

    def remove(self, peer: Peer, server: str) -> list[Effect]:
        """Hang up on that instance of `server`."""
        if self._by_server.get(server, {}).pop(peer, None) is None:
            return []
        del self._links[peer]
        return [HangUp(peer)]

    def heard(self, peer: Peer, now: int) -> bool:
        """Anything arrived from `peer`. True when it was suspected until now."""
        link = self._links.get(peer)
        if link is None:
            return False
        link.heard_at = now
        was_suspected = link.suspected
        link.suspected = False
        return was_suspected

    def told(self, peer: Peer, control: Control) -> list[Effect]:
        """A control word from a dialed peer: Welcome, Pong or Refused."""
        link = self._links.get(peer)
        if link is None:
            return []
        match control:
            case Pong():
                link.pong = control
                link.leaving = link.leaving or control.draining
            case Refused(why="STRANGER"):
                return [self._hello(peer)]
            case Refused():
                link.refused = control
        return []

    def tick(self, now: int, open_jobs: tuple[int, ...] = (), next_job: int = 0) -> list[Effect]:
        """Ping where it is time, with what a client says of its jobs; take note of who has gone silent."""
        if self._beat_at is None or now < self._beat_at or not self._links:
            return []
        self._number += 1
        # Several intervals late (a frozen process): silence of that time is ours, not the peers'.
        overslept = now - self._beat_at > self._beat
        self._beat_at = now + self._beat
        for link in self._links.values():
            if overslept:
                link.heard_at = max(link.heard_at, now - self._beat)
            elif now - link.heard_at > self._suspect:
                link.suspected = True
        ping = Ping(self._number, open_jobs, next_job)
        return [Tell(peer, ping) for peer in self._links]

    def _rank(self, server: str) -> None:
        """A leader that was followed by another may still be shown as one for a while."""
        links = self._by_server[server].values()
        latest = max(0 if link.instance.role == "keeper" else link.instance.term for link in links)
        for link in links:
            link.outranked = link.instance.term < latest

    def _hello(self, peer: Peer) -> Tell:
        return Tell(peer, Hello(PROTOCOL_VERSION, peer, self._cluster, self._name))
