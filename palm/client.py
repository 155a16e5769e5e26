"""What users call: `Client`. Its twin for coroutines is `palm.aclient`; what both decide is `palm.session`.

A client opens a world (a thread with an event loop, or the simulator), and jobs stream through it.
"""

from __future__ import annotations

from types import TracebackType
from typing import Callable, Iterable, Iterator, Self, Sequence, TypeVar

from palm.core.message import Instance
from palm.core.route import RouteText
from palm.errors import PalmError
from palm.jobs import Errors, Job
from palm.ports.host import Gate
from palm.runtime.draining import Departure
from palm.runtime.engine import ClientEngine
from palm.runtime.portal import World
from palm.runtime.survey import Standing
from palm.session import Open, Session, Steps, letters_in, open_world
from palm.store import Operations, Store
from palm.turns import Turns

Value = TypeVar("Value")


class Client:
    """Streams jobs through the servers of a cluster. Use it in a `with` block, or `close` it.

    `etcd` is an endpoint `host:port`, several separated by commas, or a sequence of them; default: the environment
    variable PALM_ETCD, then 127.0.0.1:2379. `namespace` is the cluster. `timeout` (seconds) is the default for all that
    waits; `ready_timeout` is how long the servers of a route may take to appear, where that is to be shorter.
    `dead_letters` is the folder in which dead letters are kept for `palm dlq` (default: PALM_DLQ, then palm in the
    user's state directory; "" keeps none). `record` is a file that a recording for `palm calibrate` is appended to
    (default: PALM_RECORD; "" makes none). It connects at the first use. Safe to use from several threads; each job
    belongs to one.
    """

    def __init__(
        self,
        etcd: str | Sequence[str] | None = None,
        *,
        namespace: str = "palm",
        name: str = "client",
        timeout: float | None = None,
        ready_timeout: float | None = None,
        window: int = 1024,
        window_bytes: int = 64 * 1024 * 1024,
        max_payload_bytes: int = 32 * 1024 * 1024,
        user: str = "",
        password: str = "",
        ca: str = "",
        cert: str = "",
        key: str = "",
        dead_letters: str | None = None,
        record: str | None = None,
        world: World | None = None,
    ) -> None:
        self._session = Session(
            world
            or open_world(
                etcd,
                namespace,
                name,
                timeout=timeout,
                user=user,
                password=password,
                ca=ca,
                cert=cert,
                key=key,
                record=record,
            ),
            timeout=timeout,
            ready_timeout=ready_timeout,
            window=window,
            window_bytes=window_bytes,
            max_payload_bytes=max_payload_bytes,
            letters=None if world is not None and dead_letters is None else letters_in(dead_letters, namespace),
        )

    @classmethod
    def of(cls, session: Session) -> Self:
        """One more face of a session that others use, too. Closing it is theirs."""
        client = cls.__new__(cls)
        client._session = session
        return client

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def connect(self) -> ClientEngine:
        """Connect to the registry now rather than at the first use. Raises RegistryUnavailable or AuthRefused, and the
        client is closed then."""
        try:
            return self.perform(self._session.connect)
        except PalmError:
            self.close()
            raise

    def close(self) -> None:
        """Cancel what still runs and let go of everything. Idempotent."""
        if self._session.close():
            self._session.world.end()

    # -- jobs ---------------------------------------------------------------------------------------------------------

    def job(
        self,
        payloads: Iterable[bytes],
        route: RouteText,
        *,
        ordered: bool = False,
        errors: Errors = "raise",
        deadline: float | None = None,
        at_most_once: bool = False,
        window: int | None = None,
        trace: bytes = b"",
        session: str = "",
    ) -> Job:
        """Describe a job: `payloads`, any iterable of bytes, along `route`, a list of `"server.function"`.

        Nothing is sent before `submit`. `ordered`: results in the order sent. `errors`: see `Job`. `deadline`: seconds
        that each message has from its first sending. `window`: messages under way at one time. `trace`: 16 bytes
        that handlers and logs see with each message. `session`: whose keys functions find in `self.session`.
        """
        return self._session.job(
            payloads,
            route,
            ordered=ordered,
            errors=errors,
            deadline=deadline,
            at_most_once=at_most_once,
            window=window,
            trace=trace,
            session=session,
        )

    def submit(
        self, job: Job | None = None, *, timeout: float | None = None, progress: bool = False
    ) -> Iterator[bytes]:
        """Start the job (the last one described, by default) and iterate over its results as they come.

        `timeout` (seconds) bounds each wait for the next result: `WaitTimeout` says what was waited for, and iterating
        on is allowed. Without it a wait ends when no stage shows a sign of life for a minute. `progress` shows a bar on
        a terminal.
        """
        job = self._session.to_submit(job)
        engine = self.connect()
        gate = self._session.world.gate()
        self._session.start(engine, job, gate.open)
        results = Results(Turns(self._session, job, engine, timeout), gate)
        if progress:
            from palm.progress import Watched

            return Watched(results, job)
        return results

    def map(
        self,
        payloads: Iterable[bytes],
        route: RouteText,
        *,
        ordered: bool = False,
        errors: Errors = "raise",
        timeout: float | None = None,
        progress: bool = False,
    ) -> Iterator[bytes]:
        """`job` and `submit` in one: the results of `payloads` through `route`."""
        job = self.job(payloads, route, ordered=ordered, errors=errors)
        return self.submit(job, timeout=timeout, progress=progress)

    def call(
        self,
        route: RouteText,
        payload: bytes,
        *,
        timeout: float | None = None,
        deadline: float | None = None,
        trace: bytes = b"",
    ) -> bytes:
        """One message, and its result. Raises what became of it instead; `WaitTimeout` after `timeout` (60 s), or,
        where that is sooner, `DeadlineExpired` after `deadline`: no stage begins with it later than that."""
        session = self._session
        if not session.is_connected:
            self.connect()
        if session.has_jobs:
            gate = session.world.gate()
            return _perform(session.call(gate.open, route, payload, timeout, deadline, trace), gate)
        with session.world.turn() as gate:
            return _perform(session.call(gate.open, route, payload, timeout, deadline, trace), gate)

    # -- the store ----------------------------------------------------------------------------------------------------

    def store(self, server: str, *, timeout: float | None = None) -> Store:
        """The key-value store of that server. `timeout` (seconds) is for each operation."""
        return Store(Operations(self._session, server, "", timeout), self.perform)

    # -- who lives ----------------------------------------------------------------------------------------------------

    def instances(self) -> list[Instance]:
        """Every instance of the cluster, as the registry shows it now."""
        return self.perform(self._session.instances)

    def survey(self) -> list[Standing]:
        """Every instance, and how it says that it stands: dials each of them, and takes a second or two."""
        return self.perform(self._session.survey)

    def drain(self, server: str, *, instance: str = "", timeout: float = 35.0) -> list[Departure]:
        """Have all instances of `server` finish what they have and leave, or the one whose id begins with `instance`.
        Waits for them; how far each is after `timeout` seconds at most."""
        return self.perform(lambda open: self._session.drain(open, server, instance, timeout))

    def perform(self, steps: Callable[[Open], Steps[Value]]) -> Value:
        """Do the waiting of steps (`palm.session`), on the caller's thread."""
        gate = self._session.world.gate()
        return _perform(steps(gate.open), gate)


def _perform(steps: Steps[Value], gate: Gate) -> Value:
    """Do the waiting that the steps ask for."""
    try:
        wait_s = next(steps)
        while True:
            wait_s = steps.send(gate.wait(wait_s))
    except StopIteration as end:
        value: Value = end.value
        return value
    finally:
        steps.close()


class Results(Iterator[bytes]):
    """The results of a submitted job. `job.ledger` has the counts at any time."""

    def __init__(self, turns: Turns, gate: Gate) -> None:
        self.job = turns.job
        self._turns = turns
        self._gate = gate

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        job, turns = self.job, self._turns
        while True:
            outcome = job.pop() or _perform(turns.wait(self._gate.open), self._gate)
            if outcome is None:
                raise turns.take_error() or StopIteration
            value = outcome[1]
            if isinstance(value, bytes):
                return value
            if turns.hands_out(value):
                return value  # type: ignore[return-value]  # asked for by errors="yield"
