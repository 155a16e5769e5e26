"""Asking instances to drain and end, from a client: say so until each of them says that it does, and see them leave."""

from __future__ import annotations

from typing import NamedTuple

from palm.core.message import Instance, Leave, Peer
from palm.errors import BadRequest, NoSuchServer, did_you_mean
from palm.runtime.engine import ClientEngine
from palm.wire.control import encode_control

LOOK = 50_000_000
AGAIN = 500_000_000
"""How often (ns) it is said again to who has not answered."""


class Departure(NamedTuple):
    """`heard`: it said that it drains. `left`: it is out of the registry."""

    instance: Instance
    heard: bool
    left: bool


async def drain(engine: ClientEngine, server: str, life: str, patience: int) -> list[Departure]:
    """Have every instance of `server` drain, or the one whose peer id begins with `life`; wait up to `patience` (ns)
    for them to leave. Raises NoSuchServer, BadRequest where `life` is not one instance's, RegistryError."""
    chosen = _chosen(await engine.instances(), server, life)
    engine.directory.follow(server)
    host = engine.host
    begin, said_at = host.now(), 0
    frame = (encode_control(Leave()),)
    heard: dict[Peer, None] = {}
    dialed: dict[Peer, None] = {}
    while True:
        links = {link.instance.peer: link for link in engine.node.instances()}
        for peer in chosen:
            link = links.get(peer)
            if link is not None:
                dialed[peer] = None
                if link.leaving:
                    heard[peer] = None
        # Who was in the view and is not any more has left the registry.
        left = [peer for peer in chosen if peer in dialed and peer not in links]
        now = host.now()
        if len(left) == len(chosen) or now - begin >= patience:
            return [Departure(one, peer in heard or peer in left, peer in left) for peer, one in chosen.items()]
        if now - said_at >= AGAIN:
            said_at = now
            for peer in chosen:
                if peer in links and peer not in heard:
                    host.transport.send(peer, frame)
        await host.sleep(LOOK)


def _chosen(instances: list[Instance], server: str, life: str) -> dict[Peer, Instance]:
    here = {one.peer: one for one in instances if one.server == server}
    if not here:
        known = sorted({one.server for one in instances})
        there = f"there are {', '.join(known)}" if known else "no server is registered"
        raise NoSuchServer(f"no live instance of server {server!r}{did_you_mean(server, known)}; {there}")
    chosen = {peer: one for peer, one in here.items() if peer.startswith(life)}
    if life and len(chosen) != 1:
        found = f"{len(chosen)} instances" if chosen else "no instance"
        raise BadRequest(f"{found} of {server} begin with {life!r:.80}; there are {', '.join(here)}")
    return chosen
