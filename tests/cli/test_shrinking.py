"""What `palm simulate` makes smaller: also where the harness fails; and which files it leaves behind."""

from __future__ import annotations

import json
from pathlib import Path
from shutil import copy

import pytest

from palm.cli.main import main

ROOT = Path(__file__).parents[2]
CHECKS = """
def falls(history):
    deaths = sum(entry.kind.value == "crashed" for entry in history.entries)
    return "" if 1 / (1 - min(deaths, 1)) else "it cannot be"
"""
SMALL = """
palm: scenario/1
name: small
about: A job whose check falls over where somebody died.
clock: {limit: 40s, settle: 20s}
world:
  hosts: {edge: , one: , two: }
  servers:
    clean: {run: "clean.py:Clean", hosts: [one, two]}
load:
  - {id: main, client: edge, route: [clean.line], messages: {count: 120, payload: words}, rate: 40/s}
FAULTS
expect:
  finally: [{check: custom, run: "checks.py:falls"}]
"""
SCRIPT = """script:
  - {id: slow, at: 1s, do: slow, link: "edge <-> one", by: 2ms, for: 1s}
  - {id: jump, at: 1500ms, do: jump-clock, who: "clean[0]", by: 1h}
  - {id: kill, at: 2s, do: crash, who: "clean[1]"}
  - {id: over, after: {step: kill, plus: 2s}, do: restart, who: "clean[1]"}"""
CHAOS = "chaos: {mix: {crash: 1, jump-clock: 1}, swarm: false, budget: {total: 4, gap: 200ms}, until: 4s}"
CRASHED = """expect:
  faults: may-miss
  never: [{seen: crashed}]
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    copy(ROOT / "examples" / "text" / "clean.py", tmp_path)
    (tmp_path / "checks.py").write_text(CHECKS)
    path = tmp_path / "small.yaml"
    path.write_text(SMALL.replace("FAULTS", SCRIPT))
    return path


def found_beside(path: Path) -> list[Path]:
    return sorted((path.parent / "found").iterdir()) if (path.parent / "found").exists() else []


@pytest.mark.parametrize("which", [["--seed", "5", "--shrink"], ["--seeds", "5..6"]])
def test_a_run_that_the_harness_fails_in_is_made_smaller_too(
    which: list[str], small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Verdict 3, the fault and the message that it takes, and a file that fails in the same way; also by itself, after
    a sweep."""
    assert main(["simulate", str(small), *which, "--jobs", "1"]) == 3
    shown = capsys.readouterr()
    assert "check falls raised ZeroDivisionError: division by zero (" in shown.out + shown.err
    assert "shrunk  3 faults to 1, 120 messages to 1, 2 processes to 1" in shown.out
    assert "FAILED  the harness (ZeroDivisionError at checks.py:4)" in shown.out
    assert "nearest passing run: without kill; " in shown.out and "Traceback" not in shown.out + shown.err
    [found] = found_beside(small)
    assert found.name.startswith("harness-") and "do: crash" in found.read_text()
    assert main(["simulate", str(found)]) == 3
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_without_being_asked_to_a_single_run_that_fails_is_only_said(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, and nothing is written."""
    assert main(["simulate", str(small), "--seed", "5"]) == 3
    assert capsys.readouterr().err.count("\n") == 1 and not found_beside(small)


def test_what_is_no_run_at_all_is_not_shrunk_and_says_so(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A server file that does not load has nothing that could become smaller."""
    server = small.parent / "clean.py"
    server.write_text(server.read_text() + "\n1 / 0\n")
    assert main(["simulate", str(small), "--seeds", "5..6", "--jobs", "1"]) == 3
    shown = capsys.readouterr()
    assert "does not load: ZeroDivisionError" in shown.out and "not shrunk: there is no run" in shown.err


@pytest.mark.parametrize("asked", [["--seed", "5", "--shrink"], ["--seeds", "5..6"]])
def test_of_a_broken_chaos_run_only_the_smallest_file_stays(
    asked: list[str], small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was drawn is not kept beside it."""
    small.write_text(SMALL.replace("FAULTS", CHAOS).partition("expect:")[0] + CRASHED)
    assert main(["simulate", str(small), *asked, "--jobs", "1"]) == 1
    assert "holds it as a plain scenario" not in capsys.readouterr().out
    [found] = found_beside(small)
    assert found.name.startswith("never-crashed-") and "chaos:" not in found.read_text()


def test_a_broken_chaos_run_that_is_not_shrunk_is_kept_whole(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As a plain scenario, which breaks in the same way."""
    small.write_text(SMALL.replace("FAULTS", CHAOS).partition("expect:")[0] + CRASHED)
    assert main(["simulate", str(small), "--seed", "5"]) == 1
    assert "holds it as a plain scenario" in capsys.readouterr().out
    [found] = found_beside(small)
    assert found.name == "small-5.yaml" and main(["simulate", str(found), "--seed", "5"]) == 1


def test_a_harness_that_fails_is_shrunk_to_a_line_of_json(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where it was asked for."""
    assert main(["simulate", str(small), "--seed", "5", "--shrink", "--json", "--jobs", "1"]) == 3
    told = json.loads(capsys.readouterr().out)
    assert told["check"] == "harness" and told["faults"] == 1 and Path(told["shrunk"]).exists()
