"""Runs user code: from an `Invoke` effect to `Finished` events, whatever the user's function does.

An exception is an outcome here, and so is a result that is not bytes. The host's executor decides where the code runs;
this file does not know.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from palm.core.effect import Invoke
from palm.core.event import Finished
from palm.core.message import Failure, Header, JobId, Payload, Peer, Split, Status, Task
from palm.core.route import branches_after
from palm.core.share import fork_of
from palm.core.spread import targets_of
from palm.ports.host import Host
from palm.runtime.envelope import CURRENT, Work
from palm.runtime.functions import Function, called, may_wait
from palm.runtime.results import MAX_RESULTS_BYTES, Outlets, Refused

MAX_PAYLOAD_BYTES = 32 * 1024 * 1024
"""Half of what a transport takes as one frame, so that a payload and its envelope always fit."""

AFTER = 1_000_000
"""So long (ns) after its time is up, a coroutine that runs for a part is cancelled."""

_PLAIN = {bytes}
_STATUS_OF = {bytes: Status.OK, Failure: Status.FAILED, Split: Status.MANY}
_OWN_FRAMES = (__name__, "palm.runtime.results")


class Invoker:
    def __init__(
        self,
        host: Host,
        *,
        server: str,
        peer: Peer,
        functions: Mapping[str, Function],
        post: Callable[[Finished], None],
        max_payload_bytes: int = MAX_PAYLOAD_BYTES,
        begins: Callable[[Header, int, int], None] | None = None,
        consume: bool = False,
        results_bytes: int = MAX_RESULTS_BYTES,
        hooks: Mapping[str, Function] | None = None,
    ) -> None:
        self.begins = begins
        self.consume = consume
        self._results_bytes = results_bytes
        self._host = host
        self._server = server
        self._peer = peer
        self._functions = {**functions, **(hooks or {})}
        self._async = {
            name
            for name, function in self._functions.items()
            if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
        }
        self._post = post
        self.max_payload_bytes = max_payload_bytes
        self._executor = host.executor(server)
        self._open: dict[JobId, dict[_Call, None]] = {}
        for name, function in self._functions.items():
            if name not in self._async and may_wait(function):
                self._executor.waits(name)

    def abandon(self, job: JobId) -> None:
        """What has not begun of that job need not run. What is invoked for it from now on is: its client is back."""
        for call in self._open.get(job, ()):
            call.abandoned = True

    def waits(self, name: str) -> None:
        """That function waits for others now and then. From any thread."""
        self._executor.waits(name)

    async def aclose(self, timeout_s: float) -> bool:
        return await self._executor.aclose(timeout_s)

    def invoke(self, effect: Invoke) -> None:
        batch = effect.batch
        job = batch.header.job
        name = called(batch.header)
        call = _Call(self, name, effect)
        self._open.setdefault(job, {})[call] = None
        if name in self._async:
            self._executor.execute_async(call.run_async, range(len(batch)), call.done_one, call.within)
        else:
            self._executor.execute(name, call.run, range(len(batch)), call.done)

    def _close(self, job: JobId, call: _Call) -> None:
        calls = self._open[job]
        del calls[call]
        if not calls:
            del self._open[job]

    def call(self, hook: Callable[[Any], object], argument: object, log: Callable[[str], None]) -> None:
        """Run a hook of the user's where the functions run, after what was given before; what it raises is logged."""

        def run(one: object) -> str:
            try:
                hook(one)
            except (Exception, SystemExit):  # a hook that raises stops nothing
                return traceback.format_exc()
            return ""

        def done(outcomes: list[str]) -> None:
            for raised in filter(None, outcomes):
                log(f"{getattr(hook, '__name__', 'a hook')} raised: {raised}")

        self._executor.execute("_hook", run, [argument], done)

    # -- used by calls ------------------------------------------------------------------------------------------------

    def has_passed(self, expires: int | None) -> bool:
        return expires is not None and self._host.now() >= expires

    def function(self, name: str) -> Function:
        return self._functions[name]

    def now(self) -> int:
        return self._host.now()

    def outlets(self, effect: Invoke) -> Outlets:
        """Where what the function makes of these messages may go."""
        header, fork = effect.batch.header, fork_of(self._peer, effect.ticket)
        if header.task in (Task.SCATTER, Task.PART):
            # Back to the leader, whatever is behind this stage.
            return Outlets([header.stage], (), self.max_payload_bytes, fork, self._results_bytes)
        return Outlets(
            targets_of(header),
            branches_after(header.route, header.stage),
            self.max_payload_bytes,
            fork,
            self._results_bytes,
        )

    def raised(self, name: str, error: BaseException, attempt: int) -> Failure:
        if isinstance(error, Refused):
            code = getattr(inspect.unwrap(self._functions[name]), "__code__", None)
            where = f" ({code.co_filename}, line {code.co_firstlineno})" if code is not None else ""
            text = f"function {name!r} of server {self._server!r} {error}{where}"
            return self._failure(error.reason, error.kind, text, name, attempt)
        frames = error.__traceback__
        while frames is not None and frames.tb_frame.f_globals.get("__name__") in _OWN_FRAMES:
            frames = frames.tb_next
        text = "".join(traceback.format_exception(type(error), error, frames))
        return self._failure("HANDLER_RAISED", type(error).__name__, _text_of(error), name, attempt, text)

    def _failure(self, reason: str, kind: str, text: str, name: str, attempt: int, trace: str = "") -> Failure:
        return Failure(reason, kind, text, trace, self._server, name, self._peer, attempt)

    def finish(self, call: _Call, outcomes: list[Any], first: int) -> None:
        batch = call.effect.batch
        sequences = batch.sequences[first : first + len(outcomes)]
        payloads: list[Payload] = outcomes
        statuses: list[int] | None = None
        if set(map(type, outcomes)) != _PLAIN:
            payloads, statuses = [], []
            for outcome in outcomes:
                status = _STATUS_OF.get(type(outcome))
                payloads.append(b"" if status is None else outcome)
                statuses.append(outcome if status is None else status)
        call.left -= len(outcomes)
        if call.left == 0:
            self._close(batch.header.job, call)
        self._post(Finished(call.effect.ticket, sequences, payloads, statuses))


class _Call:
    """One Invoke under way. Items are indices into its batch."""

    __slots__ = (
        "invoker",
        "name",
        "effect",
        "function",
        "first",
        "left",
        "abandoned",
        "_payloads",
        "_work",
        "_plain",
        "_task",
    )

    def __init__(self, invoker: Invoker, name: str, effect: Invoke) -> None:
        self.invoker = invoker
        self.name = name
        self.effect = effect
        self.function = invoker.function(name)
        self.first = 0
        self.left = len(effect.batch)
        self.abandoned = False
        self._payloads = effect.batch.payloads
        self._work = Work(effect.batch, effect.expires, invoker.now)
        self._plain = self._is_plain(effect.batch.header)

    def _is_plain(self, header: Header) -> bool:
        """One result of bytes is the outcome as it is."""
        if header.task in (Task.SCATTER, Task.PART):
            return header.task == Task.PART
        return not self.invoker.consume and not branches_after(header.route, header.stage)

    @property
    def within(self) -> int | None:
        """For how long it may run; None where nobody else goes on without it."""
        expires = self.effect.expires
        if self.effect.batch.header.task != Task.PART or expires is None:
            return None
        return max(0, expires - self.invoker.now()) + AFTER

    def attempt(self, index: int) -> int:
        attempts = self.effect.batch.attempts
        return 1 if attempts is None else attempts[index]

    def skips(self) -> Status | None:
        """How an item ends that need not begin now; None where it is to run."""
        if self.abandoned:
            return Status.CANCELLED
        return Status.EXPIRED if self.invoker.has_passed(self.effect.expires) else None

    def note(self, index: int) -> None:
        assert self.invoker.begins is not None
        batch = self.effect.batch
        self.invoker.begins(batch.header, batch.sequences[index], self.attempt(index))

    def run(self, index: int) -> object:
        invoker = self.invoker
        if (self.abandoned or self.effect.expires is not None) and (skip := self.skips()) is not None:
            return skip
        if invoker.begins is not None:
            self.note(index)
        work = self._work
        work.index = index
        if CURRENT.get() is not work:
            CURRENT.set(work)
        try:
            result = self.function(self._payloads[index])  # type: ignore[arg-type]  # failures never get here
            # What is plain needs no more calls.
            if type(result) is bytes and self._plain and len(result) <= invoker.max_payload_bytes:
                return result
            outlets = invoker.outlets(self.effect)
            return self._judged(outlets.collect(result), outlets)
        except KeyboardInterrupt:  # the process's, not the message's
            raise
        except BaseException as error:  # whatever user code raises is the message's outcome: CancelledError, SystemExit
            return invoker.raised(self.name, error, self.attempt(index))

    async def run_async(self, index: int) -> object:
        invoker = self.invoker
        skip = self.skips()
        if skip is not None:
            return skip
        if invoker.begins is not None:
            self.note(index)
        CURRENT.set(Work(self.effect.batch, self.effect.expires, invoker.now, index, awaits=True))
        try:
            answer: Any = self.function(self._payloads[index])  # type: ignore[arg-type]  # as above
            outlets = invoker.outlets(self.effect)
            if isinstance(answer, AsyncIterator):
                return self._judged(await outlets.collect_async(answer), outlets)
            return self._judged(outlets.collect(await answer), outlets)
        except KeyboardInterrupt:  # the process's, not the message's
            raise
        except BaseException as error:  # whatever user code raises is the message's outcome: CancelledError, SystemExit
            if self.effect.batch.header.task == Task.PART and invoker.has_passed(self.effect.expires):
                return Status.EXPIRED  # cancelled, most likely; and nobody waits for what it raised
            return invoker.raised(self.name, error, self.attempt(index))

    def _judged(self, outcome: bytes | Status | Split, outlets: Outlets) -> bytes | Status | Split:
        task = self.effect.batch.header.task
        if task == Task.SCATTER and isinstance(outcome, bytes):
            return outlets.split(outcome)
        if task == Task.PART and isinstance(outcome, Split):
            text = f"gave {len(outcome.results)} results for one part, gather takes one of each: join them"
            raise Refused("BAD_RESULT", "TypeError", text)
        return Status.EMPTY if self.invoker.consume else outcome

    def done(self, outcomes: list[Any]) -> None:
        first = self.first
        self.first += len(outcomes)
        self.invoker.finish(self, outcomes, first)

    def done_one(self, index: int, outcome: Any) -> None:
        self.invoker.finish(self, [outcome], index)


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # an exception whose __str__ raises is still somebody's error message
        return f"<{type(error).__name__} whose text cannot be made>"
