"""Who lives, and how each says that it stands: a client dials every instance of the cluster and hears it twice.

An instance that is registered and does not answer is shown as such: the registry says who holds a lease, the link who
is there.
"""

from __future__ import annotations

from typing import NamedTuple

from palm.core.links import Link
from palm.core.message import Instance, Peer, Pong
from palm.runtime.engine import ClientEngine

PATIENCE = 2_200_000_000
"""Two heartbeats (0.5 s each) are enough for those who answer; this is how long the others are waited for (ns)."""

LOOK = 20_000_000

BUSY_US = 1_000_000
"""One call of user code that has run for this long is worth a word of its own."""


class Standing(NamedTuple):
    """`pong` is the instance's latest word about itself, None where it said none; `rate` the messages per second that
    it ran between its last two words, by its own clock, None where it said less than two."""

    instance: Instance
    pong: Pong | None = None
    rate: float | None = None
    silent_s: float = 0.0
    refused: str = ""
    is_linked: bool = False
    """Its process answers below the frames."""

    @property
    def state(self) -> str:
        """One of idle, working, busy, draining, stuck, unreachable, refuses."""
        if self.refused:
            return "refuses"
        if self.pong is None:
            return "stuck" if self.is_linked else "unreachable"
        if self.pong.draining:
            return "draining"
        if self.pong.busy_us >= BUSY_US:
            return "busy"
        return "working" if self.pong.in_flight else "idle"

    @property
    def detail(self) -> str:
        """What a person may want to know beside the state; mostly nothing."""
        if self.state == "refuses":
            return self.refused
        if self.state == "stuck":
            return (
                f"its process is there and has said nothing for {self.silent_s:.1f} s: user code holds the GIL "
                "(a long call into C; see it with py-spy)"
            )
        if self.state == "unreachable":
            return (
                f"registered, but silent for {self.silent_s:.1f} s: stopped, dead, or not to be reached at "
                f"{self.instance.address}"
            )
        if self.state == "busy" and self.pong is not None:
            return f"in {self.pong.busy_in} for {self.pong.busy_us / 1e6:.1f} s"
        return ""


async def survey(engine: ClientEngine) -> list[Standing]:
    """Every instance, by server and age. The client follows their servers from now on."""
    instances = await engine.instances()
    for server in {instance.server: None for instance in instances}:
        engine.directory.follow(server)
    begin = engine.host.now()
    first: dict[Peer, Pong] = {}
    while engine.host.now() - begin < PATIENCE:
        await engine.host.sleep(LOOK)
        links = {link.instance.peer: link for link in engine.node.instances()}
        waiting = False
        for instance in instances:
            link = links.get(instance.peer)
            if link is not None and link.pong is not None:
                first.setdefault(instance.peer, link.pong)
            waiting = waiting or not _is_known(link, first.get(instance.peer))
        if not waiting:
            break
    links = {link.instance.peer: link for link in engine.node.instances()}
    now = engine.host.now()
    standings = [
        _standing(instance, links.get(instance.peer), first.get(instance.peer), begin, now)._replace(
            is_linked=engine.host.transport.link_state(instance.peer) == "up"
        )
        for instance in instances
    ]
    return sorted(standings, key=lambda each: (each.instance.server, each.instance.started_ms, each.instance.peer))


def _is_known(link: Link | None, first: Pong | None) -> bool:
    if link is None:
        return False
    heard_twice = first is not None and link.pong is not None and link.pong.number != first.number
    return heard_twice or link.refused is not None


def _standing(instance: Instance, link: Link | None, first: Pong | None, begin: int, now: int) -> Standing:
    if link is None:
        return Standing(instance, silent_s=(now - begin) / 1e9)
    pong, rate = link.pong, None
    if first is not None and pong is not None and pong.uptime_us > first.uptime_us:
        rate = (pong.handled - first.handled) / ((pong.uptime_us - first.uptime_us) / 1e6)
    return Standing(
        instance,
        # What it said before it fell silent is no answer to how it stands.
        None if link.suspected else pong,
        None if link.suspected else rate,
        (now - link.heard_at) / 1e9,
        "" if link.refused is None else link.refused.text,
    )
