"""Runs user code: from an `Invoke` effect to `Finished` events, whatever the user's function does.

An exception is an outcome here, and so is a result that is not bytes. The host's executor decides where the code runs;
this file does not know.
"""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from palm.core.effect import Invoke
from palm.core.event import Finished
from palm.core.message import Failure, Header, JobId, Payload, Peer, Split, Status, Task
from palm.core.route import branches_after
from palm.core.share import fork_of
from palm.core.spread import targets_of
from palm.observe.log import RING, LogRing
from palm.ports.host import Host
from palm.runtime.envelope import CURRENT, Work
from palm.runtime.fold import FoldCall, Reducing
from palm.runtime.functions import Function, called, may_wait
from palm.runtime.lanes import Item, Lane, Order
from palm.runtime.options import options_of
from palm.runtime.results import MAX_RESULTS_BYTES, Outlets, Refused
from palm.runtime.tally import Tally

MAX_PAYLOAD_BYTES = 32 * 1024 * 1024
"""Half of what a transport takes as one frame, so that a payload and its envelope always fit."""

AFTER = 1_000_000
"""So long (ns) after its time is up, a coroutine that runs for a part is cancelled."""

_PLAIN = {bytes}
_STATUS_OF = {bytes: Status.OK, Failure: Status.FAILED, Split: Status.MANY}
_OWN_FRAMES = (
    __name__,
    "palm.runtime.results",
    "palm.runtime.lanes",
    "palm.runtime.coding",
    "palm.runtime.fold",
    "palm.core.folding",
)


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
        in_order: bool = False,
        results_bytes: int = MAX_RESULTS_BYTES,
        reducing: Reducing | None = None,
        hooks: Mapping[str, Function] | None = None,
        built_in: Mapping[str, Callable[[bytes], bytes]] | None = None,
        ring: LogRing | None = None,
    ) -> None:
        self.ring = ring
        self._built_in = built_in or {}
        self.begins = begins
        self.consume = consume
        self._results_bytes = results_bytes
        self._reducing = reducing
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
        self._open: dict[JobId, dict[_Call | Order | FoldCall, None]] = {}
        self._lanes: dict[str, Lane] = {}
        self.tallies = {name: Tally() for name in self._functions}
        for name, function in self._functions.items():
            if name not in self._async and may_wait(function):
                self._executor.waits(name)
            options = options_of(function)
            if in_order and name in self._async:
                # Coroutines run beside each other, and end in any order.
                options = replace(options, concurrency=1)
            if not options.are_plain:
                awaits = name in self._async
                self._lanes[name] = Lane(self, host, self._executor, name, options, awaits=awaits)

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
        if name in self._built_in:
            self._answer(name, effect)
            return
        self.tallies[name].in_flight += len(batch)
        if self._reducing is not None:
            fold = FoldCall(self, name, effect, self._reducing)
            self._open.setdefault(job, {})[fold] = None
            self._executor.execute(name, fold.run, fold.order, fold.done)
            return
        lane = self._lanes.get(name)
        if lane is not None:
            order = Order(effect, self.outlets(effect), self._host.now())
            self._open.setdefault(job, {})[order] = None
            lane.take(order)
            return
        call = _Call(self, name, effect)
        self._open.setdefault(job, {})[call] = None
        if name in self._async:
            self._executor.execute_async(call.run_async, range(len(batch)), call.done_one, self.within(effect))
        else:
            self._executor.execute(name, call.run, range(len(batch)), call.done)

    def _answer(self, name: str, effect: Invoke) -> None:
        """At once: what is built in takes no time, and waits for nobody."""
        outcomes: list[Any] = []
        for index, payload in enumerate(effect.batch.payloads):
            try:
                assert isinstance(payload, bytes), "failures never get here"
                outcomes.append(self._built_in[name](payload))
            except Refused as refused:
                outcomes.append(self.raised(name, refused, (effect.batch.attempts or [1] * (index + 1))[index]))
        self._post_outcomes(effect, effect.batch.sequences, outcomes)

    def _close(self, job: JobId, call: _Call | Order | FoldCall) -> None:
        calls = self._open[job]
        del calls[call]
        if not calls:
            del self._open[job]

    def call(self, hook: Callable[..., Any], arguments: tuple[Any, ...], done: Callable[[str], None]) -> None:
        """Run a hook of the user's where the functions run, after what was given before. `done` is told what it raised,
        with its traceback; nothing where all went well."""

        def run(one: object) -> str:
            RING.set(self.ring)
            try:
                hook(*arguments)
            except (Exception, SystemExit):  # a hook that raises stops nothing
                return _last_traceback()
            return ""

        async def run_async(one: object) -> str:
            RING.set(self.ring)
            try:
                await hook(*arguments)
            except (Exception, SystemExit):  # as above
                return _last_traceback()
            return ""

        if inspect.iscoroutinefunction(hook):
            self._executor.execute_async(run_async, [None], lambda index, raised: done(raised or ""))
        else:
            self._executor.execute("_hook", run, [None], lambda outcomes: done(outcomes[0]))

    def state(self) -> Mapping[str, int]:
        return self._executor.state()

    def stats(self) -> dict[str, dict[str, object]]:
        """By function."""
        stats = {name: tally.as_dict() for name, tally in self.tallies.items()}
        for name, lane in self._lanes.items():
            stats[name] |= {"retried": lane.retried, "late": lane.late}
        return stats

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
            function = self._functions.get(name)
            code = None if function is None else getattr(inspect.unwrap(function), "__code__", None)
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

    def within(self, effect: Invoke) -> int | None:
        """For how long a coroutine may run; None where nobody else goes on without it."""
        if effect.batch.header.task != Task.PART or effect.expires is None:
            return None
        return max(0, effect.expires - self._host.now()) + AFTER

    def has_gone_on(self, effect: Invoke) -> bool:
        """Nobody waits for this part any more, nor for what it raised."""
        return effect.batch.header.task == Task.PART and self.has_passed(effect.expires)

    def judged(
        self, effect: Invoke, outcome: bytes | Status | Split, outlets: Outlets
    ) -> bytes | Status | Split:
        """What the outcome is for this server's kind."""
        task = effect.batch.header.task
        if task == Task.SCATTER and isinstance(outcome, bytes):
            return outlets.split(outcome)
        if task == Task.PART and isinstance(outcome, Split):
            text = f"gave {len(outcome.results)} results for one part, gather takes one of each: join them"
            raise Refused("BAD_RESULT", "TypeError", text)
        return Status.EMPTY if self.consume else outcome

    def overdue(self, name: str, timeout_ns: int, attempt: int) -> Failure:
        text = (
            f"function {name!r} of server {self._server!r} ran longer than its timeout of {timeout_ns / 1e9:g} s "
            "(make it faster, or raise @palm.function(timeout=...))"
        )
        return self._failure("HANDLER_RAISED", "TimeoutError", text, name, attempt)

    def ended(self, ends: list[tuple[Item, Any]]) -> None:
        """Messages of lanes, each with its outcome."""
        orders: dict[Order, list[tuple[int, Any]]] = {}
        for item, outcome in ends:
            orders.setdefault(item.order, []).append((item.index, outcome))
        for order, outcomes in orders.items():
            sequences = order.effect.batch.sequences
            self._post_ends(order, [sequences[index] for index, _ in outcomes], [end for _, end in outcomes])

    def finish(self, call: _Call, outcomes: list[Any], first: int) -> None:
        self._post_ends(call, call.effect.batch.sequences[first : first + len(outcomes)], outcomes)

    def _post_ends(self, call: _Call | Order, sequences: Sequence[int], outcomes: list[Any]) -> None:
        call.left -= len(outcomes)
        if call.left == 0:
            self._close(call.effect.batch.header.job, call)
        failed = self._post_outcomes(call.effect, sequences, outcomes)
        tally = self.tallies[called(call.effect.batch.header)]
        tally.ended(len(outcomes), failed, self._host.now() - call.began)

    def _post_outcomes(self, effect: Invoke, sequences: Sequence[int], outcomes: list[Any]) -> int:
        """How many of them are failures."""
        payloads: list[Payload] = outcomes
        statuses: list[int] | None = None
        if set(map(type, outcomes)) != _PLAIN:
            payloads, statuses = [], []
            for outcome in outcomes:
                status = _STATUS_OF.get(type(outcome))
                payloads.append(b"" if status is None else outcome)
                statuses.append(outcome if status is None else status)
        self._post(Finished(effect.ticket, sequences, payloads, statuses))
        return 0 if statuses is None else statuses.count(Status.FAILED)

    def finish_all(self, call: FoldCall, sequences: list[int], payloads: list[Payload], statuses: list[int]) -> None:
        header = call.effect.batch.header
        self._close(header.job, call)
        self._post(Finished(call.effect.ticket, sequences, payloads, statuses))
        took = self._host.now() - call.began
        self.tallies[called(header)].ended(len(sequences), statuses.count(Status.FAILED), took)


class _Call:
    """One Invoke under way. Items are indices into its batch."""

    __slots__ = (
        "invoker",
        "name",
        "effect",
        "function",
        "began",
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
        self.began = invoker.now()
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
            RING.set(invoker.ring)
        try:
            result = self.function(self._payloads[index])  # type: ignore[arg-type]  # failures never get here
            # What is plain needs no more calls.
            if type(result) is bytes and self._plain and len(result) <= invoker.max_payload_bytes:
                return result
            outlets = invoker.outlets(self.effect)
            return invoker.judged(self.effect, outlets.collect(result), outlets)
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
        RING.set(invoker.ring)
        try:
            answer: Any = self.function(self._payloads[index])  # type: ignore[arg-type]  # as above
            outlets = invoker.outlets(self.effect)
            if isinstance(answer, AsyncIterator):
                return invoker.judged(self.effect, await outlets.collect_async(answer), outlets)
            return invoker.judged(self.effect, outlets.collect(await answer), outlets)
        except KeyboardInterrupt:  # the process's, not the message's
            raise
        except BaseException as error:  # whatever user code raises is the message's outcome: CancelledError, SystemExit
            if invoker.has_gone_on(self.effect):
                return Status.EXPIRED  # cancelled, most likely; and nobody waits for what it raised
            return invoker.raised(self.name, error, self.attempt(index))

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


def _last_traceback() -> str:
    """Of the error that is being handled, without PALM's own frame."""
    error = sys.exception()
    assert error is not None and error.__traceback__ is not None, "only while one is handled"
    return "".join(traceback.format_exception(type(error), error, error.__traceback__.tb_next)).rstrip()
