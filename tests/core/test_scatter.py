"""The open messages of a scatter-gather: what is asked of the crew next, and how messages end."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from palm.core.effect import Invoke
from palm.core.message import Batch, Failure, Header, PartFailed, Payload, Split, Status, Task
from palm.core.scatter import GATHER_BYTES, SPARE, Partial, Policy, Scatter, Todo, Turn
from palm.core.share import Part, Path, Step, path_of, share_of
from tests.core.cast import CLIENT, FIRST, JOB, batch_of

HEADER = Header(JOB, FIRST, 0)
RAISED = Failure("HANDLER_RAISED", "ValueError", "no", "", "one", "f", "x", 1)


def begun(scatter: Scatter, *items: int, ticket: int = 0, header: Header = HEADER) -> Todo:
    return scatter.begin(Invoke(ticket, batch_of(*items, header=header), None))


def split(count: int, fork: int = 7) -> Split:
    return Split(fork, tuple((0, b"%d" % part) for part in range(count)))


def over(scatter: Scatter, task: Task, item: int, payload: Payload, status: int = Status.OK, now: int = 0) -> Turn:
    return scatter.over(HEADER.doing(task, item), [item], [payload], [status], now)


def part(sequence: int, place: int, count: int, fork: int = 7) -> Part:
    return Part(sequence, (Step(0, fork, place, count),))


def scattered(scatter: Scatter, sequence: int, count: int, now: int = 0) -> list[int]:
    """Begin a message, and scatter it; its parts."""
    begun(scatter, sequence)
    (todo,) = over(scatter, Task.SCATTER, sequence, split(count), Status.MANY, now).todo
    return todo.batch.sequences


def ends(turn: Turn) -> list[tuple[int, Payload, int]]:
    return [
        (sequence, payload, status)
        for event in turn.ended
        for sequence, payload, status in zip(event.sequences, event.payloads, event.statuses or [], strict=True)
    ]


def test_a_message_goes_through_three_tasks() -> None:
    """Scatter, all parts, gather with their results in order; its end is what gather said."""
    scatter = Scatter(Policy())
    todo = begun(scatter, 3, ticket=9)
    assert (todo.batch.header.task, todo.batch.sequences, todo.batch.payloads) == (Task.SCATTER, [3], [b"3"])
    (parts,) = over(scatter, Task.SCATTER, 3, split(2), Status.MANY).todo
    assert (parts.ticket, parts.batch.header.task) == (9, Task.PART) and parts.batch.header.parts
    assert (parts.batch.sequences, parts.batch.payloads) == ([part(3, 0, 2), part(3, 1, 2)], [b"0", b"1"])
    assert over(scatter, Task.PART, part(3, 1, 2), b"second").todo == []
    (gather,) = over(scatter, Task.PART, part(3, 0, 2), b"first").todo
    assert (gather.batch.header.task, gather.batch.sequences) == (Task.GATHER, [3])
    assert gather.batch.payloads == [(b"first", b"second")]
    turn = over(scatter, Task.GATHER, 3, b"both")
    assert [event.ticket for event in turn.ended] == [9] and ends(turn) == [(3, b"both", Status.OK)]
    assert len(scatter) == 0


def test_the_parts_are_worth_the_message() -> None:
    """Their shares add up to its own; one alone is a part, too."""
    scatter = Scatter(Policy())
    assert sum(map(share_of, scattered(scatter, 0, 7))) == 1
    (alone,) = scattered(scatter, 1, 1)
    assert share_of(alone) == 1 and [step.place for step in path_of(alone)] == [0]


def test_a_part_of_an_earlier_stage_is_a_message_like_others() -> None:
    """Its parts have its path and one more step; what is gathered is the part."""
    scatter = Scatter(Policy())
    before: Path = (Step(0, 1, 2, 3),)
    item = Part(5, before)
    begun(scatter, item, header=HEADER.of(item))
    (parts,) = over(scatter, Task.SCATTER, item, split(2), Status.MANY).todo
    assert parts.batch.sequences == [Part(5, (*before, Step(0, 7, place, 2))) for place in range(2)]
    for one in parts.batch.sequences:
        turn = over(scatter, Task.PART, one, b"")
    assert turn.todo[0].batch.sequences == [item]


def test_a_scatter_without_parts_is_a_definite_failure() -> None:
    """It says what to do."""
    scatter = Scatter(Policy())
    begun(scatter, 17)
    ((_, failure, status),) = ends(over(scatter, Task.SCATTER, 17, b"", Status.EMPTY))
    assert isinstance(failure, Failure) and status == Status.FAILED
    assert failure.text.startswith("scatter gave no parts for message 17 of job 1: yield at least one")


def test_a_failing_part_ends_its_message_at_once() -> None:
    """With its number; what the others bring is late."""
    scatter = Scatter(Policy())
    first, second, third = scattered(scatter, 0, 3)
    turn = over(scatter, Task.PART, second, RAISED, Status.FAILED)
    assert ends(turn) == [(0, RAISED._replace(text="part 1 of 3: no"), Status.FAILED)]
    assert turn.needless == [(HEADER.doing(Task.PART, first), [first, second, third])]
    assert over(scatter, Task.PART, first, b"").late == 1
    assert len(scatter) == 0


def test_a_dead_letter_stays_one() -> None:
    """A part that killed its workers ends the message as it ended."""
    scatter = Scatter(Policy())
    (only,) = scattered(scatter, 0, 1)
    ((_, _, status),) = ends(over(scatter, Task.PART, only, RAISED, Status.DEAD_LETTERED))
    assert status == Status.DEAD_LETTERED


def test_failed_parts_are_skipped_or_shown() -> None:
    """Gather gets the others, or why each failed in its place."""
    expected: dict[Partial, Any] = {
        "skip": (b"a", None),
        "show": (b"a", PartFailed(1, "HANDLER_RAISED", "ValueError", "no"), None),
    }
    for partial, gathered in expected.items():
        scatter = Scatter(Policy(partial=partial))
        first, second, third = scattered(scatter, 0, 3)
        over(scatter, Task.PART, second, RAISED, Status.FAILED)
        over(scatter, Task.PART, third, b"", Status.EMPTY)
        assert over(scatter, Task.PART, first, b"a").todo[0].batch.payloads == [gathered]


def test_when_all_parts_are_skipped_the_message_fails() -> None:
    """As the first of them did."""
    scatter = Scatter(Policy(partial="skip"))
    first, second = scattered(scatter, 0, 2)
    over(scatter, Task.PART, second, RAISED, Status.FAILED)
    turn = over(scatter, Task.PART, first, RAISED._replace(text="other"), Status.FAILED)
    assert ends(turn) == [(0, RAISED._replace(text="part 1 of 2: no"), Status.FAILED)]


def test_a_part_has_its_time_and_no_less() -> None:
    """Counted from scatter's answer; then it counts as failed, and what it brings is late."""
    scatter = Scatter(Policy(partial="show", part_deadline=100))
    first, second = scattered(scatter, 0, 2, now=1_000)
    over(scatter, Task.PART, first, b"a", now=1_050)
    assert scatter.deadline == 1_100
    assert scatter.overdue(1_099).todo == []
    turn = scatter.overdue(1_100)
    results = turn.todo[0].batch.payloads[0]
    assert isinstance(results, tuple) and results[0] == b"a"
    assert isinstance(results[1], PartFailed) and (results[1].part, results[1].reason) == (1, "TIMED_OUT")
    assert turn.needless == [(HEADER.doing(Task.PART, second), [second])]
    assert over(scatter, Task.PART, second, b"b").late == 1
    assert scatter.deadline is None


def test_a_part_that_does_not_come_fails_its_message_where_parts_must() -> None:
    """Its number is named."""
    scatter = Scatter(Policy(part_deadline=2_000_000_000))
    first, _ = scattered(scatter, 0, 2)
    over(scatter, Task.PART, first, b"a")
    ((_, failure, status),) = ends(scatter.overdue(2_000_000_000))
    assert isinstance(failure, Failure) and status == Status.FAILED
    assert (failure.reason, failure.text) == ("TIMED_OUT", "part 1 of 2: did not come within 2 s of its making")


def test_a_message_expires_with_any_of_its_tasks() -> None:
    """Its deadline is that of all of them."""
    for policy in (Policy(), Policy(partial="skip")):
        scatter = Scatter(policy)
        first, _ = scattered(scatter, 0, 2)
        assert ends(over(scatter, Task.PART, first, b"", Status.EXPIRED)) == [(0, b"", Status.EXPIRED)]


def test_a_part_that_its_worker_gives_up_is_one_that_did_not_come() -> None:
    """Parts travel with the time that they have; where that is the message's own, the message expires."""
    scatter = Scatter(Policy(partial="show", part_deadline=100))
    scatter.begin(Invoke(0, batch_of(0, 1), 120))
    for sequence, now, expires in ((0, 10, 110), (1, 20, 120)):
        (todo,) = over(scatter, Task.SCATTER, sequence, split(1), Status.MANY, now).todo
        assert todo.expires == expires
    assert scatter.deadline == 110
    (gather,) = over(scatter, Task.PART, part(0, 0, 1), b"", Status.EXPIRED).todo
    assert gather.expires == 120 and isinstance(gather.batch.payloads[0][0], PartFailed)
    assert ends(over(scatter, Task.PART, part(1, 0, 1), b"", Status.EXPIRED)) == [(1, b"", Status.EXPIRED)]


def test_results_that_are_too_large_together_fail_their_message() -> None:
    """Before they are all there."""
    scatter = Scatter(Policy())
    first, second, _ = scattered(scatter, 0, 3)
    assert ends(over(scatter, Task.PART, first, bytes(GATHER_BYTES))) == []
    ((_, failure, _),) = ends(over(scatter, Task.PART, second, b"x"))
    assert isinstance(failure, Failure) and failure.reason == "TOO_LARGE"


def test_an_answer_for_what_is_not_waited_for_changes_nothing() -> None:
    """Of another execution, twice, of another task, or of nobody's message."""
    scatter = Scatter(Policy())
    first, _ = scattered(scatter, 0, 2)
    over(scatter, Task.PART, first, b"a")
    for task, item in (
        (Task.PART, part(0, 1, 2, fork=8)),
        (Task.PART, first),
        (Task.SCATTER, 0),
        (Task.GATHER, 0),
        (Task.PART, part(9, 0, 2)),
    ):
        turn = over(scatter, task, item, b"")
        assert (turn.late, turn.todo, turn.ended) == (1, [], [])


def test_messages_are_dropped_with_their_job_or_all() -> None:
    """Whatever they wait for."""
    scatter = Scatter(Policy())
    scattered(scatter, 0, 2)
    begun(scatter, 1, 2, ticket=4)
    other = JOB._replace(number=2)
    begun(scatter, 0, header=Header(other, FIRST, 0), ticket=5)
    dropped = scatter.drop(JOB)
    assert [(one.ticket, one.sequences) for one in dropped] == [(0, [0]), (4, [1]), (4, [2])]
    assert [one.ticket for one in scatter.drop()] == [5] and len(scatter) == 0


def test_what_has_ended_is_not_kept_for_its_parts_time() -> None:
    """Memory is bounded by what is open."""
    scatter = Scatter(Policy(part_deadline=10**12))
    for sequence in range(4 * SPARE):
        (only,) = scattered(scatter, sequence, 1)
        over(scatter, Task.PART, only, RAISED, Status.FAILED)
    assert len(scatter._due) <= SPARE + 1


class ScatterMachine(RuleBasedStateMachine):
    """Tasks end in any order and in any way, some of them twice, while time passes and jobs are dropped: each message
    ends once at most, nothing is asked for one that has ended, and gather sees each part in its place."""

    waiting: Bundle[tuple[Header, int, bytes]] = Bundle("waiting")

    def __init__(self) -> None:
        super().__init__()
        self.scatter = Scatter(Policy())
        self.partial: Partial = "fail"
        self.now = 0
        self.next = 0
        self.fork = 0
        self.open: set[int] = set()
        self.given: dict[int, list[bytes | None | PartFailed]] = {}

    @rule(partial=st.sampled_from(["fail", "skip", "show"]), time=st.none() | st.integers(1, 100))
    def start_over(self, partial: Partial, time: int | None) -> None:
        """Another leader, with another policy."""
        assert {item for one in self.scatter.drop() for item in one.sequences} == self.open
        self.scatter = Scatter(Policy(partial=partial, part_deadline=time))
        self.partial = partial
        self.open, self.given = set(), {}

    @rule(target=waiting, count=st.integers(1, 3))
    def begin(self, count: int) -> Any:
        items = list(range(self.next, self.next + count))
        self.next += count
        self.open |= set(items)
        return self._asked([begun(self.scatter, *items)])

    @rule(target=waiting, task=waiting, count=st.integers(0, 4), how=st.sampled_from(["ok", "none", "raise", "late"]))
    def end(self, task: tuple[Header, int, bytes], count: int, how: str) -> Any:
        header, item, payload = task
        result: Payload = b"<" + payload + b">"
        status = {"ok": Status.OK, "none": Status.EMPTY, "raise": Status.FAILED, "late": Status.EXPIRED}[how]
        if how == "raise":
            result = RAISED
        elif how != "ok":
            result = b""
        elif header.task == Task.SCATTER and count:
            self.fork += 1
            result, status = split(count, self.fork), Status.MANY
        turn = self.scatter.over(header, [item], [result], [status], self.now)
        if turn.late:
            assert (turn.todo, turn.ended) == ([], [])
        elif header.task == Task.SCATTER and isinstance(result, Split):
            self.given[item] = [b""] * count
        elif header.task == Task.PART and int(item) in self.given:
            failed = PartFailed(path_of(item)[-1].place, RAISED.reason, RAISED.kind, RAISED.text)
            seen = {"ok": result, "none": None, "raise": failed, "late": failed}[how]
            self.given[int(item)][path_of(item)[-1].place] = seen  # type: ignore[call-overload]  # bytes where it is ok
        return self._follow(turn)

    @rule(target=waiting, passes=st.integers(1, 60))
    def tick(self, passes: int) -> Any:
        self.now += passes
        turn = self.scatter.overdue(self.now)
        for header, items in turn.needless:
            assert header.task == Task.PART
            for item in items:
                if int(item) in self.given:
                    self.given[int(item)][path_of(item)[-1].place] = PartFailed(path_of(item)[-1].place, "", "", "")
        assert self.scatter.deadline is None or self.scatter.deadline > self.now
        return self._follow(turn)

    @rule()
    def drop(self) -> None:
        assert {item for one in self.scatter.drop(JOB) for item in one.sequences} == self.open
        self.open, self.given = set(), {}

    def _follow(self, turn: Turn) -> Any:
        for item, _, _ in ends(turn):
            assert item in self.open
            self.open.remove(item)
            self.given.pop(item, None)
        return self._asked(turn.todo)

    def _asked(self, todos: list[Todo]) -> Any:
        tasks = []
        for todo in todos:
            batch = todo.batch
            for item, payload in zip(batch.sequences, batch.payloads, strict=True):
                assert int(item) in self.open, "nothing is asked for a message that has ended"
                if batch.header.task == Task.GATHER:
                    self._is_gathered(item, payload)
                tasks.append((batch.header, item, payload if isinstance(payload, bytes) else b""))
        return multiple(*tasks)

    def _is_gathered(self, item: int, payload: Payload) -> None:
        expected = self.given.pop(item)
        assert isinstance(payload, tuple)
        if self.partial == "skip":
            expected = [one for one in expected if not isinstance(one, PartFailed)]
        assert len(payload) == len(expected)
        for one, other in zip(payload, expected, strict=True):
            if isinstance(other, PartFailed):
                assert self.partial == "show" and isinstance(one, PartFailed) and one.part == other.part
            else:
                assert one == other

    @invariant()
    def what_is_open_is_known(self) -> None:
        assert len(self.scatter) == len(self.open)
        for header, items in self.scatter.tasks_of(HEADER, sorted(self.open)):
            assert items and all(int(item) in self.open for item in items) and header.job.client == CLIENT


TestScatter = ScatterMachine.TestCase
TestScatter.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_attempts_and_watermarks_stay_with_the_tasks() -> None:
    """What a handler sees as its attempt is the message's."""
    scatter = Scatter(Policy())
    scatter.begin(Invoke(0, Batch(HEADER, 4, [5, 6], [b"", b""], None, [1, 3]), 99))
    (todo,) = over(scatter, Task.SCATTER, 6, split(2), Status.MANY).todo
    assert (todo.batch.watermark, todo.batch.attempts, todo.expires) == (4, [3, 3], 99)
