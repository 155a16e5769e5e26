"""Who of a crew gets what, how much a worker asks for, and whose term counts."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from palm.core.credit import FIRST, MOST, Credit
from palm.core.dispatch import MAX_DEATHS, Dispatch, Given
from palm.core.election import Mandate
from palm.core.message import Header, Peer, Task
from palm.core.route import parse_route
from tests.core.cast import FIRST as ROUTE
from tests.core.cast import JOB, batch_of

MS = 1_000_000
HEADER = Header(JOB, ROUTE, 0)
A, B = Peer("worker-a-00000000"), Peer("worker-b-00000000")


def given_to(given: list[Given], worker: Peer) -> list[int]:
    return [sequence for peer, piece in given if peer == worker for sequence in piece.sequences]


def crew(**credits: int) -> Dispatch:
    dispatch = Dispatch()
    for name, credit in credits.items():
        dispatch.wants(A if name == "a" else B, credit)
    return dispatch


def test_nobody_gets_more_than_it_asked_for():
    """What is over waits."""
    dispatch = crew(a=3, b=5)
    dispatch.add(1, batch_of(*range(20)), None)
    given, _ = dispatch.assign(0)
    assert (len(given_to(given, A)), len(given_to(given, B))) == (3, 5)
    assert dispatch.queued == 12


def test_little_is_shared_rather_than_given_to_the_first():
    """Two messages, two idle workers: one each."""
    dispatch = crew(a=10, b=10)
    dispatch.add(1, batch_of(0, 1), None)
    given, _ = dispatch.assign(0)
    assert sorted((given_to(given, A), given_to(given, B))) == [[0], [1]]


def test_a_silent_worker_keeps_what_it_has_and_gets_nothing():
    """A worker that joins late gets what is left, at once."""
    dispatch = crew(a=2)
    dispatch.add(1, batch_of(0, 1, 2, 3), None)
    dispatch.assign(0)
    dispatch.workers[A].paused = True
    dispatch.wants(B, 2)
    given, _ = dispatch.assign(1)
    assert given_to(given, A) == []
    assert given_to(given, B) == [2, 3]
    assert dispatch.workers[A].has == 2


def test_what_a_worker_had_that_left_goes_to_the_others_together():
    """It wanted to leave: nothing is suspect."""
    dispatch = crew(a=4)
    dispatch.add(1, batch_of(0, 1, 2), None)
    dispatch.assign(0)
    dispatch.lost(A, died=False)
    dispatch.wants(B, 4)
    given, _ = dispatch.assign(1)
    assert given_to(given, B) == [0, 1, 2]


def test_what_a_worker_had_that_died_goes_on_alone():
    """One message, and nothing beside it, until it has ended."""
    dispatch = crew(a=2)
    dispatch.add(1, batch_of(0, 1, 2), None)
    dispatch.assign(0)
    dispatch.lost(A, died=True)
    dispatch.wants(B, 8)
    given, _ = dispatch.assign(1)
    assert given_to(given, B) == [0]
    assert dispatch.assign(2)[0] == []
    assert dispatch.answered(B, HEADER, [0]) == [(1, [0])]
    assert given_to(dispatch.assign(3)[0], B) == [1]


def test_a_message_is_given_up_after_three_deaths_with_their_names():
    """And it alone: what was beside it at first lives."""
    dispatch = crew(a=2)
    dispatch.add(1, batch_of(0, 1), None)
    dispatch.assign(0)
    dispatch.lost(A, died=True)
    deaths = [A]
    for number in range(1, MAX_DEATHS):
        worker = Peer(f"worker-{number}-0000000000")
        deaths.append(worker)
        dispatch.wants(worker, 4)
        if given_to(dispatch.assign(number)[0], worker) == [1]:
            dispatch.answered(worker, HEADER, [1])
            assert given_to(dispatch.assign(number)[0], worker) == [0]
        lost = dispatch.lost(worker, died=True)
    ((ended, names),) = lost.dead
    assert (ended.sequences, names) == ([0], deaths)


def test_an_at_most_once_message_of_a_lost_worker_is_never_given_again():
    """Its fate is unknown, and said to be."""
    dispatch = crew(a=2)
    header = Header(JOB, ROUTE, 0, at_most_once=True)
    dispatch.add(1, batch_of(0, 1, header=header), None)
    dispatch.assign(0)
    lost = dispatch.lost(A, died=True)
    assert [ended.sequences for ended in lost.unknown] == [[0, 1]]
    dispatch.wants(B, 2)
    assert dispatch.assign(1) == ([], [])


def test_an_answer_from_a_worker_that_lost_the_message_counts_for_nothing():
    """Who has it says how it ended."""
    dispatch = crew(a=1)
    dispatch.add(1, batch_of(0), None)
    dispatch.assign(0)
    dispatch.lost(A, died=True)
    dispatch.wants(B, 1)
    dispatch.assign(1)
    dispatch.wants(A, 1)
    assert dispatch.answered(A, HEADER, [0]) == []
    assert dispatch.answered(B, HEADER, [0]) == [(1, [0])]


def test_what_expired_in_the_queue_is_not_given():
    """It comes back as expired."""
    dispatch = crew(a=1)
    dispatch.add(1, batch_of(0), 5)
    given, expired = dispatch.assign(5)
    assert given == [] and [ended.sequences for ended in expired] == [[0]]
    assert not dispatch.waiting


def test_a_slow_function_after_a_quick_one_is_not_hoarded():
    """The credit comes of the quick one; of another function it is as at first, and one more for each answer."""
    dispatch = crew(a=2)
    dispatch.add(1, batch_of(*range(100)), None)
    while dispatch.workers[A].has or dispatch.queued:
        for _, piece in dispatch.assign(0)[0]:
            dispatch.answered(A, HEADER, piece.sequences)
        dispatch.wants(A, 50)
    slow = Header(JOB, parse_route("one.slow"), 0)
    dispatch.add(2, batch_of(*range(100), header=slow), None)
    assert given_to(dispatch.assign(1)[0], A) == [0, 1]
    dispatch.wants(B, 2)
    assert given_to(dispatch.assign(1)[0], B) == [2, 3], "a newcomer helps"
    dispatch.answered(A, slow, [0, 1])
    assert given_to(dispatch.assign(2)[0], A) == [4, 5, 6, 7]
    dispatch.wants(A, 3)
    dispatch.answered(A, slow, [4, 5, 6, 7])
    assert len(given_to(dispatch.assign(3)[0], A)) == 3, "and what it says while it runs it counts"


class Shifts(RuleBasedStateMachine):
    """Workers come, ask, answer, leave and die; every message ends once, and nobody has more than it asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.dispatch = Dispatch()
        self.next = 0
        self.open: set[int] = set()
        self.has: dict[Peer, set[int]] = {}
        self.limit: dict[Peer, int] = {}
        self.deaths: dict[int, int] = {}

    @rule(count=st.integers(1, 20))
    def add(self, count: int) -> None:
        sequences = range(self.next, self.next + count)
        self.next += count
        self.open.update(sequences)
        self.dispatch.add(self.next, batch_of(*sequences), None)
        self.assign()

    @rule(number=st.integers(0, 3), credit=st.integers(0, 12))
    def ask(self, number: int, credit: int) -> None:
        worker = Peer(f"worker-{number}-0000000000")
        self.has.setdefault(worker, set())
        self.dispatch.wants(worker, credit)
        self.limit[worker] = credit
        self.assign()

    def assign(self) -> None:
        given, expired = self.dispatch.assign(0)
        assert expired == []
        for worker, piece in given:
            assert not any(set(piece.sequences) & has for has in self.has.values()), "a message is with one worker"
            self.has[worker].update(piece.sequences)
            assert len(self.has[worker]) <= self.limit[worker]
            if any(self.deaths.get(sequence) for sequence in piece.sequences):
                assert len(self.has[worker]) == 1, "a suspect is alone"

    @precondition(lambda self: any(self.has.values()))
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from([one for one, has in self.has.items() if has]))
        some = data.draw(st.lists(st.sampled_from(sorted(self.has[worker])), min_size=1, unique=True))
        groups = self.dispatch.answered(worker, HEADER, some)
        assert sum(len(indices) for _, indices in groups) == len(some)
        self.has[worker].difference_update(some)
        self.open.difference_update(some)
        self.assign()

    @precondition(lambda self: self.has)
    @rule(data=st.data(), died=st.booleans())
    def lose(self, data: st.DataObject, died: bool) -> None:
        worker = data.draw(st.sampled_from(sorted(self.has)))
        had = self.has.pop(worker)
        lost = self.dispatch.lost(worker, died=died)
        given_up = {sequence for ended, _ in lost.dead for sequence in ended.sequences}
        for sequence in had if died else ():
            self.deaths[sequence] = self.deaths.get(sequence, 0) + 1
        assert given_up == {sequence for sequence in had if died and self.deaths[sequence] >= MAX_DEATHS}
        self.open -= given_up
        self.assign()

    @invariant()
    def nothing_is_forgotten(self) -> None:
        rows = {sequence for row in self.dispatch._rows.values() for sequence in row}
        assert rows == self.open

    @invariant()
    def what_workers_have_adds_up(self) -> None:
        for one, has in self.has.items():
            worker = self.dispatch.workers[one]
            assert worker.has == len(has) == sum(pace.has for pace in worker.paces.values())

    @invariant()
    def whoever_can_work_does(self) -> None:
        if self.dispatch.waiting and any(self.limit[one] for one in self.has):
            assert any(self.has.values())

    def teardown(self) -> None:
        """One healthy worker is enough to end all that is open."""
        worker = Peer("worker-last-0000000000")
        for one in list(self.has):
            self.limit[one] = 0
            self.dispatch.wants(one, 0)
            self.dispatch.lost(one, died=False)
        self.has = {worker: set()}
        self.limit[worker] = 5
        self.dispatch.wants(worker, 5)
        for _ in range(10_000):
            self.assign()
            if not self.has[worker]:
                break
            some = sorted(self.has[worker])
            self.dispatch.answered(worker, HEADER, some)
            self.has[worker].clear()
            self.open.difference_update(some)
        assert not self.open


TestShifts = Shifts.TestCase
TestShifts.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


# -- parts ------------------------------------------------------------------------------------------------------------

PARTS = HEADER.doing(Task.PART, 0)


def test_what_was_begun_goes_before_what_was_not():
    """What ends a message first, then parts, then new messages: so few are open at one time, and results come soon."""
    dispatch = crew(a=1)
    dispatch.add(1, batch_of(0, 1, header=HEADER.doing(Task.SCATTER, 0)), None)
    dispatch.add(2, batch_of(10, 11, header=PARTS), None)
    dispatch.add(3, batch_of(20, header=HEADER.doing(Task.GATHER, 0)), None)
    order = []
    for _ in range(5):
        ((_, piece),) = dispatch.assign(0)[0]
        order += piece.sequences
        dispatch.answered(A, piece.header, piece.sequences)
    assert order == [20, 10, 11, 0, 1]


def test_only_what_nobody_has_begun_is_given_back():
    """Parts wait like new messages, but theirs is half done."""
    dispatch = Dispatch()
    dispatch.add(1, batch_of(0, header=HEADER.doing(Task.SCATTER, 0)), None)
    dispatch.add(2, batch_of(10, header=PARTS), None)
    assert [ended.sequences for ended in dispatch.drop_queued()] == [[0]]
    assert dispatch.queued == 1


def test_what_is_needless_is_given_to_nobody():
    """It was queued, and is gone."""
    dispatch = Dispatch()
    dispatch.add(1, batch_of(0, 1, header=PARTS), None)
    dispatch.withdraw(PARTS, [0, 1])
    dispatch.wants(A, 5)
    assert dispatch.assign(0) == ([], []) and dispatch.queued == 0


def test_a_worker_that_hangs_on_what_is_needless_is_given_no_more_for_it():
    """It counts as the worker's until that answers; then the worker is as free as before."""
    dispatch = crew(a=1)
    dispatch.add(1, batch_of(0, header=PARTS), None)
    dispatch.assign(0)
    dispatch.withdraw(PARTS, [0])
    dispatch.add(1, batch_of(1, header=PARTS), None)
    assert dispatch.assign(1)[0] == []
    dispatch.answered(A, PARTS, [0])
    assert given_to(dispatch.assign(2)[0], A) == [1]


@pytest.mark.parametrize("died", [True, False])
def test_what_is_needless_goes_with_its_worker(died: bool):
    """Nobody else runs it."""
    dispatch = crew(a=1)
    dispatch.add(1, batch_of(0, header=PARTS), None)
    dispatch.assign(0)
    dispatch.withdraw(PARTS, [0])
    assert dispatch.lost(A, died=died) == ([], [])
    dispatch.wants(B, 1)
    assert dispatch.assign(1)[0] == [] and dispatch._rows == {}


def test_what_is_needless_and_never_reached_its_worker_is_over():
    """Where it bounced; or where the worker says later that it has nothing."""
    dispatch = crew(a=2)
    dispatch.add(1, batch_of(0, 1, header=PARTS), None)
    dispatch.assign(100)
    dispatch.withdraw(PARTS, [0, 1])
    dispatch.returned(A, PARTS, [0])
    assert dispatch.workers[A].has == 1
    dispatch.is_idle(A, before=100)
    assert dispatch.workers[A].has == 1, "it may be on its way"
    dispatch.is_idle(A, before=101)
    assert dispatch.workers[A].has == 0 and dispatch._rows == {}


# -- how much a worker asks for ---------------------------------------------------------------------------------------


def paced(service: int, *, least: int = 1, times: int = 20) -> Credit:
    credit = Credit(least)
    credit.began(0)
    for n in range(1, times + 1):
        credit.ended(1, n * service, idle=False)
    return credit


def test_a_slow_worker_asks_for_less():
    """In proportion to its pace, and always for something."""
    assert Credit().size == FIRST
    assert paced(10_000_000_000).size == 1
    assert paced(2 * MS).size == 21
    assert paced(4 * MS).size == 11
    assert paced(10).size == MOST


def test_a_far_worker_asks_for_more():
    """What is under way must last for the way there and back."""
    credit = paced(2 * MS)
    credit.took(20 * MS)
    credit.ended(1, 42 * MS, idle=False)
    assert credit.size == 31


def test_time_without_work_is_no_pace():
    """A worker that waited an hour for its next message is as fast as before."""
    credit = paced(2 * MS)
    credit.ended(1, 42 * MS, idle=True)
    credit.began(3_600_000 * MS)
    credit.ended(1, 3_600_002 * MS, idle=True)
    assert credit.size == 21


# -- terms ------------------------------------------------------------------------------------------------------------


def test_a_mandate_ends_with_its_time_or_with_a_later_term():
    """By its own clock, and by what it hears; an older word is not taken."""
    mandate = Mandate()
    assert mandate.take(5, 100, 0)
    assert mandate.holds(99) and not mandate.holds(100)
    assert not mandate.heard_of(4)
    assert mandate.heard_of(6)
    assert not mandate.holds(50)
    assert not mandate.take(5, 200, 60)


def test_an_election_that_is_heard_of_too_late_gives_no_mandate():
    """A process that slept between asking and hearing does not lead."""
    mandate = Mandate()
    assert not mandate.take(5, 100, 100)
    assert not mandate.holds(101)
