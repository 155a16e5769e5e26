"""Records a process of a real run: its frames at the transport, its handlings at the executor, its processor time.

What is seen is kept in lists, which any thread may append to, and written every 50 ms by the event loop: some
microseconds for each message, and one `write` of whole lines, so that all processes of a machine may share a file. A
process that is killed takes its last 50 ms with it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any, Awaitable, Callable, Mapping, Sequence

from palm.core.effect import Deliver, Effect, Send
from palm.core.event import Event, Offered, Received
from palm.core.message import Frame, Header, Status
from palm.errors import BadRequest
from palm.observe.record import VERSION, Carried, Given, Handled, Lines, Taken, Used, line_of
from palm.ports.host import Executor
from palm.ports.transport import Address, Arrival, Arrived, LinkState, Peer, Sink, Transport, TransportCounters
from palm.runtime.drive import Instrument

WRITE_S = 0.05
USED_EVERY = 4
"""Processor time is noted with every so many writes."""

_CONTROL = 1
_KIND = 3
_MARK = slice(8, 12)
"""Where the kind and the checksum stand in the prefix of a frame: `palm.wire.frame`."""

log = logging.getLogger("palm.record")

_NOT_RUN = (Status.EXPIRED, Status.CANCELLED)


class Tape:
    """The recording of one process. `start` and `close` on the thread of its event loop."""

    def __init__(self, path: str, *, server: str = "", host: str = "") -> None:
        """`server` empty: a client. Raises BadRequest when the file cannot be written."""
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise BadRequest(f"cannot record to {path}: {error.strerror} (name a file that can be written)") from error
        self.frames = 0
        self.messages = 0
        machine = _machine()
        self._process = f"{os.getpid()}.{time.monotonic_ns()}@{machine}"
        self._path = path
        self._lines = Lines(self._process)
        self._handled: list[Handled] = []
        self._timer: asyncio.TimerHandle | None = None
        self._writes = 0
        cores = len(os.sched_getaffinity(0))
        self._write(
            Lines(self._process, palm=VERSION, server=server, host=host or machine, machine=machine, cores=cores)
        )

    # -- from any thread ----------------------------------------------------------------------------------------------

    def sent(self, src: Peer, dst: Peer, frame: Frame) -> None:
        self.frames += 1
        if frame[0][_KIND] != _CONTROL:
            mark = int.from_bytes(frame[0][_MARK], "big")
            self._lines.sent.append(Carried(time.monotonic_ns(), src, dst, sum(map(len, frame)), mark))

    def came(self, src: Peer, dst: Peer, frames: Sequence[Frame]) -> None:
        now = time.monotonic_ns()
        self.frames += len(frames)
        for frame in frames:
            if len(frame[0]) > _KIND and frame[0][_KIND] != _CONTROL:
                mark = int.from_bytes(frame[0][_MARK], "big")
                self._lines.came.append(Carried(now, src, dst, sum(map(len, frame)), mark))

    def handled(self, function: str, began: int, computed: int, waited: int) -> None:
        self._handled.append(Handled(began, function, time.monotonic_ns() - began, computed, waited))

    def taken(self, job: str, first: int, count: int) -> None:
        self._lines.taken.append(Taken(time.monotonic_ns(), job, first, count))

    def given(self, job: str, sequences: list[int]) -> None:
        self._lines.given.append(Given(time.monotonic_ns(), job, list(sequences)))

    # -- on the event loop --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Write from now on, as long as the running loop does."""
        self._timer = asyncio.get_running_loop().call_later(WRITE_S, self._turn)

    def close(self) -> None:
        """Write what is left. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._fd >= 0:
            self._note_use()
            self._flush()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _turn(self) -> None:
        self._writes += 1
        if self._writes % USED_EVERY == 0:
            self._note_use()
        self._flush()
        if self._fd >= 0:
            self.start()

    def _note_use(self) -> None:
        self._lines.used.append(Used(time.monotonic_ns(), time.process_time_ns(), self.frames, self.messages))

    def _flush(self) -> None:
        lines, self._lines = self._lines, Lines(self._process)
        count = len(self._handled)  # other threads append meanwhile: what is taken is what was counted
        lines.handled = self._handled[:count]
        del self._handled[:count]
        if lines != Lines(self._process):
            self._write(lines)

    def _write(self, lines: Lines) -> None:
        data = line_of(lines)
        try:
            written = os.write(self._fd, data)
        except OSError as error:
            written, why = 0, str(error.strerror)
        else:
            why = "the disk is full"
        if written != len(data) and self._fd >= 0:
            # A server goes on serving; a recording with a torn line would be refused as a whole.
            log.warning("the recording in %s ends: %s", self._path, why)
            os.close(self._fd)
            self._fd = -1


class RecordedTransport:
    """`palm.ports.transport.Transport` whose frames are noted as they are given to it, and as they come."""

    def __init__(self, inner: Transport, tape: Tape) -> None:
        self._inner = inner
        self._tape = tape

    @property
    def peer(self) -> Peer:
        return self._inner.peer

    @peer.setter
    def peer(self, peer: Peer) -> None:
        self._inner.peer = peer

    @property
    def counters(self) -> TransportCounters:
        return self._inner.counters

    @counters.setter
    def counters(self, counters: TransportCounters) -> None:
        self._inner.counters = counters

    def start(self, sink: Sink) -> None:
        tape, peer = self._tape, self._inner.peer

        def noted(arrivals: list[Arrival]) -> None:
            for arrival in arrivals:
                if isinstance(arrival, Arrived):
                    tape.came(arrival.peer, peer, arrival.frames)
            sink(arrivals)

        self._inner.start(noted)

    def bind(self) -> Address:
        return self._inner.bind()

    def connect(self, peer: Peer, address: Address) -> None:
        self._inner.connect(peer, address)

    def disconnect(self, peer: Peer) -> None:
        self._inner.disconnect(peer)

    def send(self, peer: Peer, frame: Frame) -> None:
        self._tape.sent(self._inner.peer, peer, frame)
        self._inner.send(peer, frame)

    def link_state(self, peer: Peer) -> LinkState:
        return self._inner.link_state(peer)

    async def aclose(self, linger_s: float = 0.0) -> None:
        await self._inner.aclose(linger_s)


class RecordedExecutor:
    """`palm.ports.host.Executor` whose items are timed where they run."""

    def __init__(self, inner: Executor, tape: Tape) -> None:
        self._inner = inner
        self._tape = tape

    def execute(
        self, label: str, run: Callable[[Any], Any], items: Sequence[Any], done: Callable[[list[Any]], None]
    ) -> None:
        self._inner.execute(label, self._timed(label, run), items, done)

    def execute_async(
        self,
        run: Callable[[Any], Awaitable[Any]],
        items: Sequence[Any],
        done: Callable[[int, Any], None],
        within: int | None = None,
    ) -> Callable[[], None]:
        async def timed(item: Any) -> Any:
            began = time.monotonic_ns()
            outcome = await run(item)
            self._note("", began, -1, -1, outcome)
            return outcome

        return self._inner.execute_async(timed, items, done, within)

    def execute_beside(
        self, run: Callable[[Any], Any], items: Sequence[Any], done: Callable[[int, Any], None]
    ) -> None:
        self._inner.execute_beside(self._timed("", run), items, done)

    def waits(self, label: str) -> None:
        self._inner.waits(label)

    def state(self) -> Mapping[str, int]:
        return self._inner.state()

    async def aclose(self, timeout_s: float) -> bool:
        return await self._inner.aclose(timeout_s)

    def _timed(self, label: str, run: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def timed(item: Any) -> Any:
            waited, computed, began = _waited(), time.thread_time_ns(), time.monotonic_ns()
            outcome = run(item)
            waited = _waited() - waited if waited >= 0 else -1
            self._note(label, began, time.thread_time_ns() - computed, waited, outcome)
            return outcome

        return run if label.startswith("_") else timed  # hooks are no handlings

    def _note(self, label: str, began: int, computed: int, waited: int, outcome: Any) -> None:
        # A status is a number too: 2 is equal to one of these.
        if not (isinstance(outcome, Status) and outcome in _NOT_RUN):
            self._tape.handled(label, began, computed, waited)


class RecordedSteps:
    """`palm.runtime.drive.Instrument`: counts messages, and notes which a client takes from sources and gives to
    callers."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape
        self._taken: dict[int, int] = {}

    def begins(self, header: Header, sequence: int, attempt: int) -> None:
        """The executor is timed instead."""

    def marks(self, name: str, header: Header | None, sequence: int) -> None:
        """They are the scenario's."""

    def step(self, now: int, event: Event, effects: list[Effect]) -> None:
        tape = self._tape
        if isinstance(event, Received):
            tape.messages += len(event.batch)
        elif isinstance(event, Offered):
            first, count = self._taken.get(event.number, 0), len(event.payloads)
            self._taken[event.number] = first + count
            tape.taken(str(event.number), first, count)
        for effect in effects:
            if isinstance(effect, Send):
                tape.messages += len(effect.batch)
            elif isinstance(effect, Deliver) and not effect.emitted:
                tape.given(str(effect.number), effect.sequences)


class Both:
    """Two instruments in the place of one."""

    def __init__(self, one: Instrument, other: Instrument) -> None:
        self._each = one, other

    def begins(self, header: Header, sequence: int, attempt: int) -> None:
        for each in self._each:
            each.begins(header, sequence, attempt)

    def marks(self, name: str, header: Header | None, sequence: int) -> None:
        for each in self._each:
            each.marks(name, header, sequence)

    def step(self, now: int, event: Event, effects: list[Effect]) -> None:
        for each in self._each:
            each.step(now, event, effects)


def _machine() -> str:
    """One word for this machine since its start: processes with the same one share a clock."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]
    except OSError:
        return socket.gethostname()


_of_thread = threading.local()


def _waited() -> int:
    """For how long (ns) this thread could have run and had no processor; -1 where the system does not say."""
    fd = getattr(_of_thread, "fd", None)
    if fd is None:
        try:
            fd = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            fd = -1
        _of_thread.fd = fd
    return -1 if fd < 0 else int(os.pread(fd, 64, 0).split()[1])
