"""Small questions about registry endpoints: does one answer, and by which of our addresses would we reach it."""

from __future__ import annotations

import asyncio
import socket

DEFAULT_ENDPOINT = "127.0.0.1:2379"
PROBE_S = 0.5


def split(endpoint: str) -> tuple[str, int]:
    """Host and port of `[http[s]://]host:port`."""
    host, _, port = endpoint.rpartition("://")[2].rpartition(":")
    return host.strip("[]"), int(port)


async def answers(endpoint: str) -> bool:
    """Whether somebody accepts connections there."""
    host, port = split(endpoint)
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), PROBE_S)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def local_ip_towards(endpoint: str) -> str:
    """The address of this machine from which the endpoint is reached: where the others of the cluster can reach us.

    Loopback where the registry is on loopback, so that a laptop lets nobody in. Sends nothing: a connected datagram
    socket only asks for the route. Raises OSError when the endpoint's name does not resolve or there is no route.
    """
    host, port = split(endpoint)
    infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    family, kind, protocol, _, address = infos[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.connect(address)
        return str(probe.getsockname()[0])
