"""The instruments of the container tests see what they are there to see."""

from __future__ import annotations

import pytest

from tests.support.chaos import ACTIONS, script
from tests.support.containers import Event
from tests.support.witness import differences, unkept

HISTORY = [Event(revision=number, deleted=False, key="k", value=b"%d" % number) for number in range(2, 6)]


def test_a_watcher_that_saw_all_once_in_order_differs_in_nothing() -> None:
    """The same sequence is no difference."""
    assert differences(HISTORY, list(HISTORY)) == []


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ("lost", HISTORY[:2] + HISTORY[3:]),
        ("doubled", HISTORY[:2] + HISTORY[1:]),
        ("out of order", [HISTORY[1], HISTORY[0], *HISTORY[2:]]),
        ("invented", [*HISTORY, Event(revision=9, deleted=True, key="k", value=b"")]),
    ],
)
def test_each_way_of_being_wrong_is_named(fault: str, seen: list[Event]) -> None:
    """An event lost, doubled, out of order or invented is found, and only that."""
    assert {line.startswith(fault) for line in differences(HISTORY, seen)} == {True}


def test_a_confirmed_write_that_is_not_in_the_history_is_found() -> None:
    """A confirmed write at another revision counts as missing."""
    missing = Event(revision=7, deleted=False, key="k", value=b"7")
    assert len(unkept(HISTORY, {2: HISTORY[0], 7: missing})) == 1


def test_a_script_of_faults_follows_from_its_seed() -> None:
    """Same seed, same script; another seed, another one; every action early in each."""
    assert script(1, 3, 90) == script(1, 3, 90) != script(2, 3, 90)
    assert {fault.action for fault in script(1, 3, 90)[:3]} == set(ACTIONS)
    assert sum(fault.for_s + fault.then_rest_s for fault in script(1, 3, 90)) >= 90
