"""One event loop that two threads run in turn: its own, and a caller who waits for one answer and for nothing else.

A hand-over between threads costs as much as all the rest of a single call. So the caller runs the loop itself while it
waits, and its own thread leaves the loop alone for a moment longer: the next call finds it free. Whoever else has
something to do there brings that thread back at once. Knows nothing of clients and messages.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from threading import get_ident
from time import monotonic
from types import FrameType, TracebackType
from typing import Any, Callable, Coroutine, Final, Self

from palm.errors import ClientClosed
from palm.net.host import NetGate

GRACE_S: Final = 0.005
"""How often the loop's thread looks whether callers still come. Timers and arrivals are late by at most twice that."""


class SharedLoop:
    """To be made and run by the thread that the loop belongs to."""

    def __init__(self) -> None:
        self.is_over = False
        self.owner = 0
        """The thread whose turn it is; 0 while it is nobody's or the loop's own thread's."""
        self.others: dict[int, None] = {}
        """Callers who wait while somebody else runs the loop."""
        self.slot = threading.Lock()
        """Held by the one caller who has the turn, or asks for it."""
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self.loop = self._runner.get_loop()
        self._baton = threading.Lock()  # whoever holds it runs the loop, or may touch it as if it did
        self._bell = NetGate()
        self._is_away = False
        self._is_asleep = False
        self._is_needed = False
        self._is_asked = False
        self._turns = 0
        self._alarm: asyncio.TimerHandle | None = None

    # -- the loop's own thread ----------------------------------------------------------------------------------------

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        """Run `main` to its end, with pauses for the turns of callers. Raises what it raised."""
        with self._runner:
            task = self.loop.create_task(main)
            task.add_done_callback(self._end)
            try:
                while not self.is_over:
                    self._run()
                    self._rest()
            finally:
                self.is_over = True
                with self._baton:  # whoever gets it from now on sees that it is over, and touches nothing
                    pass
            task.result()

    def _run(self) -> None:
        with self._baton:
            self._is_away = self._is_needed = False
            # A caller who has asked may still be on its way to the baton: nobody else can ask in its place.
            if not (self.is_over or self._is_asked):
                self.loop.run_forever()
            self._is_away = True

    def _rest(self) -> None:
        """Until no caller came for a while, or somebody needs the loop to run."""
        seen = -1
        while not (self.is_over or self._is_needed):
            self._bell.wait(GRACE_S)
            busy = self._baton.locked()
            if self._turns != seen:
                seen = self._turns
            elif not busy:
                return
            else:
                # A long turn. It looks at this once it has let go of the baton, and we at the baton once it is set.
                self._is_asleep = True
                if self._baton.locked():
                    self._bell.wait(None)
                self._is_asleep = False

    def _end(self, task: asyncio.Task[None]) -> None:
        self.is_over = True
        self.loop.stop()
        self._bell.open()

    def _give_way(self) -> None:
        if self._is_asked:
            self.loop.stop()

    # -- any thread ---------------------------------------------------------------------------------------------------

    def submit(self, callback: Callable[[], None]) -> None:
        """Call it on the thread whose turn it is: before this returns where that is ours. Raises RuntimeError once the
        loop is over."""
        if self.is_over:
            raise RuntimeError("the loop is over")
        if self.owner == get_ident() and not self.loop.is_running():
            self._call(callback)
            return
        self.loop.call_soon_threadsafe(callback)
        if self._is_away:
            self._is_needed = True
            self._bell.open()

    def _call(self, callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception as error:  # not the caller's: it goes where the loop would send it
            self.loop.call_exception_handler({"message": f"exception in {callback!r}", "exception": error})

    # -- callers ------------------------------------------------------------------------------------------------------

    def take(self) -> bool:
        """Have the loop, which its thread gives up at once; False when it is over. With `slot` held."""
        if not self._baton.acquire(blocking=False):
            self._is_asked = True
            try:
                self.loop.call_soon_threadsafe(self._give_way)
            except RuntimeError:
                return False  # closed in this moment
            self._baton.acquire()
            self._is_asked = False
        if self.is_over:
            self._baton.release()
            return False
        self._turns += 1
        self.owner = get_ident()
        return True

    def give_back(self) -> None:
        self.owner = 0
        self._baton.release()
        if self._is_asleep:
            self._bell.open()

    def run_until(self, until: float | None) -> None:
        """Run it, in one's turn, until somebody stops it, at the latest then (loop time)."""
        if until is not None and (self._alarm is None or until < self._alarm.when()):
            # One that rings too early is cheap, and serves all calls of its time.
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm = self.loop.call_at(until, self._ring)
        self.loop.run_forever()

    def _ring(self) -> None:
        self._alarm = None
        if self.owner:
            self.loop.stop()


class Turn:
    """A gate for one caller, in a `with` block: its wait runs the loop where nobody else has need of it.

    On the main thread handlers of SIGINT are put off while it runs: KeyboardInterrupt comes out of `wait`, promptly,
    and never out of the middle of a callback.
    """

    __slots__ = ("_is_open", "_noted", "_gate", "_previous", "_shared")

    def __init__(self, shared: SharedLoop) -> None:
        self._shared = shared
        self._is_open = False
        self._gate: NetGate | None = None
        self._previous: Any = None  # what `signal` knows as a handler
        self._noted: tuple[int, FrameType | None] | None = None

    def __enter__(self) -> Self:
        shared = self._shared
        if shared.others or shared.slot.locked() or asyncio._get_running_loop() is not None:
            self._stand_by()
            return self
        if get_ident() == threading.main_thread().ident:
            self._defer_interrupts()
        if not shared.slot.acquire(blocking=False):
            self._stand_by()
        elif not shared.take():
            shared.slot.release()
            self._restore_interrupts()
            raise ClientClosed("the client is closed: make a new one")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        shared = self._shared
        if self._gate is None:
            shared.give_back()
            shared.slot.release()
        else:
            shared.others.pop(get_ident(), None)
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            self._deliver_interrupt()

    def open(self) -> None:
        self._is_open = True
        if self._gate is not None:
            self._gate.open()
        elif self._shared.owner == get_ident():
            self._shared.loop.stop()

    def wait(self, timeout_s: float | None) -> bool:
        if self._gate is not None:
            return self._gate.wait(timeout_s)
        shared = self._shared
        until = None if timeout_s is None else monotonic() + timeout_s
        while not self._is_open:
            shared.run_until(until)
            if self._noted is not None:
                self._deliver_interrupt()
            if self._is_open:
                break
            if shared.is_over:
                raise ClientClosed("the client was closed while it waited")
            if until is not None and monotonic() >= until:
                return False
        self._is_open = False
        return True

    def _stand_by(self) -> None:
        self._gate = NetGate()
        self._shared.others[get_ident()] = None
        self._restore_interrupts()

    # -- interrupts ---------------------------------------------------------------------------------------------------

    def _defer_interrupts(self) -> None:
        self._previous = previous = signal.signal(signal.SIGINT, self._note_interrupt)
        if previous in (signal.SIG_DFL, signal.SIG_IGN):
            self._restore_interrupts()

    def _note_interrupt(self, number: int, frame: FrameType | None) -> None:
        self._noted = (number, frame)
        if not self._shared.is_over:
            self._shared.loop.call_soon_threadsafe(self._shared.loop.stop)

    def _deliver_interrupt(self) -> None:
        noted, self._noted = self._noted, None
        if noted is not None:
            self._previous(*noted)

    def _restore_interrupts(self) -> None:
        if self._previous is not None:
            previous, self._previous = self._previous, None
            signal.signal(signal.SIGINT, previous)
            if self._noted is not None:
                previous(*self._noted)
