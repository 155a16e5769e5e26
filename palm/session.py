"""What `Client` and `AsyncClient` share: connecting, calling and waiting, as steps that decide and do not wait.

A step is a generator. It yields how long to wait for its gate (seconds; None: until it opens), and is told whether it
opened; what it returns or raises is the caller's. `palm.client` performs steps by blocking a thread, `palm.aclient` by
awaiting a future. `open` is the gate's own: any thread may call it, and a step looks for itself what happened.
"""

from __future__ import annotations

import os
import threading
from typing import Any, AsyncIterable, Awaitable, Callable, Generator, Iterable, Sequence, TypeVar

from palm.calls import CallJob
from palm.core.message import Instance
from palm.core.names import check_name
from palm.core.route import Route, RouteText, parse_route
from palm.errors import BadRequest, NoSuchServer, PalmError, PayloadTooLarge, WaitTimeout, did_you_mean
from palm.jobs import Errors, FeedMaker, Job, closed
from palm.letters import Letters, default_folder
from palm.runtime.draining import Departure, drain
from palm.runtime.engine import ClientEngine
from palm.runtime.portal import World
from palm.runtime.survey import Standing, survey

CALL_S = 60.0

SLACK = 1.05
"""A call's message may live this much longer than its caller waits: the caller's own error says more."""

STANDING_CALLS = 64
"""Routes and traces whose standing jobs are kept while nobody calls."""

CLOSED_S = 10.0
"""A host's thread that does not answer for this long is gone."""

LOOK_S = 1.0
"""A wait looks around this often: for a job that stalls, and for a client that was closed meanwhile."""

REGISTRY_S = 5.0
"""For one request to the registry, over all its endpoints, where the caller's `timeout` is not shorter."""

Value = TypeVar("Value")
Open = Callable[[], None]
Steps = Generator["float | None", bool, Value]


def open_world(
    etcd: str | Sequence[str] | None,
    namespace: str,
    name: str,
    *,
    timeout: float | None = None,
    user: str = "",
    password: str = "",
    ca: str = "",
    cert: str = "",
    key: str = "",
    record: str | None = None,
) -> World:
    """The real world. Imported late: a simulated client needs neither ZeroMQ nor gRPC. `record`: the file of a
    recording; None: that of PALM_RECORD, where it is set."""
    import logging

    from palm.net.etcd.settings import EtcdSettings
    from palm.net.world import NetWorld

    record = os.environ.get("PALM_RECORD", "") if record is None else record
    settings = EtcdSettings(
        endpoints=endpoints_of(etcd),
        user=user,
        password=password,
        ca=ca,
        cert=cert,
        key=key,
        timeout_s=min(REGISTRY_S, check_seconds("timeout", timeout) or REGISTRY_S),
    )
    return NetWorld(
        settings,
        cluster=check_name("namespace", namespace),
        name=check_name("client", name),
        log=logging.getLogger("palm.client").info,
        record=record,
    )


def letters_in(folder: str | None, namespace: str) -> Letters | None:
    """The store of a client in the real world: in the default folder, in the one named, or, where "" is named, none."""
    folder = default_folder() if folder is None else folder
    return Letters(folder, namespace) if folder else None


def endpoints_of(etcd: str | Sequence[str] | None) -> tuple[str, ...]:
    """`etcd` as given, else PALM_ETCD, else the local default; several are separated by commas."""
    if etcd is None:
        etcd = os.environ.get("PALM_ETCD") or "127.0.0.1:2379"
    return tuple(part.strip() for part in etcd.split(",")) if isinstance(etcd, str) else tuple(etcd)


def check_seconds(name: str, value: float | None) -> float | None:
    """`value` itself, when it is a time above 0 or None; else `BadRequest` that names the argument."""
    if value is not None and not 0 < value < 1e9:
        raise BadRequest(f"{name} is {value!r}; a number of seconds above 0 is needed, or None")
    return value


def check_trace(trace: bytes) -> bytes:
    """`trace` itself, when it is a trace id or empty; else `BadRequest`."""
    if not isinstance(trace, bytes) or len(trace) not in (0, 16):
        raise BadRequest(f"trace is {trace!r:.80}; 16 bytes are needed, or none")
    return trace


class Session:
    """One client's connection, jobs and calls. Safe to use from several threads."""

    def __init__(
        self,
        world: World,
        *,
        timeout: float | None,
        ready_timeout: float | None,
        window: int,
        window_bytes: int,
        max_payload_bytes: int,
        letters: Letters | None = None,
    ) -> None:
        """`letters`: where dead letters are kept; None keeps them nowhere."""
        self.world = world
        self.timeout = check_seconds("timeout", timeout)
        self.ready_timeout = check_seconds("ready_timeout", ready_timeout)
        self._window = window
        self._window_bytes = window_bytes
        self._max_payload_bytes = max_payload_bytes
        self._letters = letters
        self._lock = threading.Lock()
        self._engine: ClientEngine | None = None
        self._failure: PalmError | None = None
        self._begun = False
        self._connecting: list[Open] = []
        self._jobs: dict[int, Job] = {}
        self._calls: dict[tuple[Route, bytes], CallJob] = {}
        self._latest: Job | None = None
        self.is_closed = False

    def connect(self, open: Open) -> Steps[ClientEngine]:
        """The engine, started at the first use. Raises RegistryUnavailable or AuthRefused."""
        with self._lock:
            if self.is_closed:
                raise closed()
            if self._engine is not None:
                return self._engine
            self._connecting.append(open)
            first, self._begun = not self._begun, True
        if first:
            self.world.begin(self._started)
        while self._engine is None:
            if self._failure is not None:
                raise self._failure
            if self.is_closed:
                raise closed()
            yield LOOK_S  # the registry adapter's own deadline ends this
        return self._engine

    @property
    def is_connected(self) -> bool:
        return self._engine is not None and not self.is_closed

    @property
    def has_jobs(self) -> bool:
        """Whether jobs stream while a call waits: the world must not stand still then."""
        return bool(self._jobs)

    def _started(self, engine: ClientEngine | None, error: PalmError | None) -> None:
        self._engine, self._failure = engine, error
        with self._lock:
            waiting, self._connecting = self._connecting, []
        for open in waiting:
            open()

    def close(self) -> bool:
        """Let no source run on, and have the ledgers count what was taken. True for the first, who is to end the
        world."""
        with self._lock:
            if self.is_closed:
                return False
            self.is_closed = True
        for job in list(self._jobs.values()):
            job.settle()
            job.stop_source()
        return True

    # -- jobs ---------------------------------------------------------------------------------------------------------

    def job(
        self,
        payloads: Iterable[bytes] | AsyncIterable[bytes],
        route: RouteText,
        *,
        ordered: bool,
        errors: Errors,
        deadline: float | None,
        at_most_once: bool,
        window: int | None,
        trace: bytes,
        session: str = "",
    ) -> Job:
        """Describe a job. Nothing is sent before `start`."""
        self._latest = Job(
            payloads,
            parse_route(route),
            ordered=ordered,
            errors=errors,
            deadline_s=check_seconds("deadline", deadline),
            at_most_once=at_most_once,
            window=window or self._window,
            window_bytes=self._window_bytes,
            max_payload_bytes=self._max_payload_bytes,
            letters=self._letters,
            route_text=route,
            trace=check_trace(trace),
            session=check_name("session", session) if session else "",
        )
        return self._latest

    def to_submit(self, job: Job | None) -> Job:
        """The job itself, or the last one that was described; each is submitted once."""
        job = job or self._latest
        if job is None:
            raise ValueError("there is no job: describe one with client.job(payloads, route)")
        if job.was_submitted:
            raise ValueError("the job was submitted before: describe a new one")
        job.was_submitted = True
        return job

    def start(self, engine: ClientEngine, job: Job, open: Open, make_feed: FeedMaker | None = None) -> None:
        """Begin to send; `open` is called whenever there is something new to look at."""
        self._jobs[id(job)] = job
        self.world.submit(lambda: job.open(self.world, engine, open, make_feed))

    def forget(self, job: Job) -> None:
        self._jobs.pop(id(job), None)

    def call(
        self,
        open: Open,
        route: RouteText,
        payload: bytes,
        timeout: float | None,
        deadline: float | None = None,
        trace: bytes = b"",
    ) -> Steps[bytes]:
        """One message, and its result; raises what became of it instead. With a deadline (seconds), the message ends
        there as expired, and the caller hears that."""
        stages = parse_route(route)
        self._check_payload(stages, payload)
        limit_s = check_seconds("timeout", timeout) or self.timeout or CALL_S
        deadline_s = check_seconds("deadline", deadline)
        if deadline_s is None or deadline_s > SLACK * limit_s:
            deadline_s = SLACK * limit_s
        else:
            limit_s = SLACK * deadline_s + LOOK_S
        ready_s = min(limit_s, self.ready_timeout or limit_s)
        engine = yield from self.connect(open)
        now = engine.host.now
        answers: list[bytes | PalmError] = []
        calls: list[CallJob] = []

        def answer(value: bytes | PalmError) -> None:
            answers.append(value)
            open()

        def start() -> None:
            calls.append(self._standing_job(engine, stages, check_trace(trace), route))
            calls[0].call(payload, answer, expires)

        begin = now()
        expires = begin + int(deadline_s * 1e9)
        self.world.submit(start)
        try:
            while not answers:
                waited_s = (now() - begin) / 1e9
                due_s = limit_s if calls and calls[0].is_ready else ready_s
                if waited_s >= due_s:
                    raise (yield from self._call_overdue(open, engine, calls, stages, due_s))
                yield due_s - waited_s
        finally:
            if not answers:
                self._forget_call(calls, answer)
        value = answers[0]
        if isinstance(value, bytes):
            return value
        raise value

    def _standing_job(self, engine: ClientEngine, route: Route, trace: bytes, text: RouteText) -> CallJob:
        """On the host's thread."""
        standing = self._calls.pop((route, trace), None)
        if standing is None or standing.error is not None:
            standing = CallJob(engine, route, trace, letters=self._letters, route_text=text)
            if len(self._calls) >= STANDING_CALLS:
                self._end_idle_calls()
        self._calls[route, trace] = standing  # the latest is the last
        return standing

    def _end_idle_calls(self) -> None:
        """Where each message has a trace of its own, so have the jobs that call for it."""
        idle = [key for key, standing in self._calls.items() if standing.is_idle]
        for key in idle[: 1 + len(self._calls) - STANDING_CALLS]:
            self._calls.pop(key).end()

    def _forget_call(self, calls: list[CallJob], answer: Callable[[bytes | PalmError], None]) -> None:
        try:
            self.world.submit(lambda: calls[0].forget(answer) if calls else None)
        except PalmError:
            pass  # the client is closed: nothing waits any more

    def _call_overdue(
        self, open: Open, engine: ClientEngine, calls: list[CallJob], route: Route, waited_s: float
    ) -> Steps[PalmError]:
        if not calls:
            return WaitTimeout(f"call to {route[0]}: the client's thread did not answer within {waited_s:g} s")
        number = calls[0].number
        missing = yield from self.ask(open, lambda: engine.node.missing(number))
        if missing:
            return (yield from self.no_such_server(open, missing, waited_s))
        described = yield from self.ask(open, lambda: engine.describe(number))
        return WaitTimeout(f"no answer from {' -> '.join(map(str, route))} within {waited_s:g} s: {described}")

    def _check_payload(self, route: Route, payload: bytes) -> None:
        if not isinstance(payload, bytes):
            hint = ": encode it, e.g. text.encode()" if isinstance(payload, str) else ""
            raise TypeError(f"the payload of a call to {route[0]} is {type(payload).__name__}, bytes are needed{hint}")
        if len(payload) > self._max_payload_bytes:
            raise PayloadTooLarge(
                f"call to {route[0]}: payload of {len(payload)} bytes exceeds {self._max_payload_bytes} "
                "(raise max_payload_bytes, or split it)"
            )

    # -- who lives ----------------------------------------------------------------------------------------------------

    def instances(self, open: Open) -> Steps[list[Instance]]:
        """Every instance of the cluster, as the registry shows it now."""
        engine = yield from self.connect(open)
        return (yield from self.run(open, engine.instances))

    def survey(self, open: Open) -> Steps[list[Standing]]:
        """Every instance, and how it says that it stands."""
        engine = yield from self.connect(open)
        return (yield from self.run(open, lambda: survey(engine)))

    def drain(self, open: Open, server: str, instance: str, timeout: float) -> Steps[list[Departure]]:
        """Have instances of a server drain and leave; how far each is after `timeout` seconds at most."""
        patience = round((check_seconds("timeout", timeout) or 0) * 1e9)
        check_name("server", server)
        engine = yield from self.connect(open)
        return (yield from self.run(open, lambda: drain(engine, server, instance, patience)))

    def no_such_server(self, open: Open, missing: list[str], waited_s: float) -> Steps[PalmError]:
        """The error for a route whose servers did not appear: what exists, and which name is near."""
        try:
            instances = yield from self.instances(open)
        except PalmError as error:
            return NoSuchServer(f"no live instance of server {', '.join(missing)} after {waited_s:g} s; {error}")
        known = sorted({instance.server for instance in instances})
        names = ", ".join(repr(name) + did_you_mean(name, known) for name in missing)
        there = f"there are {', '.join(known)}" if known else "no server is registered"
        return NoSuchServer(
            f"no live instance of server {names} after {waited_s:g} s; {there} "
            "(start it with `palm run`, and check --etcd and --namespace on both sides)"
        )

    # -- on the host's thread -----------------------------------------------------------------------------------------

    def ask(self, open: Open, question: Callable[[], Value]) -> Steps[Value]:
        """Call it on the host's thread; its value."""
        answers: list[Value] = []

        def ask() -> None:
            answers.append(question())
            open()

        self.world.submit(ask)
        while not answers:
            if not (yield CLOSED_S) and not answers:
                raise closed()
        return answers[0]

    def run(self, open: Open, make: Callable[[], Awaitable[Value]]) -> Steps[Value]:
        """Run a coroutine on the client's world; its value, or what it raises."""
        engine = yield from self.connect(open)
        values: list[Value] = []
        errors: list[PalmError] = []
        ended: list[bool] = []

        async def main() -> None:
            try:
                values.append(await make())
            except PalmError as error:
                errors.append(error)
            finally:
                ended.append(True)
                open()

        self.world.submit(lambda: _spawn(engine, main()))
        while not ended:
            yield LOOK_S  # registry calls have deadlines of their own
            if self.is_closed:
                raise closed()
        if errors:
            raise errors[0]
        return values[0]


def _spawn(engine: ClientEngine, coroutine: Any) -> None:
    engine.host.spawn(coroutine, "client.run")
