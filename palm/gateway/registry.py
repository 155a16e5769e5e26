"""The embedded registry: the rules of `palm.sim.etcd` behind etcd's own v3 API, for development and for tests.

One process, one member, nothing on disk: what it holds ends with it. Any etcd client can talk to it (KV, Lease and
Watch, and what clients ask beside: Status, MemberList, Alarm, and Auth as when it is off); a method that is missing
answers UNIMPLEMENTED. All state is touched on the event loop only, so one request is one step of the `Etcd`.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from secrets import randbits
from typing import Any, Protocol, TypeVar

# grpc writes its own lines about a taken port; we say it once, ourselves. It reads this when it is imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc
import grpc.aio

from palm.gateway import registry_wire as convert
from palm.gateway.registry_calls import CALLS, Call
from palm.sim.etcd.member import FRAME_OVERHEAD_BYTES, Etcd
from palm.sim.etcd.txn import MAX_REQUEST_BYTES
from palm.sim.etcd.values import EtcdRefused
from palm.wire import etcd as wire

R = TypeVar("R", bound="Response")
Context = grpc.aio.ServicerContext[Any, Any]

CLUSTER_ID = randbits(63)
"""Another one for each process, as each begins empty: who watched its predecessor sees that it is another store."""
MEMBER_ID = 1
RAFT_TERM = 1
VERSION = "3.5.0+palm"
"""Of the API that is served; etcd's own tools want to read a version."""

_NANOSECONDS = 1_000_000_000

_OPTIONS = (
    ("grpc.so_reuseport", 0),  # else two registries on one port both start, and each gets some of the calls
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES + FRAME_OVERHEAD_BYTES),
    ("grpc.max_send_message_length", -1),
    # etcd bears a ping each five seconds; grpc's own default ends the connection of a client that keeps it alive so.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
)


class Response(Protocol):
    @property
    def header(self) -> wire.ResponseHeader: ...


class EmbeddedRegistry:
    """One registry on one port. `start` it once, on the event loop that is to serve it."""

    def __init__(self) -> None:
        self._etcd = Etcd()
        self._wakes: dict[int, asyncio.Event] = {}
        self._server: grpc.aio.Server | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_for: int | None = None
        self._url = ""

    async def start(self, host: str = "127.0.0.1", port: int = 2379) -> int:
        """Serve; the port, which the system chooses when `port` is 0. Raises OSError when the address cannot be had."""
        assert self._server is None, "a registry is started once"
        server = grpc.aio.server(options=_OPTIONS)
        server.add_generic_rpc_handlers(self._handlers())
        try:
            bound = server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        except RuntimeError as cause:
            raise _why_not(host, port) from cause
        await server.start()
        self._server = server
        self._url = f"http://{host}:{bound}"
        return int(bound)

    async def aclose(self) -> None:
        """Cut all calls off and free the port. Idempotent."""
        server, self._server = self._server, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if server is not None:
            await server.stop(None)

    # -- single questions ----------------------------------------------------------------------------------------------

    def _answer(self, call: Call, request: Any) -> Any:
        with self._step() as now:
            response = call(self._etcd, request, now)
        return _signed(response)

    def _unary(self, call: Call) -> Callable[[Any, Context], Awaitable[Any]]:
        async def answer(request: Any, context: Context) -> Any:
            try:
                return self._answer(call, request)
            except EtcdRefused as refused:
                await context.abort(grpc.StatusCode[refused.code], str(refused))

        return answer

    async def _keep_alive(
        self, requests: AsyncIterator[wire.LeaseKeepAliveRequest], _context: Context
    ) -> AsyncIterator[wire.LeaseKeepAliveResponse]:
        async for request in requests:
            yield self._answer(CALLS[wire.LEASE_KEEP_ALIVE.path], request)

    # -- Watch ---------------------------------------------------------------------------------------------------------

    async def _watch(self, requests: AsyncIterator[wire.WatchRequest], context: Context) -> None:
        stream = self._etcd.watch_open(time.monotonic_ns())
        wake = self._wakes[stream] = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read_watch_requests(stream, requests))
                # Writing waits for a slow reader. Meanwhile nothing is queued here: the store's history is the queue.
                while await wake.wait():
                    wake.clear()
                    for answer in self._etcd.watch_take(stream):
                        await context.write(_signed(convert.watch_response(answer)))
        finally:
            del self._wakes[stream]
            self._etcd.watch_close(stream)
            self._arm()

    async def _read_watch_requests(self, stream: int, requests: AsyncIterator[wire.WatchRequest]) -> None:
        async for request in requests:
            with self._step() as now:
                match request.WhichOneof("request_union"):
                    case "create_request":
                        self._etcd.watch_create(stream, convert.watch_request(request.create_request), now)
                    case "cancel_request":
                        self._etcd.watch_cancel(stream, request.cancel_request.watch_id, now)
                    case "progress_request":
                        self._etcd.progress(stream, now)

    # -- what clients ask beside ---------------------------------------------------------------------------------------

    async def _status(self, _request: wire.StatusRequest, _context: Context) -> wire.StatusResponse:
        revision = self._etcd.revision
        return _signed(
            wire.StatusResponse(
                header=convert.header(revision),
                version=VERSION,
                db_size=self._etcd.size_bytes,
                db_size_in_use=self._etcd.size_bytes,
                leader=MEMBER_ID,
                raft_index=revision,
                raft_applied_index=revision,
                raft_term=RAFT_TERM,
            )
        )

    async def _authenticate(self, _request: wire.AuthenticateRequest, context: Context) -> None:
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "etcdserver: authentication is not enabled")

    async def _member_list(self, _request: bytes, _context: Context) -> bytes:
        header = _stamp(convert.header(self._etcd.revision))
        return convert.member_list(header, id=MEMBER_ID, name="palm", url=self._url)

    async def _alarm(self, _request: bytes, _context: Context) -> bytes:
        return convert.no_alarms(_stamp(convert.header(self._etcd.revision)))

    # -- the frame -----------------------------------------------------------------------------------------------------

    @contextmanager
    def _step(self) -> Iterator[int]:
        """The time for one step of the etcd; afterwards, who has something to hear is woken, and the timer is right."""
        try:
            yield time.monotonic_ns()
        finally:
            for stream in self._etcd.ready():
                self._wakes[stream].set()
            self._arm()

    def _arm(self) -> None:
        deadline = self._etcd.deadline
        if deadline == self._timer_for or self._server is None:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_for = deadline
        if deadline is not None:
            wait_s = max(0, deadline - time.monotonic_ns()) / _NANOSECONDS
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._tick)

    def _tick(self) -> None:
        self._timer_for = None
        with self._step() as now:
            self._etcd.tick(now)

    def _handlers(self) -> tuple[grpc.GenericRpcHandler[Any, Any], ...]:
        """One generic handler for each of etcd's services."""
        behaviours: dict[str, Callable[..., Any]] = {path: self._unary(call) for path, call in CALLS.items()} | {
            wire.STATUS.path: self._status,
            wire.AUTHENTICATE.path: self._authenticate,
            wire.LEASE_KEEP_ALIVE.path: self._keep_alive,
            wire.WATCH.path: self._watch,
        }
        services: dict[str, dict[str, grpc.RpcMethodHandler[Any, Any]]] = {
            "etcdserverpb.Cluster": {"MemberList": grpc.unary_unary_rpc_method_handler(self._member_list)},
            wire.STATUS.service: {"Alarm": grpc.unary_unary_rpc_method_handler(self._alarm)},
        }
        for path, behaviour in behaviours.items():
            method = wire.METHODS[path]
            kind = grpc.stream_stream_rpc_method_handler if method.streaming else grpc.unary_unary_rpc_method_handler
            services.setdefault(method.service, {})[method.name] = kind(
                behaviour, request_deserializer=method.parse_request, response_serializer=method.serialize
            )
        return tuple(grpc.method_handlers_generic_handler(service, each) for service, each in services.items())


async def serve(host: str, port: int, ready: Callable[[int], None]) -> None:
    """Serve until cancelled; `ready(port)` is called once calls are answered. Raises OSError as `start` does."""
    registry = EmbeddedRegistry()
    try:
        ready(await registry.start(host, port))
        await asyncio.Event().wait()
    finally:
        await registry.aclose()


def _signed(response: R) -> R:
    _stamp(response.header)
    return response


def _stamp(header: wire.ResponseHeader) -> wire.ResponseHeader:
    header.cluster_id = CLUSTER_ID
    header.member_id = MEMBER_ID
    header.raft_term = RAFT_TERM
    return header


def _why_not(host: str, port: int) -> OSError:
    """grpc does not say why it could not bind; the system does, when it is asked again."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except OSError as cause:
        if cause.errno == errno.EADDRINUSE:
            return OSError(
                errno.EADDRINUSE, f"port {port} on {host} is taken: stop what has it, or give another --port"
            )
        return OSError(cause.errno, f"cannot listen on {host}:{port}: {cause.strerror}")
    return OSError(errno.EADDRINUSE, f"port {port} on {host} could not be had a moment ago, and is free now: try again")
