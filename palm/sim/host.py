"""The host port in the simulated world: one process, with its clock, its timers, its tasks, and its one way to die.

Everything that a process will do later goes through `perform`, which asks whether the process is running, frozen or
dead at that moment. So a crash is a fence before it is anything else: from then on nothing of the process reaches the
world, and only then are its coroutines and stacks closed, whose `finally` blocks run into nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from math import ceil
from random import Random
from typing import Any

from palm.errors import HarnessError
from palm.ports.host import Executor
from palm.ports.transport import Address
from palm.sim import sandbox
from palm.sim.draws import ZERO, Distribution, Key
from palm.sim.eventloop import SimEventLoop, event_loop
from palm.sim.executor import SimExecutor, UserSurroundings
from palm.sim.kernel import NANOSECONDS, Cancelled, Future, Kernel, Task, Timer
from palm.sim.processor import Processor
from palm.sim.registry import SimRegistry
from palm.sim.stacks import GreenletExit, Stacks
from palm.sim.still import EPOCH_NS
from palm.sim.transport import Fabric, SimTransport, TransportSettings

_MILLION = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """Who a host is. `place` is the network's host that it runs on; `life` counts the restarts under one name, from 0,
    and keys everything that is drawn, so that no two lives share an id."""

    name: str
    place: str
    life: int = 0
    clock_offset: int = 0
    drift_ppm: int = 0


@dataclass(eq=False, slots=True)
class Busy:
    """A processor that others use too: handlings take a time drawn from `by` longer. `bitten` counts them."""

    by: Distribution
    bitten: int = 0


class Clock:
    """A monotonic clock that may run a little fast or slow, and a wall clock that may jump."""

    __slots__ = ("_kernel", "_local", "_ppm", "_since", "wall_offset")

    def __init__(self, kernel: Kernel, offset: int, ppm: int) -> None:
        self._kernel = kernel
        self._since = kernel.now
        self._local = kernel.now + offset
        self._ppm = ppm
        self.wall_offset = 0

    def now(self) -> int:
        passed = self._kernel.now - self._since
        if not self._ppm:
            return self._local + passed
        return self._local + passed + passed * self._ppm // _MILLION

    def wall(self) -> int:
        return EPOCH_NS + self._kernel.now + self.wall_offset

    def drift(self, ppm: int) -> None:
        """Run that many millionths fast (or slow, below 0) from now on."""
        self._local, self._since, self._ppm = self.now(), self._kernel.now, ppm

    def moment(self, local: int) -> int:
        """The first moment of the world at which this clock, as it runs now, shows `local` or more."""
        ahead = local - self._local
        if not self._ppm:
            return self._since + ahead
        return self._since - (-ahead * _MILLION // (_MILLION + self._ppm))


class _HostTimer:
    """A callback that waits for a moment of its host's clock."""

    __slots__ = ("_callback", "_host", "_timer", "when")

    def __init__(self, host: Host, when: int, callback: Callable[[], None]) -> None:
        self._host = host
        self._callback: Callable[[], None] | None = callback
        self.when = when
        self._timer: Timer = host.kernel.call_at(host.clock.moment(when), self._due)

    def cancel(self) -> None:
        self._callback = None
        self._timer.cancel()

    def _due(self) -> None:
        if self._host.clock.now() < self.when:  # the clock was slowed down since
            self._timer = self._host.kernel.call_at(self._host.clock.moment(self.when), self._due)
        else:
            self._host.perform(self._call)

    def _call(self) -> None:
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class SimGate:
    """palm.ports.host.Gate: outside of the world, waiting runs it; on a stack of user code, waiting parks the stack."""

    __slots__ = ("_host", "_open", "_wake")

    def __init__(self, host: Host) -> None:
        self._host = host
        self._open = False
        self._wake: Callable[[], None] | None = None

    def open(self) -> None:
        self._open = True
        if self._wake is not None:
            self._wake()

    def wait(self, timeout_s: float | None) -> bool:
        host, kernel = self._host, self._host.kernel
        if not self._open:
            if host.stacks.inside:
                self._park(timeout_s)
            elif kernel.running:
                raise HarnessError(
                    f"{host.name}: a blocking call in an async handler or a callback would stop the simulated world; "
                    "await the asynchronous form"
                )
            else:
                self._run_world(timeout_s)
        opened, self._open = self._open, False
        return opened

    def _park(self, timeout_s: float | None) -> None:
        host = self._host
        timer = None
        wake = host.parking()
        self._wake = wake
        if timeout_s is not None:
            timer = host.call_at(host.now() + _ns(timeout_s), wake)
        try:
            host.park()
        finally:
            self._wake = None
            if timer is not None:
                timer.cancel()

    def _run_world(self, timeout_s: float | None) -> None:
        host, kernel = self._host, self._host.kernel
        if timeout_s is not None:
            limit = host.clock.moment(host.now() + _ns(timeout_s))
            kernel.run_until(lambda: self._open, limit)
        elif not kernel.run_until(lambda: self._open or not host.alive):
            raise HarnessError(f"{host.name} waits for ever: nothing is left to happen in the simulated world")
        elif not self._open:
            raise HarnessError(f"{host.name} waits for ever: its process is dead")


def _ns(timeout_s: float) -> int:
    """Rounded up: whoever waits for what is left of a time must not find the clock where it was."""
    return ceil(timeout_s * NANOSECONDS)


class Host:
    """palm.ports.host.Host on the kernel. Made by `World.host`, which gives it its transport and registry."""

    __slots__ = (
        "_attached",
        "_crashed",
        "_executors",
        "_late",
        "_loop",
        "_service",
        "_tasks",
        "alive",
        "busy",
        "clock",
        "frozen",
        "kernel",
        "label",
        "life",
        "name",
        "place",
        "processor",
        "registry",
        "stacks",
        "suspended",
        "transport",
        "world_changed",
    )

    cancelled: type[BaseException] = Cancelled

    def __init__(
        self,
        kernel: Kernel,
        stacks: Stacks,
        fabric: Fabric,
        process: Process,
        registry: Callable[[Host], SimRegistry],
        *,
        service: Distribution = ZERO,
        settings: TransportSettings = TransportSettings(),
        listen: Address | None = None,
        processor: Processor | None = None,
    ) -> None:
        self.kernel = kernel
        self.stacks = stacks
        self.name = process.name
        self.place = process.place
        self.life = process.life
        self.label = process.name if process.life == 0 else f"{process.name}#{process.life}"
        """The name and, after a restart, the life: no other process of the run has it."""
        self.alive = True
        self.frozen = False
        self.suspended = False
        """Frozen, and with its connections gone: until `resume`."""
        self.busy: Busy | None = None
        """What makes its user code slower than it is, at present."""
        self.clock = Clock(kernel, process.clock_offset, process.drift_ppm)
        self.processor = processor
        """What it computes on; None: nothing that it does takes processor time."""
        self.world_changed = fabric.changed
        self._service = service
        self._late: list[Callable[[], None]] = []
        self._tasks: dict[Task, None] = {}
        self._executors: list[SimExecutor] = []
        self._loop: SimEventLoop | None = None
        self._crashed: Callable[[Host], None] | None = None
        self._attached: list[Host] = []
        self.transport = SimTransport(fabric, self, settings, listen)
        self.registry = registry(self)

    # -- the port ------------------------------------------------------------------------------------------------

    def now(self) -> int:
        return self.clock.now()

    def wall(self) -> int:
        return self.clock.wall()

    def draw(self, name: str, ordinal: int = 0) -> Random:
        return Key(self.kernel.seed, f"{self.label}/{name}").random(ordinal)

    def call_soon(self, callback: Callable[[], None]) -> None:
        if self.alive:
            self.kernel.call_soon(partial(self.perform, callback))

    def call_next(self, callback: Callable[[], None]) -> None:
        """`call_soon`, for the last thing that a callback does: without a turn of the kernel where nothing comes
        before it."""
        if self.kernel.has_more_now:
            self.call_soon(callback)
        else:
            self.perform(callback)

    def call_at(self, when: int, callback: Callable[[], None]) -> _HostTimer:
        return _HostTimer(self, when, callback)

    def spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> Task:
        task = self.kernel.spawn(coroutine, name, scheduler=self, ended=self._ended)
        self._tasks[task] = None
        if not self.alive:
            task.kill()
        return task

    async def sleep(self, duration: int) -> None:
        woken: Future[None] = Future()
        timer = self.call_at(self.now() + duration, partial(woken.set, None))
        try:
            await woken
        finally:
            timer.cancel()

    def submit(self, callback: Callable[[], None]) -> None:
        self.call_soon(callback)

    def gate(self) -> SimGate:
        return SimGate(self)

    def executor(self, name: str) -> Executor:
        """One lane, with the service time that the host was made with."""
        executor = SimExecutor(self, name, self._service)
        self._executors.append(executor)
        return executor

    # -- what happens to it --------------------------------------------------------------------------------------

    def crash(self) -> None:
        """Die here and now, as by SIGKILL. Nothing of this process does anything any more; the operating system closes
        its links. Harmless when it is dead."""
        if not self.alive:
            return
        self.alive = False
        self.kernel.trace.record(self.label, self.place, "crash")
        self._late.clear()
        if self.processor is not None:
            self.processor.crash()
        self.transport.crash()
        self.registry.crash()
        for executor in self._executors:
            executor.crash()
        if self._loop is not None:
            self._loop.crash()
        for task in list(self._tasks):
            task.kill()
        for part in self._attached:
            part.crash()
        if self._crashed is not None:
            self._crashed(self)

    def on_crash(self, callback: Callable[[Host], None]) -> None:
        """Call it once, when the process has died: by `crash`, or by user code that called `os._exit`."""
        self._crashed = callback

    def attach(self, part: Host) -> None:
        """`part`, with its own name, clock and links, is of the same process: it dies, freezes and thaws with this."""
        self._attached.append(part)
        part.processor = self.processor
        if not self.alive:
            part.crash()
        elif self.frozen:
            part.freeze()

    def freeze(self) -> None:
        """Stop, as by SIGSTOP: nothing of it runs, what arrives waits (up to the sender's high-water mark), and its
        timers will fire late. Its clocks go on."""
        if self.alive and not self.frozen:
            self.frozen = True
            if self.processor is not None:
                self.processor.stop()
            self.kernel.trace.record(self.label, self.place, "freeze")
            self.world_changed()
            for part in self._attached:
                part.freeze()

    def thaw(self) -> None:
        """Go on: what would have happened meanwhile happens now, in its order. One that is suspended does not."""
        if self.alive and self.frozen and not self.suspended:
            self.frozen = False
            self.kernel.trace.record(self.label, self.place, "thaw")
            late, self._late = self._late, []
            for callback in late:
                self.kernel.call_soon(partial(self.perform, callback))
            if self.processor is not None:
                self.processor.go()
            self.world_changed()
            for part in self._attached:
                part.thaw()

    def suspend(self) -> None:
        """Stop with all that is in memory, as on a machine that is suspended: its connections do not survive that, and
        what is sent to it meanwhile is lost."""
        if self.alive and not self.suspended:
            self.freeze()
            self.suspended = True
            self.transport.suspend()
            self.registry.suspend()
            for part in self._attached:
                part.suspend()

    def resume(self) -> None:
        """Go on after `suspend`, with the memory of then and the clocks of now; connections come up anew."""
        if self.alive and self.suspended:
            self.suspended = False
            self.transport.resume()
            self.registry.resume()
            self.thaw()
            for part in self._attached:
                part.resume()

    # -- for the adapters of this process ------------------------------------------------------------------------

    def perform(self, callback: Callable[[], None]) -> None:
        """Call it now if the process runs, at its thaw if it is frozen, never if it is dead."""
        if self.frozen:
            self._late.append(callback)
        elif self.alive:
            callback()

    def loop(self) -> SimEventLoop:
        """The asyncio loop of this process's async handlers, made when the first one runs."""
        if self._loop is None:
            self._loop = event_loop(self, UserSurroundings(self, "loop"))
        return self._loop

    def pause(self, duration: int) -> None:
        """Let time pass on the current stack of user code."""
        if duration > 0:
            if not self.stacks.inside:
                raise HarnessError(
                    f"{self.name}: time.sleep in an async handler or a constructor would stop the whole process; "
                    "await asyncio.sleep, or sleep in a function"
                )
            resume = partial(self.stacks.resume, self.stacks.current())
            self.call_at(self.now() + duration, partial(self.call_next, resume))
            self.park()

    def compute(self, duration: int) -> None:
        """Keep the processor for that long on the current stack of user code, and wait for it as long as others have
        it."""
        if duration > 0 and self.processor is not None:
            self.processor.compute(duration, self.parking())
            self.park()

    def parking(self) -> Callable[[], None]:
        """How the current stack is woken, once it is parked, by whatever it waits for; calling it again does
        nothing."""
        stack = self.stacks.current()
        woken = False

        def wake() -> None:
            nonlocal woken
            if not woken:
                woken = True
                self.call_soon(partial(self.stacks.resume, stack))

        return wake

    def park(self) -> None:
        """Leave the current stack until it is woken. Raises GreenletExit when the process dies meanwhile."""
        if not self.alive:
            raise GreenletExit
        seen = sandbox.enter(None)
        try:
            self.stacks.park()
        finally:
            sandbox.enter(seen)
        if not self.alive:
            raise GreenletExit

    def _ended(self, task: Task) -> None:
        self._tasks.pop(task, None)
