"""`AsyncClient`: the twin of `palm.client.Client` for coroutines. What both decide is `palm.session`; here is how it
waits: on futures of the running loop, which other threads reach by `call_soon_threadsafe`. It starts no thread itself.
"""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType
from typing import AsyncIterable, AsyncIterator, Callable, Iterable, Self, Sequence, TypeVar

from palm.core.message import Instance
from palm.core.route import RouteText
from palm.errors import ClientClosed, PalmError
from palm.jobs import Errors, FeedMaker, Job
from palm.runtime.draining import Departure
from palm.runtime.engine import ClientEngine
from palm.runtime.portal import World
from palm.runtime.survey import Standing
from palm.session import CLOSED_S, Open, Session, Steps, letters_in, open_world
from palm.store import AsyncStore, Operations
from palm.turns import Turns

FAIR = 128
"""Results handed out in a row before other tasks of the loop get their turn."""

Value = TypeVar("Value")


class AsyncClient:
    """Streams jobs through the servers of a cluster, for coroutines. Use it in an `async with` block, or `aclose` it.

    Arguments, results, errors and time limits are those of `palm.Client`. Sources may be iterables or async iterables:
    an async one is iterated as a task of the caller's loop, a plain one beside it, so that it may block. Belongs to one
    event loop; its methods may run in many tasks at once, the results of one job in one.
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

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.aclose()

    async def connect(self) -> ClientEngine:
        """Connect to the registry now rather than at the first use. Raises RegistryUnavailable or AuthRefused, and the
        client is closed then."""
        try:
            return await _perform(self._session.connect)
        except (PalmError, asyncio.CancelledError):
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Cancel what still runs and let go of everything. Idempotent."""
        if self._session.close():
            bell = Bell(asyncio.get_running_loop())
            self._session.world.stop(bell.open)
            await bell.wait(CLOSED_S)

    # -- jobs ---------------------------------------------------------------------------------------------------------

    def job(
        self,
        payloads: Iterable[bytes] | AsyncIterable[bytes],
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
        """Describe a job, as `Client.job` does. Nothing is sent before the results of `submit` are asked for."""
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
    ) -> AsyncIterator[bytes]:
        """The results of the job (the last one described, by default) as they come; `async for` starts it."""
        job = self._session.to_submit(job)
        results = AsyncResults(self, self._session, job, timeout)
        if progress:
            from palm.progress import WatchedAsync

            return WatchedAsync(results, job)
        return results

    def map(
        self,
        payloads: Iterable[bytes] | AsyncIterable[bytes],
        route: RouteText,
        *,
        ordered: bool = False,
        errors: Errors = "raise",
        timeout: float | None = None,
        progress: bool = False,
    ) -> AsyncIterator[bytes]:
        """`job` and `submit` in one: the results of `payloads` through `route`."""
        job = self.job(payloads, route, ordered=ordered, errors=errors)
        return self.submit(job, timeout=timeout, progress=progress)

    async def call(
        self,
        route: RouteText,
        payload: bytes,
        *,
        timeout: float | None = None,
        deadline: float | None = None,
        trace: bytes = b"",
    ) -> bytes:
        """One message, and its result. Raises what became of it instead, as `Client.call` does."""
        await self.connect()
        return await _perform(lambda open: self._session.call(open, route, payload, timeout, deadline, trace))

    # -- the store ----------------------------------------------------------------------------------------------------

    def store(self, server: str, *, timeout: float | None = None) -> AsyncStore:
        """The key-value store of that server. `timeout` (seconds) is for each operation."""
        return AsyncStore(Operations(self._session, server, "", timeout), self.perform)

    async def perform(self, steps: Callable[[Open], Steps[Value]]) -> Value:
        """Await what steps (`palm.session`) wait for."""
        return await _perform(steps)

    # -- who lives ----------------------------------------------------------------------------------------------------

    async def instances(self) -> list[Instance]:
        """Every instance of the cluster, as the registry shows it now."""
        return await _perform(self._session.instances)

    async def survey(self) -> list[Standing]:
        """Every instance, and how it says that it stands: dials each of them, and takes a second or two."""
        return await _perform(self._session.survey)

    async def drain(self, server: str, *, instance: str = "", timeout: float = 35.0) -> list[Departure]:
        """Have all instances of `server` finish what they have and leave, or the one whose id begins with `instance`.
        Waits for them; how far each is after `timeout` seconds at most."""
        return await _perform(lambda open: self._session.drain(open, server, instance, timeout))


class AsyncResults(AsyncIterator[bytes]):
    """The results of a job. `job.ledger` has the counts at any time. A cancelled `anext` loses no result."""

    def __init__(self, client: AsyncClient, session: Session, job: Job, timeout: float | None) -> None:
        self.job = job
        self._client = client
        self._session = session
        self._timeout = timeout
        self._turns: Turns | None = None
        self._bell = Bell(asyncio.get_running_loop())
        self._in_a_row = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        turns = self._turns or await self._start()
        self._in_a_row += 1
        if self._in_a_row >= FAIR:
            self._in_a_row = 0
            await asyncio.sleep(0)
        while True:
            outcome = self.job.pop()
            if outcome is None:
                self._in_a_row = 0
                outcome = await _perform(turns.wait, self._bell)
            if outcome is None:
                raise turns.take_error() or StopAsyncIteration
            value = outcome[1]
            if isinstance(value, bytes):
                return value
            if turns.hands_out(value):
                return value  # type: ignore[return-value]  # asked for by errors="yield"

    async def _start(self) -> Turns:
        engine = await self._client.connect()
        turns = self._turns = Turns(self._session, self.job, engine, self._timeout)
        self._session.start(engine, self.job, self._bell.open, self._feed_maker())
        return turns

    def _feed_maker(self) -> FeedMaker | None:
        source = self.job.source
        if not isinstance(source, AsyncIterable):
            return None
        loop = asyncio.get_running_loop()
        return lambda offer, ended: AsyncFeed(loop, self._session.world, self.job, source, offer, ended)


class Bell:
    """A gate for a coroutine: `open` from any thread, `wait` in one task of the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._is_open = False
        self._coming = False
        self._waiter: asyncio.Future[None] | None = None

    def open(self) -> None:
        if not self._coming:
            self._coming = True
            _call_soon(self._loop, self._ring)

    def _ring(self) -> None:
        self._coming = False
        self._is_open = True
        self._expire()

    def _expire(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self, timeout_s: float | None) -> bool:
        """Wait until open, then close it again and say True; False when `timeout_s` passed first."""
        if not self._is_open:
            self._waiter = self._loop.create_future()
            timer = None if timeout_s is None else self._loop.call_later(timeout_s, self._expire)
            try:
                await self._waiter
            finally:
                self._waiter = None
                if timer is not None:
                    timer.cancel()
        was_open, self._is_open = self._is_open, False
        return was_open


class AsyncFeed:
    """Iterates an async source in a task of the caller's loop, as far as it is demanded.

    What crosses to the host's thread waits in a deque, and one word serves all that gather until it is heard.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        world: World,
        job: Job,
        source: AsyncIterable[bytes],
        offer: Callable[[list[bytes]], None],
        ended: Callable[[BaseException | None], None],
    ) -> None:
        self._loop = loop
        self._world = world
        self._job = job
        self._source = source
        self._offer = offer
        self._ended = ended
        self._allowed = 0
        self._more = asyncio.Event()
        self._buffer: deque[bytes] = deque()
        self._announced = False
        self._task: asyncio.Task[None] | None = None

    # -- Feed: on the host's thread -----------------------------------------------------------------------------------

    def demand(self, count: int) -> None:
        _call_soon(self._loop, lambda: self._allow(count))

    def stop(self) -> None:
        _call_soon(self._loop, self._cancel)

    def _fetch(self) -> None:
        self._announced = False  # before the drain: who appends from now on announces it again
        buffer = self._buffer
        if buffer:
            self._offer([buffer.popleft() for _ in range(len(buffer))])

    # -- on the caller's loop -----------------------------------------------------------------------------------------

    def _allow(self, count: int) -> None:
        self._allowed += count
        self._more.set()
        if self._task is None:
            self._task = self._loop.create_task(self._run(), name="palm-feed")

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        error: BaseException | None = None
        source = aiter(self._source)
        try:
            await self._pull(source)
        except BaseException as raised:  # whatever the source raises is handed to the caller, who owns it
            error = raised
        try:
            self._world.submit(lambda: self._over(error))
            close = getattr(source, "aclose", None)
            if close is not None:
                await close()
        except ClientClosed:
            pass  # nobody wants to know any more

    def _over(self, error: BaseException | None) -> None:
        self._fetch()
        self._ended(error)

    async def _pull(self, source: AsyncIterator[bytes]) -> None:
        place = 0
        while True:
            while place >= self._allowed:
                self._more.clear()
                await self._more.wait()
            try:
                payload = await anext(source)
            except StopAsyncIteration:
                return
            self._buffer.append(self._job.check(place, payload))
            place += 1
            if not self._announced:
                self._announced = True
                self._world.submit(self._fetch)


async def _perform(steps: Callable[[Open], Steps[Value]], bell: Bell | None = None) -> Value:
    """Do the waiting that the steps ask for."""
    bell = bell or Bell(asyncio.get_running_loop())
    running = steps(bell.open)
    try:
        wait_s = next(running)
        while True:
            wait_s = running.send(await bell.wait(wait_s))
    except StopIteration as end:
        value: Value = end.value
        return value
    finally:
        running.close()


def _call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:
        pass  # the caller's loop is closed: nobody waits on it
