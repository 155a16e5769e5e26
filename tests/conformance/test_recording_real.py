"""A recording of real processes shows what they did: the links, service times and processor time that were laid upon
them are those that a calibration finds."""

from __future__ import annotations

from pathlib import Path

import pytest

from palm.observe.record import read
from palm.sim.calibrate import as_yaml, calibrate
from palm.sim.checkers import Verdict
from palm.sim.scenario.scenario import load, parse
from palm.testing.real.run import run_real

pytestmark = pytest.mark.conformance

MS = 1_000_000
COUNT = 150

SERVER = """
from palm import RegisteredServer

class Work(RegisteredServer):
    def work(self, message: bytes) -> bytes:
        return message
"""

SCENARIO = """# What this proves: nothing by itself.
palm: scenario/1
name: recorded
about: Known times.
runs: {worlds: [sim, real]}
clock: {limit: 60s}
world:
  hosts: {edge: {}, one: {}}
  servers:
    work: {run: "work.py:Work", host: one, functions: [work], service: 4ms, cpu: {handling: 3ms}}
links:
  - {between: edge <-> one, delay: 30ms}
load:
  - {id: main, client: edge, route: [work.work], messages: {count: COUNT, sizes: 20B}, window: 8}
"""


def test_a_calibration_finds_the_times_that_a_real_run_was_given(tmp_path: Path) -> None:
    """Links of 30 ms, 4 ms of waiting and 3 ms of computing for each handling: each at its place, however busy the
    machine is; and the fragment runs."""
    (tmp_path / "work.py").write_text(SERVER)
    path, recording = tmp_path / "recorded.yaml", tmp_path / "run.jsonl"
    path.write_text(SCENARIO.replace("COUNT", str(COUNT)))
    result = run_real(load(path), str(path), 1, record=str(recording))
    assert result.verdict is Verdict.HOLDS
    with open(recording, "rb") as lines:
        found = calibrate(read({"run.jsonl": lines}))
    assert found.links is not None and found.local is None
    assert 30 * MS <= found.links.measured(0.5) < 50 * MS
    work = found.servers["work"]
    assert len(work.service.samples) == COUNT
    assert 4 * MS <= work.service.measured(0.5) < 8 * MS
    assert work.handling is not None
    assert work.handling.measured(0.5) == pytest.approx(3 * MS, rel=0.2)
    assert found.clients is not None and found.clients.frame + found.clients.message > 0
    (tmp_path / "fit.yaml").write_text(as_yaml(found))
    own = ", service: 4ms, cpu: {handling: 3ms}"
    assert own in SCENARIO
    again = path.read_text().replace(own, "").replace("clock:", "calibration: fit.yaml\nclock:")
    taken = parse(again, str(path)).world.servers["work"]
    assert taken.cpu.handling.sample(0.5) == pytest.approx(work.handling.best.at(0.5), rel=1e-3)
    assert taken.cpu.frame == pytest.approx(work.cost.frame, rel=1e-3)
