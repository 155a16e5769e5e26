"""A job as its caller sees it: an iterator of results with a ledger.

`Job` is the buffer between the host's thread, which delivers, and the caller's, who takes; `palm.client` opens it.
"""

from __future__ import annotations

from collections import deque
from typing import Any, AsyncIterable, Callable, Iterable, Iterator, Literal, Sequence

from palm.core.message import Buried, Failure, Payload, Results, Status
from palm.core.route import Route, RouteText
from palm.errors import (
    ClientClosed,
    DeadLettered,
    DeadlineExpired,
    FateUnknown,
    HandlerFailed,
    JobCancelled,
    MessageFailed,
    NoSuchFunction,
    PalmError,
    PayloadTooLarge,
)
from palm.letters import DeadLetter, Letters
from palm.observe.ledger import Ledger
from palm.runtime.engine import ClientEngine
from palm.runtime.portal import Feed, World
from palm.wire.codec import decode_failure

Errors = Literal["raise", "yield", "skip"]

MOST_DEAD = 1_000
"""Dead letters that a job holds for its caller."""

Chunk = tuple[list[int], list[Payload], "list[int] | None"]
Outcome = tuple[int, "bytes | PalmError"]

FeedMaker = Callable[[Callable[[list[bytes]], None], Callable[["BaseException | None"], None]], Feed]
"""Makes a job's feed from its two ends: where payloads go, and who is told of the source's end. On the host's
thread."""


class Job:
    """One job: what is to be sent where, and what has become of it. Made by `Client.job`; `Client.submit` starts it.

    `errors` says what becomes of messages that end without a result: "raise" raises their error from `next` (and a
    later
    `next` goes on: the rest of the job does too), "yield" yields the error object in place of a result, "skip" leaves
    them to the ledger.
    """

    def __init__(
        self,
        source: Iterable[bytes] | AsyncIterable[bytes],
        route: Route,
        *,
        ordered: bool = False,
        errors: Errors = "raise",
        deadline_s: float | None = None,
        at_most_once: bool = False,
        window: int = 1024,
        window_bytes: int = 64 * 1024 * 1024,
        max_payload_bytes: int = 32 * 1024 * 1024,
        letters: Letters | None = None,
        route_text: RouteText | None = None,
        trace: bytes = b"",
        session: str = "",
    ) -> None:
        if errors not in ("raise", "yield", "skip"):
            raise ValueError(f"errors is {errors!r}; it takes 'raise', 'yield' or 'skip'")
        self.source = source
        self.route = route
        self.ordered = ordered
        self.errors: Errors = errors
        self.deadline_s = deadline_s
        self.at_most_once = at_most_once
        self.window = window
        self.window_bytes = window_bytes
        self.max_payload_bytes = max_payload_bytes
        self.trace = trace
        self.session = session
        self._route_text = route_text or [str(stage) for stage in route]
        self._letters = letters
        self._dead: deque[DeadLetter] = deque(maxlen=MOST_DEAD)
        self.number: int | None = None
        self.was_submitted = False
        self.is_ready = False
        self.has_ended = False
        self.error: BaseException | None = None
        """Why the job as a whole failed: refused, or its source raised. Raised after the last outcome."""

        self._world: World | None = None
        self._engine: ClientEngine | None = None
        self._feed: Feed | None = None
        self._make_feed: FeedMaker | None = None
        self._wake: Callable[[], None] = lambda: None
        self._chunks: deque[Chunk] = deque()
        # The chunk at hand: below `_at` it was taken, below `_counted` that is counted, at `_stop` to be looked after.
        self._sequences: list[int] = []
        self._values: Sequence[bytes | PalmError | Results] = ()
        self._at = self._counted = self._stop = 0
        self._piece = max(1, window >> 2)
        self._hungry = True
        # The results of one message, where it has not exactly one: it counts as taken with the last of them.
        self._many: Results | None = None
        self._early: dict[int, bytes | PalmError | Results] = {}
        self._next_sequence = 0
        # What ended before a reduction has no place in the order of results.
        self._aside: deque[tuple[int, bytes | PalmError | Results]] = deque()
        self._rest: deque[bytes] = deque()
        self._taken = self._taken_ok = self._taken_bytes = 0
        self._last_ledger = Ledger()
        self._emitted = 0

    # -- for whoever opens it -----------------------------------------------------------------------------------------

    def open(
        self, world: World, engine: ClientEngine, wake: Callable[[], None], make_feed: FeedMaker | None = None
    ) -> None:
        """Start, on the host's thread. `wake` is called when there is something new to look at: outcomes, only after
        a `pop` that found none. `make_feed` reads the source where the world's own feed cannot."""
        self._world, self._engine, self._wake, self._make_feed = world, engine, wake, make_feed
        self.number = engine.new_number()
        engine.open(
            self.number,
            self,
            self.route,
            window=self.window,
            window_bytes=self.window_bytes,
            deadline=None if self.deadline_s is None else int(self.deadline_s * 1e9),
            at_most_once=self.at_most_once,
            trace=self.trace,
            session=self.session,
        )

    def pop(self) -> Outcome | None:
        """The next outcome, in the order wanted; None while there is none. Does not wait."""
        if self.ordered:
            return self._pop_ordered()
        at = self._at
        if at == self._stop:
            if not self._turn():
                return None
            at = self._at
        self._at = at + 1
        return self._sequences[at], self._values[at]  # type: ignore[return-value]  # Results stand where it is ordered

    def settle(self) -> None:
        """Report what was taken; called when the caller is about to wait, or now and then."""
        self._count_piece()
        if not self._taken or self._world is None or self._engine is None or self.number is None:
            return
        engine, number = self._engine, self.number
        taken, delivered, size = self._taken, self._taken_ok, self._taken_bytes
        self._taken = self._taken_ok = self._taken_bytes = 0

        def report() -> None:
            engine.taken(number, taken, delivered, size)
            self._keep_ledger()

        try:
            self._world.submit(report)
        except ClientClosed:
            pass  # its window does not matter any more

    # -- JobSink: on the host's thread --------------------------------------------------------------------------------

    def ready(self) -> None:
        self.is_ready = True
        self._wake()

    def demand(self, count: int) -> None:
        if self._feed is None:
            assert self._world is not None
            if self._make_feed is not None:
                self._feed = self._make_feed(self._offer, self._source_ended)
            else:
                self._feed = self._world.feed(self._checked(), self._offer, self._source_ended)
        self._feed.demand(count)

    def deliver(
        self,
        sequences: list[int],
        payloads: list[Payload],
        statuses: list[int] | None,
        emitted: bool = False,
        in_order: bool = True,
        keys: dict[int, bytes] | None = None,
    ) -> None:
        dead = buried(sequences, payloads, statuses, self._route_text)
        if dead:
            self._dead.extend(dead)
            if self._letters is not None and self._engine is not None and self.number is not None:
                self._letters.keep(self._engine.node.peer, self.number, dead)
        if keys and statuses is not None:
            payloads = [
                _named(payload, keys.get(sequence)) for sequence, payload in zip(sequences, payloads, strict=True)
            ]
        if self.ordered and not in_order:
            self._aside.extend(zip(sequences, self._judged(sequences, payloads, statuses), strict=True))
        else:
            self._chunks.append((sequences, payloads, statuses))
        if self._hungry and self._engine is not None:
            self._hungry = False
            # Soon, not now: a caller that wakes while this thread has work only gets into its way.
            self._engine.host.call_soon(self._wake)

    def ended(self, error: PalmError | None) -> None:
        if self.error is None:
            self.error = error
        if self._feed is not None:
            self._feed.stop()
        self._keep_ledger()
        self.has_ended = True
        self._wake()

    def _offer(self, payloads: list[bytes]) -> None:
        if self._engine is not None and self.number is not None:
            self._engine.offer(self.number, payloads)

    def _source_ended(self, error: BaseException | None) -> None:
        if self._engine is not None and self.number is not None:
            if error is not None:
                self.error = error
            self._engine.source_ended(self.number)

    def _keep_ledger(self) -> None:
        if self._engine is not None and self.number is not None:
            self._last_ledger = self._engine.ledger(self.number) or self._last_ledger
            self._emitted = max(self._emitted, self._engine.emitted(self.number))

    # -- for callers --------------------------------------------------------------------------------------------------

    @property
    def ledger(self) -> Ledger:
        """The counts at this moment. What was taken and not reported yet, a quarter of a window at most, is in
        flight."""
        self._keep_ledger()
        return self._last_ledger

    @property
    def emitted(self) -> int:
        """How many results reductions have given so far, those of stages in the middle of the route among them."""
        self._keep_ledger()
        return self._emitted

    @property
    def dead_letters(self) -> list[DeadLetter]:
        """The last 1,000 of its messages that were dead-lettered, with payload, route and evidence. All of them are in
        the client's store, too, for `palm dlq`."""
        return list(self._dead)

    def cancel(self) -> None:
        """No further interest: what is in flight ends as failed (`JobCancelled`), and the stages are told."""
        if self._world is not None and self._engine is not None and self.number is not None and not self.has_ended:
            engine, number = self._engine, self.number
            self._world.submit(lambda: engine.cancel(number))

    def stop_source(self) -> None:
        if self._feed is not None:
            self._feed.stop()

    def describe(self) -> str:
        """What it waits for, in words."""
        if self._engine is None or self.number is None:
            return "the job was not submitted"
        return self._engine.describe(self.number)

    # -- taking -------------------------------------------------------------------------------------------------------

    def _turn(self) -> bool:
        """Go on to the next piece of the chunk at hand, or to the next chunk; False where there is none."""
        self._count_piece()
        if self._taken >= self._piece:
            self.settle()
        while self._at == len(self._values):
            self._sequences, self._values = [], ()
            self._at = self._counted = self._stop = 0
            self._hungry = True  # before the look: who delivers after it wakes us
            if not self._chunks:
                return False
            self._hungry = False
            sequences, payloads, statuses = self._chunks.popleft()
            if statuses is not None and Status.MANY in statuses and not self.ordered:
                self._turn_to_first(sequences, payloads, statuses)
            else:
                self._sequences = sequences
                self._values = self._judged(sequences, payloads, statuses)
        self._stop = min(len(self._values), self._at + self._piece)
        return True

    def _turn_to_first(self, sequences: list[int], payloads: list[Payload], statuses: list[int]) -> None:
        """Of a chunk with messages that have many results: all up to the first of them, or the results of that one."""
        cut = statuses.index(Status.MANY) or 1
        if len(sequences) > cut:
            self._chunks.appendleft((sequences[cut:], payloads[cut:], statuses[cut:]))
        results = payloads[0]
        if statuses[0] == Status.MANY and isinstance(results, tuple):
            self._sequences = sequences[:1] * len(results)
            self._values = self._many = results  # type: ignore[assignment]  # a caller's are bytes only
            if not results:
                self._count_piece()
        else:
            self._sequences = sequences[:cut]
            self._values = self._judged(sequences[:cut], payloads[:cut], statuses[:cut])

    def _judged(
        self, sequences: list[int], payloads: list[Payload], statuses: Sequence[int] | None
    ) -> Sequence[bytes | PalmError | Results]:
        if statuses is None:
            return payloads  # type: ignore[return-value]  # without statuses all are results
        return [
            payload  # type: ignore[misc]  # bytes, or a tuple of them
            if status in (Status.OK, Status.MANY)
            else error_of(sequence, status, payload, self.route)
            for sequence, payload, status in zip(sequences, payloads, statuses, strict=True)
        ]

    def _pop_ordered(self) -> Outcome | None:
        early = self._early
        if self._aside and not self._rest:
            sequence, error = self._aside.popleft()
            assert isinstance(error, PalmError), "what is good is part of a result"
            self._count((error,))
            return sequence, error
        while not self._rest:
            while self._next_sequence not in early:
                if self._at == self._stop and not self._turn():
                    return None
                early[self._sequences[self._at]] = self._values[self._at]
                self._at += 1
            sequence = self._next_sequence
            self._next_sequence += 1
            value = early.pop(sequence)
            if isinstance(value, bytes | PalmError):
                self._count((value,))
                return sequence, value
            self._many = value
            self._rest.extend(value)
            if not value:
                self._count_many()
        result = self._rest.popleft()
        if not self._rest:
            self._count_many()
        return self._next_sequence - 1, result

    def _count_piece(self) -> None:
        """What was taken of the chunk at hand is taken; where results are to be in order, only what came out of it."""
        if self.ordered:
            return
        if self._many is None:
            self._count(self._values[self._counted : self._at])
        elif self._at == len(self._many):
            self._count_many()
        self._counted = self._at

    def _count_many(self) -> None:
        """The last result of a message with many was taken: now it is."""
        assert self._many is not None
        self._taken += 1
        self._taken_ok += 1
        self._taken_bytes += sum(map(len, self._many))
        self._many = None

    def _count(self, values: Sequence[bytes | PalmError | Results]) -> None:
        results = [value for value in values if isinstance(value, bytes)]
        self._taken += len(values)
        self._taken_ok += len(results)
        self._taken_bytes += sum(map(len, results))

    def _checked(self) -> Iterator[bytes]:
        """The source, with every payload checked before it is PALM's."""
        limit = self.max_payload_bytes
        assert isinstance(self.source, Iterable), "who submits a job brings the feed that its source needs"
        for place, payload in enumerate(self.source):
            if type(payload) is not bytes or len(payload) > limit:  # `check` costs a call
                self.check(place, payload)
            yield payload

    def check(self, place: int, payload: object) -> bytes:
        """The payload itself, when it can be sent as message `place`; else TypeError or PayloadTooLarge."""
        if not isinstance(payload, bytes):
            raise TypeError(
                f"message {place} of the job to {self.route[0]} is {type(payload).__name__}, bytes are needed"
                + (": encode it, e.g. text.encode()" if isinstance(payload, str) else "")
            )
        if len(payload) > self.max_payload_bytes:
            raise PayloadTooLarge(
                f"message {place} of the job to {self.route[0]}: payload of {len(payload)} bytes exceeds "
                f"{self.max_payload_bytes} (raise max_payload_bytes, or split it)"
            )
        return payload


def error_of(sequence: int, status: int, payload: Any, route: Route) -> PalmError:
    """The exception for a message that ended without a result."""
    error: PalmError
    where = " -> ".join(map(str, route))
    if status == Status.FAILED:
        failure = payload if isinstance(payload, Failure) else decode_failure(payload)
        if failure.reason == "NO_FUNCTION":
            return NoSuchFunction(failure.text)
        if failure.reason == "BAD_REQUEST":
            error = MessageFailed(failure.text)
        else:
            error = HandlerFailed(
                kind=failure.kind,
                text=failure.text,
                remote_traceback=failure.remote_traceback,
                server=failure.server,
                function=failure.function,
                instance=failure.instance,
                attempt=failure.attempt,
            )
    elif status == Status.EXPIRED:
        error = DeadlineExpired(f"message {sequence} to {where}: its deadline passed before its result came")
    elif status == Status.DEAD_LETTERED:
        error = DeadLettered(f"message {sequence} to {where}: its attempts are used up ({evidence_of(payload)})")
    elif status == Status.CANCELLED:
        error = JobCancelled(f"message {sequence} to {where}: the job was cancelled while it was in flight")
    else:
        error = FateUnknown(
            f"message {sequence} to {where}: an instance was lost, and the job or a function of its route is "
            "at_most_once, so it may or may not have run"
        )
    if isinstance(error, MessageFailed):
        error.sequence = sequence
    return error


def evidence_of(payload: Payload) -> str:
    """Why a message was given up, in words."""
    failure = payload.failure if isinstance(payload, Buried) else payload
    if isinstance(failure, bytes):
        failure = decode_failure(failure)
    text = failure.text if isinstance(failure, Failure) else ""
    return text or "the instances that took it died, or none answered"


def buried(
    sequences: list[int], payloads: list[Payload], statuses: list[int] | None, route: RouteText
) -> list[DeadLetter]:
    """The dead letters among outcomes."""
    if statuses is None or Status.DEAD_LETTERED not in statuses:
        return []
    return [
        DeadLetter(sequence, payload.payload, route, evidence_of(payload))
        for sequence, payload in zip(sequences, payloads, strict=True)
        if isinstance(payload, Buried)
    ]


def closed() -> ClientClosed:
    return ClientClosed("the client is closed: make a new one, or use it inside its `with` block")


def _named(payload: Payload, key: bytes | None) -> Payload:
    """A failure with the key of the reduction's result that it befell, where it is one."""
    if key is None or not isinstance(payload, bytes | Failure) or not payload:
        return payload
    failure = payload if isinstance(payload, Failure) else decode_failure(payload)
    return failure._replace(text=f"{failure.text} (the result of a reduction for key {key!r:.200})")
