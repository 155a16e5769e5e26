"""Planted bugs, and whether the shipped scenarios find them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from palm.errors import HarnessError
from palm.testing import score as score_module
from palm.testing.planted import PLANTED, Planted
from palm.testing.score import CONTROL, score

ROOT = Path(__file__).parents[2] / "scenarios"

pytestmark = pytest.mark.timeout(600)  # whole runs, on a machine that others may use


def test_every_planted_bug_is_found_and_nothing_else_is() -> None:
    """Each by one seed of the scenarios that name it; the same runs without it hold."""
    *rows, control = score(ROOT, seeds=1, jobs=len(os.sched_getaffinity(0)))
    assert [row.name for row in rows if not row.found] == [] and len(rows) == len(PLANTED) >= 20
    assert control.name == CONTROL
    assert {case: answer for case, answer in control.answers.items() if answer.how != "holds"} == {}


def test_a_bug_whose_line_is_gone_is_an_error() -> None:
    """The table cannot rot: it names the bug and the line."""
    gone = Planted("gone", "palm.core.window", "    no such line\n", "", "nothing", ())
    with pytest.raises(ValueError, match="planted bug gone: palm.core.window holds '    no such line"), gone.in_place():
        pass


def test_a_run_that_does_not_end_is_stopped_and_counts_as_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a bug does, the score goes on."""
    monkeypatch.setattr(score_module, "RUN_LIMIT_S", 0.5)
    monkeypatch.setattr(score_module, "_run_case", _linger)
    [row, _] = score(ROOT, seeds=1, jobs=1, bugs=[Planted("x", "", "", "", "", ("flow/zip.yaml",))])
    assert [answer.what for answer in row.answers.values()] == ["did not end within 0 s"]


def _linger(*given: object) -> None:
    signal.pause()


def test_a_process_that_dies_counts_as_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """And says how it ended."""
    monkeypatch.setattr(score_module, "_run_case", _die)
    [row, _] = score(ROOT, seeds=1, jobs=1, bugs=[Planted("x", "", "", "", "", ("flow/zip.yaml",))])
    assert [answer.what for answer in row.answers.values()] == ["the process ended with exit code 7"]


def _die(*given: object) -> None:
    os._exit(7)


def test_a_bug_that_cannot_be_planted_stops_the_score(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the harness's failure, not a find."""
    monkeypatch.setattr(score_module, "_run_case", _refuse)
    with pytest.raises(HarnessError, match="no line"):
        list(score(ROOT, seeds=1, jobs=1, bugs=[Planted("x", "", "", "", "", ("flow/zip.yaml",))]))


def _refuse(end: score_module.Connection, *given: object) -> None:
    end.send(score_module.Answer("no run", "no line"))


def test_score_needs_the_scenarios_directory(tmp_path: Path) -> None:
    """Else one line, and exit code 3."""
    words = [sys.executable, "-m", "palm", "simulate", "--score", str(tmp_path / "none")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 3 and "--score needs the directory of PALM's own scenarios" in done.stderr
    assert done.stderr.count("\n") == 1
