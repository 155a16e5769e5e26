"""One scenario file, two worlds: the same checks hold of the simulator and of real processes, and break in both."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from palm.core import client, dispatch
from palm.errors import HarnessError
from palm.runtime import election
from palm.sim.checkers import Verdict
from palm.sim.scenario.scenario import load
from palm.sim.simulation import run
from palm.testing.real.run import RealResult, run_real
from tests.support.twin import twin

pytestmark = pytest.mark.conformance

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "scenarios" / "real"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
PARTITION = ROOT / "scenarios" / "partition.yaml"

NO_RETRY = "        job.waiting.append(Waiting(left, attempt, flight.expires, link))\n"
DEDUP = "    if not all(map(rows.__contains__, sequences)) or len(set(sequences)) < len(sequences):\n"
ANYBODYS_ANSWER = (
    "            if piece is None or piece.worker != worker:\n                continue\n            assert",
    "            assert",
)
TWINS = [
    # An overdue message is sent again.
    ("one-way", client, NO_RETRY, "", "exactly-once"),
    # Who has a message that is given to another one.
    (
        "worker-crash",
        dispatch,
        "            return\n        rows = self._rows[piece.header]\n        rows.update((s",
        "            return\n        rows = self._rows[piece.header]\n        dict().update((s",
        "exactly-once",
    ),
    # Whose answers count.
    ("worker-frozen", dispatch, *ANYBODYS_ANSWER, ""),
    # The watch of the leader's key.
    (
        "leader-crash",
        election,
        "                await self._until_gone(revision)\n",
        "                await self._host.sleep(10**12)\n",
        "exactly-once",
    ),
]


def not_held(result: RealResult) -> list[str]:
    return [f"{one.check}: {one.why}" for one in result.checks if one.verdict is not Verdict.HOLDS]


@pytest.mark.parametrize("name", NAMES)
def test_the_scenario_holds_in_both_worlds(name: str) -> None:
    """The same checks, in the same order, all hold; and both ledgers are exact."""
    path = FOLDER / f"{name}.yaml"
    scenario = load(path)
    seeds = scenario.runs.seeds.pinned
    simulated = [run(scenario, seed) for seed in seeds]
    real = run_real(scenario, str(path), seeds[0])
    assert not_held(real) == [] and real.skipped == ()
    assert [one.check for one in real.checks] == [one.check for one in simulated[0].checks]
    count = scenario.load[0].messages.count
    for result in simulated:
        assert result.verdict is Verdict.HOLDS
    for ledger in (real.ledger, *(result.ledger for result in simulated)):
        assert ledger.adds_up and ledger.delivered == ledger.sent == count


def test_the_partition_loses_nothing_on_real_processes() -> None:
    """Less than half of the first scenario: cuts, a crash, a freeze and the end of etcd, for real."""
    result = run_real(load(PARTITION), str(PARTITION), 7, scale=0.45)
    assert not_held(result) == []
    assert result.ledger.adds_up and result.ledger.delivered == result.ledger.sent == 2250


@pytest.mark.parametrize(("name", "module", "line", "instead", "check"), TWINS, ids=[one[0] for one in TWINS])
def test_without_what_protects_it_the_scenario_breaks(
    name: str, module: ModuleType, line: str, instead: str, check: str
) -> None:
    """In the simulator; where no check is named, the run falls over."""
    scenario = load(FOLDER / f"{name}.yaml")
    with twin(module, line, instead):
        if not check:
            with pytest.raises(HarnessError):
                run(scenario, scenario.runs.seeds.pinned[0])
            return
        result = run(scenario, scenario.runs.seeds.pinned[0])
    assert check in [one.check for one in result.checks if one.verdict is Verdict.BROKEN], result.checks


def twins_process(module: ModuleType, line: str, instead: str) -> list[str]:
    return [sys.executable, "-m", "tests.support.real_twin", module.__name__, line, instead]


def test_without_retries_messages_are_lost_on_real_processes(tmp_path: Path) -> None:
    """The twin of the one-way cut breaks there as it does in the simulator, and by the same check."""
    text = (FOLDER / "one-way.yaml").read_text()
    path = tmp_path / "one-way.yaml"
    path.write_text(text.replace("limit: 60s, settle: 30s", "limit: 14s, settle: 4s"))
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    result = run_real(load(path), str(path), 7, command=twins_process(client, NO_RETRY, ""))
    broken = [one.check for one in result.checks if one.verdict is Verdict.BROKEN]
    assert "exactly-once" in broken and "drained" in broken
    assert result.ledger.adds_up and result.ledger.in_flight > 0


def test_an_error_of_palms_own_ends_a_run_on_real_processes() -> None:
    """A client that has no memory of what has ended falls over a doubled answer; the error names the process."""
    path = FOLDER / "one-way.yaml"
    with pytest.raises(HarnessError, match=r"client@edge: KeyError"):
        run_real(load(path), str(path), 7, command=twins_process(client, DEDUP, "    if False:\n"))
