"""What users call: `Client`, and its twin for coroutines in `palm.aclient`.

Thin over `palm.runtime`: a client opens a world (a thread with an event loop, or the simulator), and jobs stream through it.
"""

from __future__ import annotations

import logging
import os
import threading
from types import TracebackType
from typing import Any, Awaitable, Callable, Iterable, Iterator, Self, Sequence, TypeVar

from palm.calls import CallJob
from palm.core.message import Instance
from palm.core.names import check_name
from palm.core.route import Route, parse_route
from palm.errors import ClientClosed, NoSuchServer, PalmError, PayloadTooLarge, WaitTimeout, did_you_mean
from palm.jobs import Errors, Job, Outcome, closed
from palm.ports.host import Gate
from palm.runtime.engine import ClientEngine
from palm.runtime.portal import World

READY_S = 30.0
"""How long a job waits for its servers to appear, where the caller names no time."""

STALL_S = 60.0
"""How long a job without a sign of life from any stage is waited for, where the caller names no time."""

CALL_S = 60.0

CLOSED_S = 10.0
"""A host's thread that does not answer for this long is gone."""

Value = TypeVar("Value")

log = logging.getLogger("palm.client")


def open_world(
    etcd: str | Sequence[str] | None,
    namespace: str,
    name: str,
    user: str = "",
    password: str = "",
    ca: str = "",
    cert: str = "",
    key: str = "",
) -> World:
    """The real world. Imported late: a simulated client needs neither ZeroMQ nor gRPC."""
    from palm.net.etcd.settings import EtcdSettings
    from palm.net.world import NetWorld

    settings = EtcdSettings(
        endpoints=endpoints_of(etcd), user=user, password=password, ca=ca, cert=cert, key=key
    )
    return NetWorld(settings, cluster=namespace, name=name, log=log.info)


def endpoints_of(etcd: str | Sequence[str] | None) -> tuple[str, ...]:
    """`etcd` as given, else PALM_ETCD, else the local default; several are separated by commas."""
    if etcd is None:
        etcd = os.environ.get("PALM_ETCD") or "127.0.0.1:2379"
    return tuple(part.strip() for part in etcd.split(",")) if isinstance(etcd, str) else tuple(etcd)


class Client:
    """Streams jobs through the servers of a cluster. Use it in a `with` block, or `close` it.

    `etcd` is an endpoint `host:port`, several separated by commas, or a sequence of them; default: the environment
    variable PALM_ETCD, then 127.0.0.1:2379. `namespace` is the cluster. `timeout` (seconds) is the default for everything
    that waits. It connects at the first use. Safe to use from several threads; each job belongs to one.
    """

    def __init__(
        self,
        etcd: str | Sequence[str] | None = None,
        *,
        namespace: str = "palm",
        name: str = "client",
        timeout: float | None = None,
        window: int = 1024,
        window_bytes: int = 64 * 1024 * 1024,
        max_payload_bytes: int = 32 * 1024 * 1024,
        user: str = "",
        password: str = "",
        ca: str = "",
        cert: str = "",
        key: str = "",
        world: World | None = None,
    ) -> None:
        check_name("namespace", namespace)
        check_name("client", name)
        self._timeout = timeout
        self._window = window
        self._window_bytes = window_bytes
        self._max_payload_bytes = max_payload_bytes
        self._world = world or open_world(etcd, namespace, name, user, password, ca, cert, key)
        self._lock = threading.Lock()
        self._engine: ClientEngine | None = None
        self._closed = False
        self._jobs: list[Job] = []
        self._calls: dict[tuple[Route, float], CallJob] = {}
        self._job: Job | None = None

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def connect(self) -> ClientEngine:
        """Connect to the registry now rather than at the first use. Raises RegistryUnavailable or AuthRefused."""
        with self._lock:
            if self._closed:
                raise closed()
            if self._engine is None:
                outcome: list[ClientEngine | PalmError | None] = []
                gate = self._world.gate()

                def ready(engine: ClientEngine | None, error: PalmError | None) -> None:
                    outcome.append(engine or error)
                    gate.open()

                self._world.begin(ready)
                gate.wait(None)  # the registry adapter's own deadline ends this
                if not isinstance(outcome[0], ClientEngine):
                    self._closed = True
                    self._world.end()
                    raise outcome[0] or ClientClosed("the client could not start")
                self._engine = outcome[0]
            return self._engine

    def close(self) -> None:
        """Cancel what still runs and let go of everything. Idempotent."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        for job in self._jobs:
            job.stop_source()
        self._world.end()

    # -- jobs ---------------------------------------------------------------------------------------------------------

    def job(
        self,
        payloads: Iterable[bytes],
        route: str | Sequence[str],
        *,
        ordered: bool = False,
        errors: Errors = "raise",
        deadline: float | None = None,
        at_most_once: bool = False,
        window: int | None = None,
    ) -> Job:
        """Describe a job: `payloads`, any iterable of bytes, along `route`, a list of `"server.function"`.

        Nothing is sent before `submit`. `ordered`: results in the order sent. `errors`: see `Job`. `deadline`: seconds that
        each message has from its first sending. `window`: messages under way at one time.
        """
        self._job = Job(
            payloads,
            parse_route(route),
            ordered=ordered,
            errors=errors,
            deadline_s=deadline,
            at_most_once=at_most_once,
            window=window or self._window,
            window_bytes=self._window_bytes,
            max_payload_bytes=self._max_payload_bytes,
        )
        return self._job

    def submit(
        self, job: Job | None = None, *, timeout: float | None = None, progress: bool = False
    ) -> Iterator[bytes]:
        """Start the job (the last one described, by default) and iterate over its results as they come.

        `timeout` (seconds) bounds each wait for the next result: `WaitTimeout` says what was waited for, and iterating on is
        allowed. Without it a wait ends when no stage shows a sign of life for a minute. `progress` shows a bar on a terminal.
        """
        job = job or self._job
        if job is None:
            raise ValueError("there is no job: describe one with client.job(payloads, route)")
        if job.number is not None:
            raise ValueError("the job was submitted before: describe a new one")
        engine = self.connect()
        gate = self._world.gate()
        self._jobs.append(job)
        self._world.submit(lambda: job.open(self._world, engine, gate.open))
        results = Results(self, job, engine, gate, timeout if timeout is not None else self._timeout)
        if progress:
            from palm.progress import with_progress

            return with_progress(results, job)
        return results

    def map(
        self,
        payloads: Iterable[bytes],
        route: str | Sequence[str],
        *,
        ordered: bool = False,
        errors: Errors = "raise",
        timeout: float | None = None,
        progress: bool = False,
    ) -> Iterator[bytes]:
        """`job` and `submit` in one: the results of `payloads` through `route`."""
        job = self.job(payloads, route, ordered=ordered, errors=errors)
        return self.submit(job, timeout=timeout, progress=progress)

    def call(self, route: str | Sequence[str], payload: bytes, *, timeout: float | None = None) -> bytes:
        """One message, and its result. Raises what became of it instead; `WaitTimeout` after `timeout` (default 60 s)."""
        stages = parse_route(route)
        self._check_payload(stages, payload)
        limit_s = timeout or self._timeout or CALL_S
        engine = self.connect()
        gate = self._world.gate()
        answers: list[bytes | PalmError] = []

        def answer(value: bytes | PalmError) -> None:
            answers.append(value)
            gate.open()

        opened: list[CallJob] = []

        def start() -> None:
            call_job = self._calls.get((stages, limit_s))
            if call_job is None or call_job.error is not None:
                call_job = self._calls[stages, limit_s] = CallJob(engine, stages, limit_s)
            opened.append(call_job)
            call_job.call(payload, answer)

        self._world.submit(start)
        # The message's own deadline is the limit; the little more is for the answer that says so.
        if not gate.wait(limit_s + 0.5):
            raise self._call_timed_out(opened[0] if opened else None, answer, stages, limit_s, engine)
        value = answers[0]
        if isinstance(value, bytes):
            return value
        raise value

    def _call_timed_out(
        self, call_job: CallJob | None, answer: Callable[[bytes | PalmError], None], route: Route, limit_s: float,
        engine: ClientEngine,
    ) -> PalmError:
        if call_job is None:
            return WaitTimeout(f"call to {route[0]}: the client's thread did not answer within {limit_s:g} s")
        self._world.submit(lambda: call_job.forget(answer))
        missing = self.ask(lambda: engine.node.missing(call_job.number))
        if missing:
            return self.no_such_server(missing, limit_s)
        described = self.ask(lambda: engine.describe(call_job.number))
        return WaitTimeout(f"no answer from {route[0]} within {limit_s:g} s: {described}")

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

    def instances(self) -> list[Instance]:
        """Every instance of the cluster, as the registry shows it now."""
        engine = self.connect()
        return self.run(engine.instances)

    def ask(self, question: Callable[[], Value]) -> Value:
        """Call it on the host's thread and wait for its value."""
        gate = self._world.gate()
        answers: list[Value] = []

        def ask() -> None:
            answers.append(question())
            gate.open()

        self._world.submit(ask)
        if not gate.wait(CLOSED_S):
            raise closed()
        return answers[0]

    def run(self, make: Callable[[], Awaitable[Value]]) -> Value:
        """Run a coroutine on the client's world and wait for its value; what it raises is raised here."""
        engine = self.connect()
        gate = self._world.gate()
        values: list[Value] = []
        errors: list[PalmError] = []

        async def main() -> None:
            try:
                values.append(await make())
            except PalmError as error:
                errors.append(error)
            gate.open()

        self._world.submit(lambda: _spawn(engine, main()))
        gate.wait(None)  # registry calls have deadlines of their own
        if errors:
            raise errors[0]
        return values[0]

    def no_such_server(self, missing: list[str], waited_s: float) -> PalmError:
        """The error for a route whose servers did not appear: what exists, and which name is near."""
        try:
            instances = self.instances()
        except PalmError as error:
            return NoSuchServer(f"no live instance of server {', '.join(missing)} after {waited_s:g} s; {error}")
        known = sorted({instance.server for instance in instances})
        names = ", ".join(repr(name) + did_you_mean(name, known) for name in missing)
        there = f"there are {', '.join(known)}" if known else "no server is registered"
        return NoSuchServer(
            f"no live instance of server {names} after {waited_s:g} s; {there} "
            "(start it with `palm run`, and check --etcd and --namespace on both sides)"
        )


def _spawn(engine: ClientEngine, coroutine: Any) -> None:
    engine.host.spawn(coroutine, "client.run")


class Results(Iterator[bytes]):
    """The results of a submitted job. `job.ledger` has the counts at any time."""

    def __init__(self, client: Client, job: Job, engine: ClientEngine, gate: Gate, timeout: float | None) -> None:
        self.job = job
        self._client = client
        self._engine = engine
        self._gate = gate
        self._timeout = timeout
        self._finished = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        job = self.job
        while True:
            outcome = job.pop() or self._wait()
            if outcome is None:
                if job.error is not None:
                    error, job.error = job.error, None
                    raise error
                raise StopIteration
            value = outcome[1]
            if isinstance(value, bytes):
                return value
            if job.errors == "raise":
                raise value
            if job.errors == "yield":
                return value  # type: ignore[return-value]  # asked for by errors="yield"

    def _wait(self) -> Outcome | None:
        """The next outcome, once there is one; None at the end of the job."""
        job, now = self.job, self._engine.host.now
        job.settle()
        begin = now()
        while True:
            ended = job.has_ended  # read before the look: nothing is delivered after it
            outcome = job.pop()
            if outcome is not None:
                return outcome
            if ended:
                self._finish()
                return None
            waited_s = (now() - begin) / 1e9
            if self._timeout is None:
                self._check_stall(waited_s)
            elif waited_s >= self._timeout:
                raise self._overdue(self._timeout)
            self._gate.wait(1.0 if self._timeout is None else min(1.0, self._timeout - waited_s))

    def _check_stall(self, waited_s: float) -> None:
        job, engine = self.job, self._engine
        if job.number is None:
            return
        if not job.is_ready:
            if waited_s >= READY_S:
                raise self._overdue(READY_S)
            return
        progress_at = engine.progress_at(job.number)
        if progress_at is not None and waited_s >= STALL_S and engine.host.now() - progress_at > STALL_S * 1e9:
            raise self._overdue(waited_s)

    def _overdue(self, waited_s: float) -> PalmError:
        job, number = self.job, self.job.number
        if number is None:
            return WaitTimeout(f"no result within {waited_s:g} s: the client's thread does not answer")
        missing = self._client.ask(lambda: self._engine.node.missing(number))
        if missing and not job.is_ready:
            job.cancel()
            return self._client.no_such_server(missing, waited_s)
        return WaitTimeout(f"no result within {waited_s:g} s: {self._client.ask(job.describe)}")

    def _finish(self) -> None:
        """The last outcome was taken: the ledger must add up."""
        job, engine = self.job, self._engine
        job.settle()
        number = job.number
        if number is not None and not self._finished:
            self._finished = True
            self._client.ask(lambda: engine.close(number))
            ledger = job.ledger
            assert ledger.adds_up, f"the ledger does not add up: {ledger}"
