"""Runs functions that have options: again after an error, for a limited time, several beside each other, or in batches.

A lane belongs to one function. What is ready waits in its queue and leaves in units: one message, or as many as the
function takes at once. Nothing here waits: a pause before the next try, and the end of a function's time, are timers of
the host. Functions without options never come here; they are run by `palm.runtime.invoke` alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Any

from palm.core.effect import Invoke
from palm.core.message import Failure, Status
from palm.observe.log import RING
from palm.ports.host import Executor, Host, Timer
from palm.runtime.coding import TAKE
from palm.runtime.envelope import CURRENT, Work
from palm.runtime.options import Options
from palm.runtime.results import Outlets, Refused

if TYPE_CHECKING:
    from palm.runtime.invoke import Invoker

MAX_BACKOFF = 60_000_000_000
NEVER = 1 << 62


class Order:
    """One `Invoke`, some of whose messages have not ended."""

    __slots__ = ("effect", "left", "abandoned", "outlets", "began")

    def __init__(self, effect: Invoke, outlets: Outlets, began: int) -> None:
        self.effect = effect
        self.left = len(effect.batch)
        self.abandoned = False
        self.outlets = outlets
        self.began = began


class Item:
    """One message, through all its tries."""

    __slots__ = ("order", "index", "tries")

    def __init__(self, order: Order, index: int) -> None:
        self.order = order
        self.index = index
        self.tries = 0

    @property
    def attempt(self) -> int:
        attempts = self.order.effect.batch.attempts
        return 1 if attempts is None else attempts[self.index]

    @property
    def payload(self) -> Any:
        return self.order.effect.batch.payloads[self.index]


class Unit:
    """What one call of the function is for. `over`: its end has been told, whatever comes of it."""

    __slots__ = ("items", "timer", "over")

    def __init__(self, items: list[Item]) -> None:
        self.items = items
        self.timer: Timer | None = None
        self.over = False


class Raised:
    """An outcome: user code raised what it may be run again for."""

    __slots__ = ("failure",)

    def __init__(self, failure: Failure) -> None:
        self.failure = failure


class Lane:
    def __init__(
        self, invoker: Invoker, host: Host, executor: Executor, name: str, options: Options, *, awaits: bool
    ) -> None:
        self._invoker = invoker
        self._host = host
        self._executor = executor
        self._name = name
        self._function: Callable[[Any], Any] = invoker.function(name)
        self._options = options
        self._awaits = awaits
        self._threads = not awaits and (options.concurrency or 1) > 1
        self._batched = options.batch is not None
        self._size = options.batch or 1
        self._take: Callable[[Any], Any] = getattr(self._function, TAKE, _same)
        # Plain functions without a batch need no bound of their own: the executor runs one at a time.
        self._most = options.concurrency or (1 if self._batched else NEVER)
        if not awaits and not self._threads and not self._batched:
            self._most = NEVER
        self._queue: deque[Item] = deque()
        self._running = 0
        self._draws = 0
        self._pumping = False
        self.late = 0
        """Results that came after their function's time was over, and were dropped."""
        self.retried = 0

    def take(self, order: Order) -> None:
        self._queue.extend(Item(order, index) for index in range(order.left))
        self._pump()

    # -- on the host's thread -----------------------------------------------------------------------------------------

    def _pump(self) -> None:
        if self._pumping:
            return  # what ends at once makes room at once
        self._pumping = True
        try:
            while self._queue and self._running < self._most:
                units: list[Unit] = []
                while self._queue and self._running < self._most:
                    unit = self._next_unit()
                    if unit is not None:
                        self._running += 1
                        units.append(unit)
                if units:
                    self._start(units)
        finally:
            self._pumping = False

    def _next_unit(self) -> Unit | None:
        items: list[Item] = []
        ended: list[tuple[Item, Any]] = []
        while self._queue and len(items) < self._size:
            item = self._queue.popleft()
            skip = self._skips(item)
            if skip is None:
                item.tries += 1
                items.append(item)
            else:
                ended.append((item, skip))
        self._invoker.ended(ended)
        return Unit(items) if items else None

    def _start(self, units: list[Unit]) -> None:
        if self._awaits:
            for unit in units:
                within = self._invoker.within(unit.items[0].order.effect) if not self._batched else None
                cancel = self._executor.execute_async(self._run_async, [unit], self._done_with(unit), within)
                self._time(unit, cancel)
        elif self._threads:
            self._executor.execute_beside(self._run, units, lambda i, outcomes: self._done(units[i], outcomes))
        else:
            place = 0

            def done(outcomes: list[Any]) -> None:
                nonlocal place
                for outcome in outcomes:
                    unit = units[place]
                    place += 1
                    self._done(unit, outcome)

            self._executor.execute(self._name, self._run, units, done)

    def _done_with(self, unit: Unit) -> Callable[[int, Any], None]:
        return lambda index, outcomes: self._done(unit, outcomes)

    def _time(self, unit: Unit, cancel: Any) -> None:
        timeout = self._options.timeout_ns
        if timeout is not None and not unit.over:
            unit.timer = self._host.call_at(self._host.now() + timeout, lambda: self._overdue(unit, cancel))

    def _overdue(self, unit: Unit, cancel: Any) -> None:
        timeout_ns = self._options.timeout_ns
        if unit.over or timeout_ns is None:
            return
        unit.over = True
        failures = [(item, self._invoker.overdue(self._name, timeout_ns, item.attempt)) for item in unit.items]
        self._invoker.ended(failures)
        if cancel is not None:
            cancel()

    def _done(self, unit: Unit, outcomes: Sequence[Any]) -> None:
        self._running -= 1
        if unit.timer is not None:
            unit.timer.cancel()
        if unit.over:
            self.late += not self._awaits
        else:
            unit.over = True
            ended = []
            for item, outcome in zip(unit.items, outcomes, strict=True):
                if isinstance(outcome, Raised):
                    last = self._again(item, outcome.failure)
                    if last is None:
                        continue
                    outcome = last
                ended.append((item, outcome))
            self._invoker.ended(ended)
        self._pump()

    def _again(self, item: Item, failure: Failure) -> Failure | None:
        """Run it once more, later; the message's end where that cannot be."""
        options, now = self._options, self._host.now()
        if item.tries > options.retries:
            return _told(failure, f"{item.tries} tries")
        self._draws += 1
        pause = min(MAX_BACKOFF, options.backoff_ns << (item.tries - 1))
        # Messages that failed together need not come back together.
        due = now + round(pause * self._host.draw(f"retry/{self._name}", self._draws).uniform(0.75, 1.0))
        expires = item.order.effect.expires
        if expires is not None and due >= expires:
            return _told(failure, f"{item.tries} of {options.retries + 1} tries; its deadline leaves no time for more")
        self.retried += 1
        self._host.call_at(due, lambda: self._requeue(item))
        return None

    def _requeue(self, item: Item) -> None:
        self._queue.append(item)
        self._pump()

    def _skips(self, item: Item) -> Status | None:
        if item.order.abandoned:
            return Status.CANCELLED
        return Status.EXPIRED if self._invoker.has_passed(item.order.effect.expires) else None

    # -- where user code runs -----------------------------------------------------------------------------------------

    def _run(self, unit: Unit) -> list[Any]:
        if self._options.timeout_ns is not None:
            self._host.submit(lambda: self._time(unit, None))
        items, payloads, outcomes = self._begin(unit)
        if not items:
            return outcomes
        try:
            answer = self._function(payloads if self._batched else payloads[0])
            return self._settled(unit, items, outcomes, self._collected(items, answer))
        except KeyboardInterrupt:  # the process's, not the message's
            raise
        except BaseException as error:  # whatever user code raises is the message's outcome: CancelledError, SystemExit
            return self._settled(unit, items, outcomes, [self._raised(item, error) for item in items])

    async def _run_async(self, unit: Unit) -> list[Any]:
        items, payloads, outcomes = self._begin(unit)
        if not items:
            return outcomes
        try:
            answer: Any = self._function(payloads if self._batched else payloads[0])
            if isinstance(answer, AsyncIterator):
                outlets = items[0].order.outlets
                collected = [
                    self._invoker.judged(items[0].order.effect, await outlets.collect_async(answer), outlets)
                ]
            else:
                collected = self._collected(items, await answer)
            return self._settled(unit, items, outcomes, collected)
        except KeyboardInterrupt:  # the process's, not the message's
            raise
        except BaseException as error:  # whatever user code raises is the message's outcome: CancelledError, SystemExit
            return self._settled(unit, items, outcomes, [self._raised(item, error) for item in items])

    def _begin(self, unit: Unit) -> tuple[list[Item], list[Any], list[Any]]:
        """Those that are to be run now, and their payloads; and how all others ended: None for each that is to be
        run."""
        invoker = self._invoker
        items: list[Item] = []
        payloads: list[Any] = []
        outcomes: list[Any] = []
        for item in unit.items:
            outcome: Any = self._skips(item)
            if outcome is None:
                try:
                    payloads.append(self._take(item.payload))
                    items.append(item)
                except Refused as refused:
                    outcome = invoker.raised(self._name, refused, item.attempt)
            outcomes.append(outcome)
        works: list[Work] = []
        for item in items:
            effect = item.order.effect
            if invoker.begins is not None:
                invoker.begins(effect.batch.header, effect.batch.sequences[item.index], item.attempt)
            works.append(Work(effect.batch, effect.expires, invoker.now, item.index, self._awaits, item.tries))
        for work in works:
            work.together = works
        if works:
            CURRENT.set(works[0])
            RING.set(invoker.ring)
        return items, payloads, outcomes

    def _collected(self, items: list[Item], answer: Any) -> list[Any]:
        if not self._batched:
            return [self._judged(items[0], answer)]
        if not isinstance(answer, list | tuple) or len(answer) != len(items):
            what = f"{len(answer)} results" if isinstance(answer, list | tuple) else type(answer).__name__
            raise Refused(
                "BAD_RESULT",
                "TypeError" if isinstance(what, str) and not what.endswith("results") else "ValueError",
                f"returned {what} for a batch of {len(items)}, a list of {len(items)} is needed: one for each message",
            )
        return [self._one_of_batch(item, each) for item, each in zip(items, answer, strict=True)]

    def _one_of_batch(self, item: Item, each: Any) -> Any:
        if isinstance(each, BaseException):
            return self._raised(item, each)
        try:
            return self._judged(item, iter(each) if isinstance(each, list) else each)
        except Refused as refused:
            return self._raised(item, refused)

    def _judged(self, item: Item, result: Any) -> Any:
        order = item.order
        return self._invoker.judged(order.effect, order.outlets.collect(result), order.outlets)

    def _settled(self, unit: Unit, items: list[Item], outcomes: list[Any], ran: list[Any]) -> list[Any]:
        if len(items) == len(unit.items):
            return ran
        ended = iter(ran)
        return [next(ended) if outcome is None else outcome for outcome in outcomes]

    def _raised(self, item: Item, error: BaseException) -> Any:
        if self._awaits and self._invoker.has_gone_on(item.order.effect):
            return Status.EXPIRED
        failure = self._invoker.raised(self._name, error, item.attempt)
        options = self._options
        may = options.retries and isinstance(error, options.retry_on) and not isinstance(error, Refused)
        return Raised(failure) if may else failure


def _same(payload: Any) -> Any:
    return payload


def _told(failure: Failure, tries: str) -> Failure:
    return failure._replace(text=f"{failure.text} ({tries})")
