"""The simulator's clock and run loop: callbacks and coroutines in integer nanoseconds, on a simpy Environment.

Everything that happens in a simulated world is an entry of one heap, ordered by (time, priority, counter), so a run is
a function of its seed. Callbacks are slotted events of our own and the loop over them is inlined: together that runs
half as fast again as `Environment.run` over stock events, which still work beside them. Coroutines run on a small
trampoline rather than as `simpy.Process`: that costs three events for each wait, and its interrupts are swallowed by
`except Exception` in user code. This file knows nothing of hosts, networks or user code.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Coroutine, Generator
from hashlib import blake2b
from heapq import heapify, heappop, heappush
from typing import Any, Generic, Protocol, TypeVar

import simpy

from palm.errors import HarnessError
from palm.ports import host
from palm.sim.blame import said_by

T = TypeVar("T")

NANOSECONDS = 1_000_000_000
FOREVER = 1 << 63
"""Later than any moment of any run: 292 years."""

_COMPACT_AT = 4096  # cancelled timers kept in the heap before it is worth filtering them out
_COLLECTING = (50_000, 20, 20)
"""How rarely to look for cycles of garbage while a world runs: at the usual pace, thousands of nodes are looked through
so often that it doubles the time."""
_SHOWN_BYTES = 256  # of a frame, in the readable trace; the hash always takes all of it


class Cancelled(BaseException):
    """Raised at the present wait of a coroutine that was cancelled. Clean up and re-raise.

    A BaseException, so that `except Exception` in user code does not keep a cancelled coroutine alive.
    """


class Timer:
    """One callback in the kernel's heap."""

    __slots__ = ("_kernel", "call")

    # What stock simpy reads of an event (Environment.step), so that the heap may hold both kinds.
    _ok = True
    _value = None

    def __init__(self, kernel: Kernel, call: Callable[[], None] | None) -> None:
        self._kernel = kernel
        self.call = call

    def cancel(self) -> None:
        """The callback will not be called. Harmless after it was."""
        if self.call is not None:
            self.call = None
            self._kernel._forget_one()

    @property
    def pending(self) -> bool:
        """Neither called nor cancelled yet."""
        return self.call is not None


class Trace:
    """A rolling hash over everything that the world shows, always on; two runs of one seed must agree in it."""

    __slots__ = ("_hash", "_kernel", "records", "sink")

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._hash = blake2b(digest_size=16)
        self.records = 0
        self.sink: Callable[[str], None] | None = None
        """Given one line of JSON for each record, without a newline; for example `file.write` behind a lambda."""

    def record(self, src: str, dst: str, fate: str, *parts: bytes) -> None:
        """Note that `parts` went from `src` to `dst` now, and what became of them."""
        size = 0
        for part in parts:
            size += len(part)
        update = self._hash.update
        # The sizes keep two different splits of the same bytes apart.
        update(f"{self._kernel.now} {src} {dst} {fate} {len(parts)} {size}\n".encode())
        for part in parts:
            update(part)
        self.records += 1
        if self.sink is not None:
            shown = b"".join(parts)[:_SHOWN_BYTES].hex()
            line = {"at": self._kernel.now, "from": src, "to": dst, "fate": fate, "bytes": size, "frame": shown}
            self.sink(json.dumps({**line, "hash": self.hexdigest()[:16]}))

    def hexdigest(self) -> str:
        """The hash of the run so far."""
        return self._hash.hexdigest()


class Witness(Protocol):
    """Told of everything that the network does."""

    def record(self, src: str, dst: str, fate: str, *parts: bytes) -> None: ...


class Clock(Protocol):
    """What the network's rules, jobs and scripts need of a world's time: the kernel has it, and so has a run on real
    processes. Moments are nanoseconds since the start of the run."""

    @property
    def seed(self) -> int: ...

    @property
    def now(self) -> int: ...

    @property
    def trace(self) -> Witness: ...

    def call_at(self, when: int, callback: Callable[[], None]) -> host.Timer: ...

    def call_soon(self, callback: Callable[[], None]) -> object: ...


class Scheduler(Protocol):
    """Where a task's steps run: the kernel itself, or a host that may be frozen or dead by then."""

    def call_soon(self, callback: Callable[[], None]) -> Any: ...


class Future(Generic[T]):
    """A value that is not there yet; one or more coroutines may await it. Setting it twice keeps the first."""

    __slots__ = ("_error", "_then", "_value", "_waiters", "done")

    def __init__(self) -> None:
        self.done = False
        self._then: Callable[[T], None] | None = None
        self._value: T | None = None
        self._error: BaseException | None = None
        self._waiters: list[Task] = []

    def set(self, value: T) -> None:
        """Give every waiter `value`, in the order they came."""
        if not self.done:
            self._value = value
            self._finish()
            if self._then is not None:
                self._then(value)

    def then(self, callback: Callable[[T], None]) -> None:
        """Call it as the value is set, at once and in place; for one callback, and not for failures."""
        self._then = callback

    def fail(self, error: BaseException) -> None:
        """Raise `error` in every waiter."""
        if not self.done:
            self._error = error
            self._finish()

    def value(self) -> T:
        """What was set; raises what it failed with. Only once done."""
        assert self.done, "a future's value is asked for before it is there"
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # a T once done without an error

    def _finish(self) -> None:
        self.done = True
        waiters, self._waiters = self._waiters, []
        for task in waiters:
            task._wake()

    def __await__(self) -> Generator[Future[T], None, T]:
        if not self.done:
            yield self
        return self.value()


class Task:
    """A running coroutine. `done` once it has returned, was cancelled, or was killed."""

    __slots__ = ("_cancelling", "_coroutine", "_ended", "_scheduler", "_waiting", "_woken", "done", "name")

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, None],
        name: str,
        scheduler: Scheduler,
        ended: Callable[[Task], None] | None,
    ) -> None:
        self.name = name
        self.done = False
        self._coroutine = coroutine
        self._scheduler = scheduler
        self._ended = ended
        self._waiting: Future[Any] | None = None
        self._woken = False
        self._cancelling = False
        self._wake()

    def cancel(self) -> None:
        """Raise `Cancelled` at its present wait, after what is running now. Harmless when it is done."""
        if not self.done:
            self._cancelling = True
            self._wake()

    def kill(self) -> None:
        """End it here and now. Its `finally` blocks run, so whoever kills must have made it harmless before."""
        if self.done:
            return
        self._finish()
        try:
            self._coroutine.close()
        except (Exception, Cancelled):  # the dead have nothing to say: its clean-up failed, awaited, or runs just now
            pass

    def _finish(self) -> None:
        self.done = True
        self._detach()
        if self._ended is not None:
            self._ended(self)

    def _detach(self) -> None:
        if self._waiting is not None and self in self._waiting._waiters:
            self._waiting._waiters.remove(self)
        self._waiting = None

    def _wake(self) -> None:
        if not self._woken and not self.done:
            self._woken = True
            self._scheduler.call_soon(self._step)

    def _step(self) -> None:
        self._woken = False
        if self.done:
            return
        try:
            if self._cancelling:
                self._cancelling = False
                self._detach()
                waiting = self._coroutine.throw(Cancelled(self.name))
            else:
                self._waiting = None
                waiting = self._coroutine.send(None)
        except StopIteration:
            self._finish()
            return
        except Cancelled:
            self._finish()
            return
        except BaseException:  # goes on to whoever runs the world
            self._finish()
            raise
        if not isinstance(waiting, Future):
            raise HarnessError(
                f"task {self.name!r} awaits {waiting!r}, which the simulator does not know (await what the host gives)"
            )
        self._waiting = waiting
        if waiting.done:
            self._wake()
        else:
            waiting._waiters.append(self)


STUCK_AT = 1_000_000
"""Callbacks at one moment after which a run is given up: something asks to be called again at once, for ever."""


class Kernel:
    """Time, order and randomness's seed of one simulated world.

    Moments are integer nanoseconds from the start of the run. What is due at one moment runs in the order in which it
    was asked for. An exception that leaves a callback or a coroutine ends the run: it comes out of `run` or `run_until`
    as a HarnessError, with the exception as its cause, and every later run raises the same.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.environment = simpy.Environment(0)
        """For models of a test's own made of stock simpy events; PALM itself uses the methods below."""
        self.now = 0
        """The present moment. An attribute, as it is read several times for each event."""
        self.trace = Trace(self)
        self.events = 0
        """How many callbacks and stock events have run."""
        self.running = False
        self._queue: list[Any] = self.environment._queue
        self._counter = self.environment._eid
        self._cancelled = 0
        self._broken: HarnessError | None = None

    def call_at(self, when: int, callback: Callable[[], None]) -> Timer:
        """Call it at `when`, or soon if that has passed."""
        timer = Timer(self, callback)
        now = self.now
        heappush(self._queue, (when if when > now else now, 1, next(self._counter), timer))
        return timer

    def call_soon(self, callback: Callable[[], None]) -> Timer:
        """Call it at this moment, after everything that is already due."""
        timer = Timer(self, callback)
        heappush(self._queue, (self.now, 1, next(self._counter), timer))
        return timer

    @property
    def has_more_now(self) -> bool:
        """Something is due at this moment, beside what runs. Where nothing is, the last thing that a callback does may
        be what it would have asked for with `call_soon`: it would be next."""
        queue = self._queue
        return bool(queue) and queue[0][0] <= self.now

    def spawn(
        self,
        coroutine: Coroutine[Any, Any, None],
        name: str,
        scheduler: Scheduler | None = None,
        ended: Callable[[Task], None] | None = None,
    ) -> Task:
        """Run a native coroutine, beginning soon. `ended` is called once when it is over, however that came."""
        return Task(coroutine, name, scheduler or self, ended)

    async def sleep(self, duration: int) -> None:
        """Wait `duration` ns."""
        woken: Future[None] = Future()
        timer = self.call_at(self.now + duration, lambda: woken.set(None))
        try:
            await woken
        finally:
            timer.cancel()

    def run(self, until: int = FOREVER) -> None:
        """Run everything that is due up to and including `until`; if that is finite, the clock then stands there."""
        self._advance(until, None)
        if until < FOREVER and self.now < until:
            self.now = self.environment._now = until

    def run_until(self, predicate: Callable[[], bool], limit_ns: int = FOREVER) -> bool:
        """Run until `predicate()`, which is asked after each event; False when `limit_ns` (a moment) or the last event
        came first. The clock stands at the event that made it true, or at a finite limit."""
        if predicate():
            return True
        if self._advance(limit_ns, predicate):
            return True
        if limit_ns < FOREVER and self.now < limit_ns:
            self.now = self.environment._now = limit_ns
        return False

    def complete(self, coroutine: Coroutine[Any, Any, T], limit_ns: int = FOREVER) -> T:
        """Run until `coroutine` is over; its value, or its exception as it is. A HarnessError when it never ends."""
        ended: Future[T] = Future()

        async def follow() -> None:
            try:
                ended.set(await coroutine)
            except Exception as error:  # handed to the caller below, whatever it is
                ended.fail(error)

        task = self.spawn(follow(), "complete")
        if not self.run_until(lambda: task.done, limit_ns):
            task.kill()
            raise HarnessError(f"at {self.now} ns: nothing is left to happen, or the time is up, and it still waits")
        return ended.value()

    @property
    def idle(self) -> bool:
        """Nothing is left that could ever happen."""
        return len(self._queue) <= self._cancelled

    def _advance(self, until: int, predicate: Callable[[], bool] | None) -> bool:
        if self._broken is not None:
            raise self._broken
        if self.running:
            raise HarnessError("the kernel already runs: a callback must not run it again (wait with a gate, or await)")
        environment, queue, pop = self.environment, self._queue, heappop
        count = since = 0
        self.running = True
        collecting = gc.get_threshold()
        gc.set_threshold(*_COLLECTING)
        try:
            while queue and queue[0][0] <= until:
                when, _, _, event = pop(queue)
                if type(event) is Timer:
                    call = event.call
                    if call is None:
                        self._cancelled -= 1
                        continue
                    event.call = None
                    if when > self.now:
                        self.now = environment._now = when
                        since = count
                    elif count - since > STUCK_AT:
                        raise HarnessError(f"at {when} ns: {STUCK_AT} callbacks, and time stands still: {call!r}")
                    count += 1
                    call()
                else:
                    heappush(queue, (when, -1, -1, event))  # back to the front, for simpy's own way with it
                    self.now = when
                    count += 1
                    environment.step()
                if predicate is not None and predicate():
                    return True
            return False
        except HarnessError as error:
            self._broken = error
            raise
        except (Exception, Cancelled) as error:  # whatever it is, the run cannot be trusted after it
            self._broken = HarnessError(f"at {self.now} ns: {said_by(error)}")
            raise self._broken from error
        finally:
            self.events += count
            self.running = False
            gc.set_threshold(*collecting)

    def _forget_one(self) -> None:
        self._cancelled += 1
        # A heap of mostly cancelled timers (one per call that did not time out) would grow with the load.
        if self._cancelled > _COMPACT_AT and self._cancelled * 2 > len(self._queue):
            alive = [entry for entry in self._queue if type(entry[3]) is not Timer or entry[3].call is not None]
            self._queue[:] = alive
            heapify(self._queue)
            self._cancelled = 0
