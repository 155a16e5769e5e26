"""The channels: one for each endpoint, which of them is in use, and how one that is dead is thrown away.

Cancelling a call or stream on a dead TCP connection leaves the connection, and the next call rides it again; only a new
channel makes a new connection. So a channel is disposable, and everybody holds a `Link` only for one try.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from typing import Any

import grpc
import grpc.aio

from palm.errors import BadRequest, RegistryRefused, RegistryUnavailable
from palm.net.etcd.settings import EtcdSettings


class Link:
    """One channel to one endpoint, until it is thrown away."""

    def __init__(self, endpoint: str, channel: Any) -> None:  # grpc ships no types
        self.endpoint = endpoint
        self.channel = channel
        self.heard_at = -1.0  # monotonic; when anything last came from the other side

    def heard(self) -> None:
        self.heard_at = time.monotonic()

    @property
    def connected(self) -> bool:
        return self.channel.get_state() is grpc.ChannelConnectivity.READY


class Links:
    """The endpoints of one registry. Belongs to one event loop of one process."""

    def __init__(self, settings: EtcdSettings) -> None:
        self._settings = settings
        self._credentials = _credentials(settings) if settings.secure else None
        self._open: dict[str, Link] = {}
        self._pid = os.getpid()
        self.closed = False
        # Spread over the members; instances that start together would all sit on the first one.
        self._next = random.randrange(len(settings.targets))

    def __len__(self) -> int:
        return len(self._settings.targets)

    @property
    def current(self) -> Link:
        """The link to use now, made where there is none; connecting is left to the first call on it."""
        if self.closed:
            raise RegistryUnavailable("the registry was closed by this process; nothing more can be asked of it")
        if os.getpid() != self._pid:
            raise RegistryRefused(
                f"the registry was opened by process {self._pid} and cannot be used in process {os.getpid()}: grpc "
                "does not survive a fork; start children with the `spawn` method and open a registry in each"
            )
        endpoint = self._settings.targets[self._next]
        link = self._open.get(endpoint)
        if link is None:
            link = self._open[endpoint] = Link(endpoint, self._channel(endpoint))
        return link

    def leave(self, link: Link) -> None:
        """Go on to the next endpoint, if `link` is what is used now."""
        if self._settings.targets[self._next] == link.endpoint:
            self._next = (self._next + 1) % len(self)

    async def throw_away(self, link: Link) -> None:
        """Close the channel under everybody who uses it: their calls see CancelledError and go elsewhere."""
        if self._open.get(link.endpoint) is link:
            del self._open[link.endpoint]
        await link.channel.close()

    async def aclose(self) -> None:
        self.closed = True
        links, self._open = list(self._open.values()), {}
        for link in links:
            await link.channel.close()

    def _channel(self, endpoint: str) -> Any:  # grpc ships no types
        options: list[tuple[str, int]] = [
            ("grpc.max_receive_message_length", self._settings.receive_bytes_max),
            # Else a new channel may be given the old one's TCP connection.
            ("grpc.use_local_subchannel_pool", 1),
            # etcd ends connections that ping more often than every 5 s. keepalive_timeout alone had no effect.
            ("grpc.keepalive_time_ms", 10_000),
            ("grpc.keepalive_timeout_ms", 4_000),
            ("grpc.http2.ping_timeout_ms", 4_000),
            # The defaults left clients deaf for seconds after etcd was back.
            ("grpc.initial_reconnect_backoff_ms", 200),
            ("grpc.min_reconnect_backoff_ms", 2_000),  # despite its name: how long one attempt to connect may take
            ("grpc.max_reconnect_backoff_ms", 2_000),
            # Endpoints are addresses, not services behind the user's web proxy.
            ("grpc.enable_http_proxy", 0),
            ("grpc.service_config_disable_resolution", 1),
        ]
        if self._credentials is None:
            return grpc.aio.insecure_channel(endpoint, options=options)
        return grpc.aio.secure_channel(endpoint, self._credentials, options=options)


class CancelGuard:
    """Tells a cancel of this task from the CancelledError that closing a channel raises in whoever waits on it.

    Made before the wait. The count is compared, not looked at, so that a task which is cancelled already can still talk
    to the registry while it cleans up.
    """

    def __init__(self) -> None:
        self._task = asyncio.current_task()
        self._before = self._task.cancelling() if self._task else 0

    @property
    def cancelled(self) -> bool:
        return self._task is None or self._task.cancelling() > self._before


def _credentials(settings: EtcdSettings) -> grpc.ChannelCredentials:
    ca, key, cert = (_read(name, getattr(settings, name)) for name in ("ca", "key", "cert"))
    return grpc.ssl_channel_credentials(root_certificates=ca, private_key=key, certificate_chain=cert)


def _read(name: str, path: str) -> bytes | None:
    if not path:
        return None
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise BadRequest(f"{name} file {path!r} cannot be read: {error.strerror}") from error
