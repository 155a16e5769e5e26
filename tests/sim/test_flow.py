"""The scenarios of fan-out, filters and joins: they break when what protects them is taken out."""

from __future__ import annotations

import uuid
from pathlib import Path
from types import ModuleType

import pytest

from palm import RegisteredServer
from palm.core import client as client_module
from palm.core import onward as onward_module
from palm.core import share as share_module
from palm.errors import HarnessError
from palm.runtime import invoke as invoke_module
from palm.sim.checkers import Verdict
from palm.sim.scenario.scenario import load
from palm.sim.simulation import Result, run
from palm.testing.simulate import simulate
from tests.support.twin import twin

PARTS = 200
"""More than fit in one frame, so that some of them arrive and others do not."""

FLOW = Path(__file__).parents[2] / "scenarios" / "flow"


def run_of(name: str, seed: int = 3) -> Result:
    return run(load(FLOW / f"{name}.yaml"), seed)


def test_fan_out_needs_the_look_whether_a_message_has_ended() -> None:
    """Parts that come after their message has ended would end it twice."""
    line = "        if sequence not in job.rows or sequence in ends or not isinstance(part, Part):\n"
    with twin(client_module, line, line.replace("sequence not in job.rows or ", "")):
        with pytest.raises(HarnessError, match="KeyError"):
            run_of("fan-out")


def test_filters_need_the_word_that_nothing_came_of_it() -> None:
    """What is filtered out and not said to be would never end."""
    line = "        return Status.EMPTY if self.consume else outcome\n"
    instead = "        return Status.CANCELLED if outcome is Status.EMPTY else outcome\n"
    assert broken_without(invoke_module, line, instead, "filter") is Verdict.BROKEN


def test_zips_need_one_place_to_meet() -> None:
    """Branches that choose the instance by what they have heard last do not meet."""
    line = "        link = meeting_place(batch.header.job, links.values(), function)\n"
    instead = "        link = max(links.values(), key=lambda link: link.heard_at, default=None)\n"
    assert broken_without(onward_module, line, instead, "zip") is Verdict.BROKEN


def broken_without(module: ModuleType, line: str, instead: str, name: str) -> Verdict | None:
    with twin(module, line, instead):
        return run_of(name).verdict


class Marked(RegisteredServer):
    """Marks each of its parts with the execution that made it."""

    def split(self, message):
        mark = uuid.uuid4().bytes
        for number in range(PARTS):
            yield mark + message + b"%d" % number

    def on(self, message):
        return message


def marks_of_messages(seed: int) -> list[set[bytes]]:
    """For each message, the executions that its results are of: splitters die while parts are on their way."""
    with simulate(Marked, name="split", instances=3, seed=seed, service_s=0.002) as sim:
        sim.serve(Marked, name="on", instances=2, service_s=0.001)
        client = sim.client()
        for moment, name in ((0.30, "split[0]"), (0.31, "on[0]"), (0.60, "split[1]")):
            sim.at(moment, lambda name=name: sim.crash(name))  # type: ignore[misc]  # bound now
        job = client.job([b"%03d" % number for number in range(20)], ["split.split", "on.on"], ordered=True)
        results = list(client.submit())
        assert job.ledger.delivered == 20 and len(results) == 20 * PARTS
    return [{part[:16] for part in results[first : first + PARTS]} for first in range(0, len(results), PARTS)]


def test_a_retry_that_splits_anew_is_never_mixed_with_what_came_before() -> None:
    """All results of one message are of one execution, though others of its parts had arrived."""
    for seed in range(4):
        assert all(len(marks) == 1 for marks in marks_of_messages(seed))


def test_without_the_execution_in_the_path_two_attempts_are_mixed() -> None:
    """The line that this rests on: parts are told apart by the execution that made them."""
    with twin(share_module, "            key = (step.fork, step.parts)\n", "            key = (0, step.parts)\n"):
        assert any(len(marks) > 1 for seed in range(4) for marks in marks_of_messages(seed))
