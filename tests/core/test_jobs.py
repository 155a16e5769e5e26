"""A job's table of flights: where each message is, and when it is to be sent again."""

from __future__ import annotations

from palm.core.jobs import RETRY_AFTER, Flight, Job, Waiting
from palm.core.links import Link
from palm.core.window import Window
from tests.core.cast import FIRST, JOB, instance_of

S = 1_000_000_000


def job_with(count: int, *, deadline: int | None = None) -> tuple[Job, Link]:
    job = Job(JOB, FIRST, Window(100, 1 << 20), deadline, False, 0)
    job.demanded = count
    job.accept([b"x"] * count, 0)
    return job, Link(instance_of("one"), 0)


def fly(job: Job, link: Link, *sequences: int, attempt: int = 1, now: int = 0) -> Flight:
    return job.depart(Waiting(sequences, attempt, None), list(sequences), link, now)


def test_retries_are_due_after_5_10_and_20_seconds() -> None:
    """Waits double from attempt to attempt, and stay at the last."""
    for attempt, seconds in ((1, 5), (2, 10), (3, 20), (4, 20), (12, 20)):
        job, link = job_with(1)
        flight = fly(job, link, 0, attempt=attempt, now=S)
        assert job.due() == S + seconds * S
        assert job.overdue(S + seconds * S - 1) == []
        assert job.overdue(S + seconds * S) == [flight]


def test_an_overdue_flight_is_named_once() -> None:
    """Who asks again at the same moment hears of it no more."""
    job, link = job_with(2)
    flight = fly(job, link, 0, 1)
    assert job.overdue(RETRY_AFTER) == [flight] and job.overdue(RETRY_AFTER) == []


def test_a_flight_that_has_all_its_answers_is_never_due() -> None:
    """Ended messages leave their flight; an empty one has no deadline."""
    job, link = job_with(3)
    fly(job, link, 0, 1, 2)
    job.end([0, 1])
    assert job.due() == RETRY_AFTER and link.outstanding == 1
    job.end([2])
    assert job.due() is None and job.overdue(RETRY_AFTER) == [] and link.outstanding == 0


def test_recall_takes_back_what_has_not_ended() -> None:
    """Each unended message once; it waits nowhere until it departs again, and is not counted for the link."""
    job, link = job_with(3)
    flight = fly(job, link, 0, 1, 2)
    job.end([1])
    assert job.recall(flight) == [0, 2] and job.recall(flight) == []
    assert link.outstanding == 0 and job.flights() == [] and len(job.rows) == 2


def test_a_message_that_flew_again_is_not_recalled_with_its_first_flight() -> None:
    """It belongs to its newest flight only."""
    job, link = job_with(2)
    first = fly(job, link, 0, 1)
    assert [group.sequences for group in job.take_back([1])] == [[1]]
    second = fly(job, link, 1, attempt=2)
    assert job.recall(first) == [0] and job.recall(second) == [1]


def test_take_back_groups_by_flight_and_passes_over_what_is_not_flying() -> None:
    """Messages of two flights come in two groups that remember attempt and link; ended and waiting ones in none."""
    job, link = job_with(5)
    fly(job, link, 0, 1)
    fly(job, link, 2, 3, attempt=2)
    job.end([0])
    groups = job.take_back([0, 1, 2, 4])
    assert [(group.sequences, group.attempt, group.before) for group in groups] == [([1], 1, link), ([2], 2, link)]
    assert link.outstanding == 1 and job.take_back([1, 2]) == []


def test_the_watermark_stands_before_the_first_message_that_has_not_ended() -> None:
    """It moves over gaps as they close, up to what was sent."""
    job, link = job_with(4)
    fly(job, link, 0, 1, 2, 3)
    job.end([1, 2])
    assert job.watermark == 0
    job.end([0])
    assert job.watermark == 3
    job.end([3])
    assert job.watermark == 4
    job.accept([b"y"], 0)
    assert job.watermark == 4


def test_deadlines_are_due_and_name_what_has_not_ended() -> None:
    """Each message has its time from its own sending; what ended in time is not named."""
    job, link = job_with(2, deadline=3 * S)
    job.demanded = 1
    job.accept([b"z"], S)
    fly(job, link, 0, 1, 2)
    job.end([0])
    assert job.due() == 3 * S
    assert job.expired(3 * S - 1) == [] and job.expired(3 * S) == [1]
    job.end([1])
    assert job.due() == 4 * S and job.expired(4 * S) == [2]


def test_a_deadline_of_messages_that_all_ended_wakes_nobody() -> None:
    """No deadline is left once its messages are gone."""
    job, link = job_with(2, deadline=3 * S)
    fly(job, link, 0, 1)
    job.end([0, 1])
    assert job.due() is None


def test_held_bytes_follow_the_payloads() -> None:
    """Counted when accepted, given back at the end."""
    job, link = job_with(3)
    assert job.held_bytes == 3
    fly(job, link, 0, 1, 2)
    job.end([0, 2])
    assert job.held_bytes == 1 and sorted(job.payloads) == [1]


def test_waiting_on_gives_a_flight_its_time_once_more() -> None:
    """The same flight, due again one interval later."""
    job, link = job_with(1)
    flight = fly(job, link, 0)
    assert job.overdue(RETRY_AFTER) == [flight]
    job.wait_on(flight, RETRY_AFTER)
    assert job.due() == 2 * RETRY_AFTER and job.overdue(2 * RETRY_AFTER) == [flight]
