"""One scenario file, two worlds: the same checks hold of the simulator and of real processes, and break in both."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
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
LOST_WITH_AN_INSTANCE = "job.suspects.append(Waiting([sequence], flight.attempt + 1, flight.expires))\n"
ANYBODYS_ANSWER = (
    "            if piece is None or piece.worker != worker:\n                continue\n            assert",
    "            assert",
)
TWINS = [
    # An overdue message is sent again.
    ("one-way", client, NO_RETRY, "", "exactly-once"),
    # The same, where connections break.
    ("connections", client, NO_RETRY, "", "exactly-once"),
    # What a dead instance had is sent to another.
    ("processes", client, LOST_WITH_AN_INSTANCE, "pass\n", "exactly-once"),
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


AT_ONCE = 2
"""Real runs are mostly waiting: for leases, for a rate, for what comes after a fault."""


def not_held(result: RealResult) -> list[str]:
    return [f"{one.check}: {one.why}" for one in result.checks if one.verdict is not Verdict.HOLDS]


def twins_process(module: ModuleType, line: str, instead: str) -> list[str]:
    return [sys.executable, "-m", "tests.support.real_twin", module.__name__, line, instead]


def shorter(path: Path, folder: Path) -> Path:
    """The same file with less time for what is to come in the end, for a run in which it does not."""
    short = folder / path.name
    short.write_text(path.read_text().replace("limit: 60s, settle: 30s", "limit: 14s, settle: 4s"))
    (folder / "examples").symlink_to(ROOT / "examples")
    return short


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[RealResult]]]:
    """Every real run of this file, some at a time, by name."""
    one_way = FOLDER / "one-way.yaml"
    short = shorter(one_way, tmp_path_factory.mktemp("short"))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        runs = {"partition": pool.submit(run_real, load(PARTITION), str(PARTITION), 7, scale=0.45)}
        for name in NAMES:
            path = FOLDER / f"{name}.yaml"
            runs[name] = pool.submit(run_real, load(path), str(path), load(path).runs.seeds.pinned[0])
        no_retry = twins_process(client, NO_RETRY, "")
        no_memory = twins_process(client, DEDUP, "    if False:\n")
        runs["no retries"] = pool.submit(run_real, load(short), str(short), 7, command=no_retry)
        runs["no memory"] = pool.submit(run_real, load(one_way), str(one_way), 7, command=no_memory)
        yield runs
        for run_ in runs.values():
            run_.cancel()


@pytest.mark.parametrize("name", NAMES)
def test_the_scenario_holds_in_both_worlds(name: str, real: dict[str, Future[RealResult]]) -> None:
    """The same checks, in the same order, all hold; and both ledgers are exact."""
    scenario = load(FOLDER / f"{name}.yaml")
    simulated = [run(scenario, seed) for seed in scenario.runs.seeds.pinned]
    result = real[name].result()
    assert not_held(result) == [] and result.skipped == () and result.impossible == ()
    assert [one.check for one in result.checks] == [one.check for one in simulated[0].checks]
    count = sum(job.messages.count for job in scenario.load)
    for one in simulated:
        assert one.verdict is Verdict.HOLDS
    for ledger in (result.ledger, *(one.ledger for one in simulated)):
        assert ledger.adds_up and ledger.delivered == ledger.sent == count


def test_the_partition_loses_nothing_on_real_processes(real: dict[str, Future[RealResult]]) -> None:
    """Less than half of the first scenario: cuts, a crash, a freeze and the end of etcd, for real."""
    result = real["partition"].result()
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


def test_without_retries_messages_are_lost_on_real_processes(real: dict[str, Future[RealResult]]) -> None:
    """The twin of the one-way cut breaks there as it does in the simulator, and by the same check."""
    result = real["no retries"].result()
    broken = [one.check for one in result.checks if one.verdict is Verdict.BROKEN]
    assert "exactly-once" in broken and "drained" in broken
    assert result.ledger.adds_up and result.ledger.in_flight > 0


def test_an_error_of_palms_own_ends_a_run_on_real_processes(real: dict[str, Future[RealResult]]) -> None:
    """A client that has no memory of what has ended falls over a doubled answer; the error names the process."""
    with pytest.raises(HarnessError, match=r"client@edge: KeyError"):
        real["no memory"].result()
