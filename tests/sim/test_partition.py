"""The first scenario: it holds, it replays, and it breaks when what protects it is taken out."""

from __future__ import annotations

from pathlib import Path

import pytest

from palm.core import client as client_module
from palm.errors import HarnessError
from palm.sim.checkers import Verdict
from palm.sim.scenario.scenario import Scenario, load
from palm.sim.simulation import Result, run
from tests.support.twin import twin

ROOT = Path(__file__).parents[2]
PARTITION = ROOT / "scenarios" / "partition.yaml"

DEDUP = "    if not all(map(rows.__contains__, sequences)) or len(set(sequences)) < len(sequences):\n"
"""The client drops what has ended already."""


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return load(PARTITION)


@pytest.fixture(scope="module")
def pinned(scenario: Scenario) -> list[Result]:
    return [run(scenario, seed) for seed in scenario.runs.seeds.pinned]


def test_the_partition_loses_nothing_on_the_pinned_seeds(pinned: list[Result]) -> None:
    """Every expectation of the file holds, and the ledger is exact."""
    for result in pinned:
        assert [check for check in result.checks if check.verdict is not Verdict.HOLDS] == []
        assert result.verdict is Verdict.HOLDS
        assert result.ledger.adds_up and result.ledger.delivered == result.ledger.sent == 5_000


def test_another_seed_gives_another_trace(pinned: list[Result]) -> None:
    """The seed decides the course of events."""
    assert len({result.trace_hash for result in pinned}) == len(pinned)


def test_without_retries_the_partition_loses_messages(scenario: Scenario) -> None:
    """The scenario needs the line by which an overdue message is sent again."""
    line = "        job.waiting.append(Waiting(left, attempt, flight.expires, link))\n"
    with twin(client_module, line, ""):
        result = run(scenario, 7)
    broken = {check.check for check in result.checks if check.verdict is Verdict.BROKEN}
    assert result.verdict is Verdict.BROKEN and "exactly-once" in broken


def test_without_the_memory_of_what_has_ended_the_partition_breaks(scenario: Scenario) -> None:
    """The scenario needs the line by which the client drops what it already has."""
    with twin(client_module, DEDUP, "    if False:\n"), pytest.raises(HarnessError, match="KeyError"):
        for seed in (2, 4, 5, 8):  # not in every course of events does an answer come twice
            run(scenario, seed)


def test_the_fault_free_twin_of_a_twin_holds(scenario: Scenario) -> None:
    """A twin changes what it says and nothing else: with the same line put back, the run is the same."""
    with twin(client_module, DEDUP, DEDUP):
        result = run(scenario, 7)
    assert result.verdict is Verdict.HOLDS
