"""How messages end other than by their result, and instances other than by a crash: the scenarios, and their twins."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from palm.core import client as client_module
from palm.errors import HarnessError
from palm.runtime import invoke as invoke_module
from palm.runtime import results as results_module
from palm.runtime import serving as serving_module
from palm.sim.checkers import Verdict
from palm.sim.scenario.scenario import load
from palm.sim.simulation import Result, run
from tests.support.twin import twin

FOLDER = Path(__file__).parents[2] / "scenarios"


TRAVEL = 20_000_000
"""The time left is counted from each arrival."""


def run_of(name: str, seed: int | None = None) -> Result:
    scenario = load(FOLDER / f"{name}.yaml")
    return run(scenario, scenario.runs.seeds.pinned[0] if seed is None else seed)


def test_without_the_look_whether_a_message_has_ended_a_late_answer_is_taken() -> None:
    """After the cancel: the client falls over it."""
    line = "    if not all(map(rows.__contains__, sequences)) or len(set(sequences)) < len(sequences):\n"
    with twin(client_module, line, "    if len(rows) < 0:\n"), pytest.raises(HarnessError):
        run_of("ends/cancel")


def late(result: Result) -> list[int]:
    """Messages that user code began with after they had expired at their client, travel aside."""
    expired = {e.sequence: e.at for e in result.history.entries if e.kind.value == "expired"}
    return [
        e.sequence
        for e in result.history.entries
        if e.kind.value == "handling" and e.server == "count" and e.at > expired.get(e.sequence, e.at) + TRAVEL
    ]


def test_what_has_expired_in_a_queue_is_not_run() -> None:
    """Nothing begins after its time; without the look at the time left, most of the queue does."""
    assert late(run_of("ends/deadline")) == []
    line = "        return expires is not None and self._host.now() >= expires\n"
    with twin(invoke_module, line, "        return False\n"):
        assert len(late(run_of("ends/deadline"))) > 20


def test_nothing_of_a_torn_message_reaches_the_next_stage() -> None:
    """A message is worked on there or has failed, never both; where results went on before the end, some do both."""

    def both(result: Result) -> set[int]:
        entries = result.history.entries
        failed = {e.sequence for e in entries if e.kind.value == "failed"}
        return failed & {e.sequence for e in entries if e.kind.value == "handling" and e.server == "clean"}

    assert both(run_of("ends/torn")) == set()
    each = "            for each in result:\n                gathered.add(each)\n        else:"
    torn = "            try:\n                for each in result:\n                    gathered.add(each)\n"
    torn += "            except ValueError:\n                pass\n        else:"
    with twin(results_module, each, torn):
        assert run_of("ends/torn").verdict is not Verdict.HOLDS


TWINS: list[tuple[str, ModuleType, str, str, str]] = [
    # The wait for what was taken.
    (
        "restart/rolling",
        serving_module,
        "        begin = self.host.now()\n        until",
        "        return True\n        begin = 0\n        until",
        "never redelivered job text",
    ),
]


@pytest.mark.parametrize(("name", "module", "line", "instead", "check"), TWINS, ids=[one[0] for one in TWINS])
def test_without_what_protects_it_the_scenario_breaks(
    name: str, module: ModuleType, line: str, instead: str, check: str
) -> None:
    """The line is needed: without it the named check is broken."""
    with twin(module, line, instead):
        result = run_of(name)
    broken = [one.check for one in result.checks if one.verdict is Verdict.BROKEN]
    assert check in broken, result.checks
