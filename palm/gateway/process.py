"""One server process in the real world: event loop, host, signals, and the embedded registry where there is no other.

`palm run` and `python server.py run` both end here. The first signal drains, the second stops at once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from dataclasses import dataclass, field
from typing import Awaitable, Callable

from palm.errors import PalmError, StorageError
from palm.gateway.endpoints import DEFAULT_ENDPOINT, answers, local_ip_towards
from palm.net.allocator import keep_large_blocks
from palm.net.etcd.settings import EtcdSettings
from palm.net.host import NetHost
from palm.net.peer import new_peer
from palm.net.recording import RecordedSteps, Tape
from palm.net.world import NetWorld
from palm.ports.storage import Storage
from palm.runtime.functions import functions_of, hooks_of, listed_by_default
from palm.runtime.hooks import lifecycle_of
from palm.runtime.inside import Inside, bind
from palm.runtime.serving import Serving, ServingSettings
from palm.runtime.traits import traits_of

SWITCH_INTERVAL_S = 1e-4
"""Python's default of 5 ms lets a busy handler starve the protocol's thread: 92 round trips a second instead of
2,900."""

log = logging.getLogger("palm.server")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """Everything about a server process that is not its class. `etcd` empty: the local default, or an embedded one."""

    name: str
    functions: tuple[str, ...] = ()
    etcd: tuple[str, ...] = ()
    namespace: str = "palm"
    ip: str = ""
    advertise: str = ""
    db: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    ca: str = ""
    cert: str = ""
    key: str = ""
    drain_s: float = 30.0
    record: str = ""
    """The file that a recording of its work is appended to, for `palm calibrate`."""

    def etcd_settings(self) -> EtcdSettings:
        return EtcdSettings(
            endpoints=self.etcd or (DEFAULT_ENDPOINT,),
            user=self.user,
            password=self.password,
            ca=self.ca,
            cert=self.cert,
            key=self.key,
        )


def serve_process(server: Callable[[], object], options: ServerOptions) -> int:
    """Serve until told to stop; the exit code: 0 drained, 1 it could not start or failed, 3 not drained in time."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    keep_large_blocks()
    try:
        return asyncio.run(_serve(server, options))
    except (PalmError, OSError) as error:
        say(f"palm: {error}")
        return 1


def say(line: str) -> None:
    """One line for the person at the terminal; stdout is left to programs."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


async def _serve(make: Callable[[], object], options: ServerOptions) -> int:
    from palm.net.registry import EtcdRegistry
    from palm.net.transport import TransportSettings, ZmqTransport

    server = make()
    stop = _on_signals()
    if options.db:
        try:
            os.makedirs(options.db, exist_ok=True)
        except OSError as error:
            why = f"--db {options.db} cannot be made: {error.strerror}"
            raise StorageError(f"{why} (name a directory on a disk that has room, and is yours to write)") from error
        object.__setattr__(server, "db", options.db)
    traits = traits_of(server)
    functions = functions_of(server, options.functions or listed_by_default(server))
    embedded = await embed_registry_if_alone(options)
    settings = options.etcd_settings()
    ip = options.ip or await local_ip_towards(settings.endpoints[0])
    transport = ZmqTransport(
        new_peer(), TransportSettings(bind_host=ip, advertise_host=options.advertise or None)
    )
    inside = Inside(
        lambda name: NetWorld(settings, cluster=options.namespace, name=f"{options.name}-{name}", log=log.info)
    )
    storage = _storage(options)
    tape = Tape(options.record, server=options.name) if options.record else None
    host = NetHost(socket.gethostname(), transport, EtcdRegistry(settings), tape)
    serving = Serving(
        host,
        options.name,
        functions,
        ServingSettings(
            cluster=options.namespace,
            kind=traits.kind,
            join=traits.join,
            consume=traits.consume,
            scatter=traits.scatter,
            outputs=traits.outputs,
            reducing=traits.reducing,
            drain_s=options.drain_s,
            pid=os.getpid(),
        ),
        instrument=None if tape is None else RecordedSteps(tape),
        log=log.info,
        warn=log.warning,
        storage=storage,
        lifecycle=lifecycle_of(server),
        hooks=hooks_of(server),
        on_retire=lambda: _set(stop),
        inside=inside,
    )
    bind(server, inside)
    if tape is not None:
        tape.start()
    try:
        address = await serving.start()
        say(
            f"palm: {options.name} ({', '.join(functions)}) serves at {address} as {transport.peer}, "
            f"registry {','.join(settings.endpoints)}, namespace {options.namespace}"
        )
        host.failed.add_done_callback(lambda failed: _set(stop))
        await stop
        if host.failed.done():
            say(f"palm: {options.name} stops after an error of PALM's own: {host.failed.result()!r}")
            return 1
        say(f"palm: {options.name} drains: {serving.node.in_flight} in flight (again to stop at once)")
        drained = await serving.drain()
        say(f"palm: {options.name} " + ("is drained" if drained else f"gave up draining after {options.drain_s:g} s"))
        return 0 if drained else 3
    finally:
        await serving.aclose()
        if tape is not None:
            tape.close()
        if embedded is not None:
            await embedded()


def _storage(options: ServerOptions) -> Storage | None:
    """Where the copy of the store is kept. LMDB is imported by those who use it."""
    if not options.db:
        return None
    from palm.net.storage import LmdbStorage

    return LmdbStorage(os.path.join(options.db, "store"), options.name)


def _on_signals() -> asyncio.Future[None]:
    """Done at the first SIGINT or SIGTERM; the second ends the process on the spot."""
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[None] = loop.create_future()

    def on_signal() -> None:
        if stop.done():
            say("palm: stopped at once")
            os._exit(130)
        _set(stop)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    return stop


def _set(stop: asyncio.Future[None]) -> None:
    if not stop.done():
        stop.set_result(None)


async def embed_registry_if_alone(options: ServerOptions) -> Callable[[], Awaitable[None]] | None:
    """Serve a registry from this process when none was named and none answers; its close, or None."""
    if options.etcd or await answers(DEFAULT_ENDPOINT):
        return None
    from palm.gateway.registry import EmbeddedRegistry

    registry = EmbeddedRegistry()
    host, _, port = DEFAULT_ENDPOINT.rpartition(":")
    try:
        await registry.start(host, int(port))
    except OSError:
        return None  # another process was quicker: its registry will do
    say(
        f"palm: no etcd named and none on {DEFAULT_ENDPOINT}: "
        "this process serves one, for development (nothing is kept)"
    )
    return registry.aclose
