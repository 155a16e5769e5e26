"""The open messages of a scatter-gather's leader: scatter, then the parts, then gather, a task of the crew each.

A state machine for each message, and nothing but that: who runs a task, and what becomes of one whose worker is lost,
is `palm.core.dispatch`'s business. Parts come back in any order and are gathered in their own. A message is open until
gather has answered, or until something ended it before; what its other parts bring then is late, and dropped.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Iterable, Literal, NamedTuple, Sequence

from palm.core.dispatch import Ended
from palm.core.effect import Invoke
from palm.core.event import Finished
from palm.core.message import Batch, Failure, Header, JobId, Joined, PartFailed, Payload, Split, Status, Task
from palm.core.share import Part, Step, item_at, path_of

Partial = Literal["fail", "skip", "show"]
PARTIALS: tuple[Partial, ...] = ("fail", "skip", "show")

GATHER_BYTES = 32 * 1024 * 1024
"""All results of the parts of one message: they travel to gather as one payload."""

FAILED_BYTES = 1_024
"""What the word of a failed part counts as, at most."""

SPARE = 256
"""So many messages that have ended may still wait for the time at which their parts would be due."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What becomes of a message one of whose parts fails.

    "fail": it fails, as that part did. "skip": gather gets the others. "show": gather gets a `PartFailed` in its place.
    """

    partial: Partial = "fail"
    part_deadline: int | None = None
    """Nanoseconds from scatter's answer; a part that has not come by then counts as failed."""


class Todo(NamedTuple):
    """Tasks for the crew, as `Dispatch.add` takes them."""

    ticket: int
    batch: Batch
    expires: int | None


class Turn:
    """What follows from what has happened."""

    __slots__ = ("todo", "needless", "late", "_ended")

    def __init__(self) -> None:
        self.todo: list[Todo] = []
        self.needless: list[tuple[Header, list[int]]] = []
        """Parts that nobody waits for any more."""
        self.late = 0
        """Answers that nobody waited for."""
        self._ended: dict[int, tuple[list[int], list[Payload], list[int]]] = {}

    @property
    def ended(self) -> list[Finished]:
        """Messages that are over, as `ServerNode` hears of them."""
        return [Finished(ticket, *columns) for ticket, columns in self._ended.items()]

    def end(self, ticket: int, item: int, payload: Payload, status: int) -> None:
        items, payloads, statuses = self._ended.setdefault(ticket, ([], [], []))
        items.append(item)
        payloads.append(payload)
        statuses.append(status)


class Open:
    """One message. `task` is what it waits for; RUN once it has ended."""

    __slots__ = (
        "ticket",
        "header",
        "item",
        "watermark",
        "attempt",
        "expires",
        "task",
        "fork",
        "parts",
        "due",
        "came",
        "size",
        "failure",
    )

    def __init__(self, ticket: int, batch: Batch, index: int, expires: int | None) -> None:
        self.ticket = ticket
        self.header = batch.header
        self.item = batch.sequences[index]
        self.watermark = batch.watermark
        self.attempt = 1 if batch.attempts is None else batch.attempts[index]
        self.expires = expires
        self.task = Task.SCATTER
        self.fork = 0
        self.parts: list[int] = []
        self.due: int | None = None
        """When its parts must have come, where that is before the message itself expires."""
        self.came: dict[int, bytes | None | PartFailed] = {}
        self.size = 0
        self.failure: tuple[Failure, int] | None = None
        """Of the first part that failed, as the message would fail with it."""

    def todo(self, task: Task, items: list[int], payloads: list[Payload]) -> Todo:
        self.task = task
        header = self.header.doing(task, items[0])
        attempts = None if self.attempt == 1 else [self.attempt] * len(items)
        expires = self.expires if task != Task.PART or self.due is None else self.due
        return Todo(self.ticket, Batch(header, self.watermark, items, payloads, None, attempts), expires)

    def waiting(self) -> tuple[Header, list[int]]:
        """The tasks that it waits for."""
        items = [self.item]
        if self.task == Task.PART:
            items = [part for place, part in enumerate(self.parts) if place not in self.came]
        return self.header.doing(self.task, items[0]), items


class Scatter:
    """Of one leader, for one term."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._open: dict[tuple[JobId, int], dict[int, Open]] = {}
        # When the parts of which message are due. The time for parts is always the same, so this is in order.
        self._due: deque[tuple[int, Open]] = deque()

    @property
    def deadline(self) -> int | None:
        return self._due[0][0] if self._due else None

    def __len__(self) -> int:
        return sum(map(len, self._open.values()))

    def begin(self, invoke: Invoke) -> Todo:
        """Messages that the server node wants to have run: to be scattered first."""
        batch = invoke.batch
        rows = self._open.setdefault((batch.header.job, batch.header.stage), {})
        for index, item in enumerate(batch.sequences):
            rows[item] = Open(invoke.ticket, batch, index, invoke.expires)
        header = batch.header.doing(Task.SCATTER, batch.sequences[0])
        scattered = Batch(header, batch.watermark, batch.sequences, batch.payloads, None, batch.attempts)
        return Todo(invoke.ticket, scattered, invoke.expires)

    def over(
        self,
        header: Header,
        items: Sequence[int],
        payloads: Sequence[Payload],
        statuses: Sequence[int] | None,
        now: int,
    ) -> Turn:
        """Tasks have ended, under the header that they had."""
        turn = Turn()
        rows = self._open.get((header.job, header.stage), {})
        for item, payload, status in zip(items, payloads, statuses or [Status.OK] * len(items), strict=True):
            row = rows.get(_message(header, item))
            if row is None or row.task != header.task:
                turn.late += 1
            elif header.task == Task.SCATTER:
                self._scattered(row, payload, status, turn, now)
            elif header.task == Task.PART:
                self._part_over(row, path_of(item)[-1], payload, status, turn)
            else:
                self._end(row, payload, status, turn)
        return turn

    def overdue(self, now: int) -> Turn:
        """What follows from the time that it is."""
        turn = Turn()
        while self._due and self._due[0][0] <= now:
            row = self._due.popleft()[1]
            if row.task == Task.PART:
                self._time_is_up(row, turn)
        return turn

    # -- a message ----------------------------------------------------------------------------------------------------

    def _scattered(self, row: Open, payload: Payload, status: int, turn: Turn, now: int) -> None:
        if status not in (Status.MANY, Status.OK, Status.EMPTY):
            self._end(row, payload, status, turn)
            return
        if not isinstance(payload, Split):
            text = (
                f"scatter gave no parts for message {int(row.item)} of job {row.header.job.number}: yield at least "
                "one, or return None from a function in front"
            )
            self._end(row, _failure(row, "BAD_RESULT", "NoParts", text, "scatter"), Status.FAILED, turn)
            return
        path, stage, count = path_of(row.item), row.header.stage, len(payload.results)
        row.fork = payload.fork
        # Also one alone: what runs a part can tell its number.
        row.parts = [Part(row.item, (*path, Step(stage, row.fork, place, count))) for place in range(count)]
        if self._policy.part_deadline is not None:
            due = now + self._policy.part_deadline
            if row.expires is None or due < row.expires:
                row.due = due
                self._due.append((due, row))
        turn.todo.append(row.todo(Task.PART, list(row.parts), [result for _, result in payload.results]))

    def _time_is_up(self, row: Open, turn: Turn) -> None:
        missing = row.waiting()
        if self._policy.partial != "fail":
            turn.needless.append(missing)
        for part in missing[1]:
            self._failed(row, path_of(part)[-1].place, self._timed_out(row), Status.FAILED, turn)
            if row.task != Task.PART:
                break

    def _timed_out(self, row: Open) -> Failure:
        assert self._policy.part_deadline is not None, "only a time for parts makes them due"
        text = f"did not come within {self._policy.part_deadline / 1e9:g} s of its making"
        return _failure(row, "TIMED_OUT", "PartTimedOut", text, row.header.target.function)

    def _part_over(self, row: Open, step: Step, payload: Payload, status: int, turn: Turn) -> None:
        if step.fork != row.fork or step.place in row.came:
            turn.late += 1
        elif status == Status.EXPIRED and row.due is None:
            self._end(row, payload, status, turn)
        elif status == Status.EXPIRED:
            self._failed(row, step.place, self._timed_out(row), Status.FAILED, turn)
        elif status == Status.OK and isinstance(payload, bytes):
            self._came(row, step.place, payload, len(payload), turn)
        elif status == Status.EMPTY:
            self._came(row, step.place, None, 0, turn)
        else:
            assert isinstance(payload, Failure), "what fails a part comes as a value"
            self._failed(row, step.place, payload, status, turn)

    def _failed(self, row: Open, place: int, failure: Failure, status: int, turn: Turn) -> None:
        named = failure._replace(text=f"part {place} of {len(row.parts)}: {failure.text}")
        row.failure = row.failure or (named, status)
        if self._policy.partial == "fail":
            self._end(row, *row.failure, turn)
        else:
            shown = PartFailed(place, failure.reason, failure.kind, failure.text)
            self._came(row, place, shown, min(FAILED_BYTES, len(failure.text)), turn)

    def _came(self, row: Open, place: int, result: bytes | None | PartFailed, size: int, turn: Turn) -> None:
        row.came[place] = result
        row.size += size
        if row.size > GATHER_BYTES:
            text = f"the results of its parts are over {GATHER_BYTES} bytes in all: return less from each"
            self._end(row, _failure(row, "TOO_LARGE", "PayloadTooLarge", text, "gather"), Status.FAILED, turn)
        elif len(row.came) == len(row.parts):
            self._gather(row, turn)

    def _gather(self, row: Open, turn: Turn) -> None:
        results: Joined = tuple(row.came[place] for place in range(len(row.parts)))
        if self._policy.partial == "skip":
            results = tuple(result for result in results if not isinstance(result, PartFailed))
        if not results:
            assert row.failure is not None, "what is skipped has failed"
            self._end(row, *row.failure, turn)
            return
        turn.todo.append(row.todo(Task.GATHER, [row.item], [results]))
        row.came, row.parts = {}, []

    def _end(self, row: Open, payload: Payload, status: int, turn: Turn) -> None:
        self._forget(row, turn.needless)
        turn.end(row.ticket, row.item, payload, status)

    def _forget(self, row: Open, needless: list[tuple[Header, list[int]]]) -> None:
        """`needless` is added to: the parts that nobody waits for now."""
        if row.task == Task.PART and len(row.came) < len(row.parts):
            needless.append(row.waiting())
        row.task, row.came, row.parts = Task.RUN, {}, []
        key = (row.header.job, row.header.stage)
        rows = self._open[key]
        del rows[row.item]
        if not rows:
            del self._open[key]
        if len(self._due) > 2 * len(self) + SPARE:
            self._due = deque(one for one in self._due if one[1].task == Task.PART)

    # -- messages that are not run to their end here ------------------------------------------------------------------

    def tasks_of(self, header: Header, items: Iterable[int]) -> list[tuple[Header, list[int]]]:
        """What these messages wait for."""
        rows = self._open.get((header.job, header.stage), {})
        return [rows[item].waiting() for item in items if item in rows]

    def abandon(self, header: Header, items: Iterable[int]) -> tuple[list[Ended], list[tuple[Header, list[int]]]]:
        """Tasks that are not going to be run: their messages, forgotten, and what is needless with them."""
        ended: list[Ended] = []
        needless: list[tuple[Header, list[int]]] = []
        for item in items:
            row = self._open.get((header.job, header.stage), {}).get(_message(header, item))
            if row is not None and row.task == header.task:
                ended.append(Ended(row.ticket, row.header, [row.item]))
                self._forget(row, needless)
        return ended, needless

    def drop(self, job: JobId | None = None) -> list[Ended]:
        """Forget all messages of that job, or of every job."""
        gone = [rows for key, rows in self._open.items() if job is None or key[0] == job]
        ended: list[Ended] = []
        for row in [row for rows in gone for row in rows.values()]:
            self._forget(row, [])
            ended.append(Ended(row.ticket, row.header, [row.item]))
        return ended


def _message(header: Header, item: int) -> int:
    """The message that a task is of."""
    return item_at(item, path_of(item)[:-1]) if header.task == Task.PART else item


def _failure(row: Open, reason: str, kind: str, text: str, function: str) -> Failure:
    return Failure(reason, kind, text, "", row.header.target.server, function, "", row.attempt)
