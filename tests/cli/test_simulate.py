"""`palm simulate`: what it prints is an interface, and its exit code is the verdict."""

from __future__ import annotations

import json
from pathlib import Path
from shutil import copy

import pytest

from palm.cli.main import main

ROOT = Path(__file__).parents[2]
SMALL = """
palm: scenario/1
name: small
about: A short job in fair weather.
clock: {limit: 30s}
world:
  hosts: {edge: , one: }
  servers:
    clean: {run: "clean.py:Clean", hosts: [one]}
load:
  - {id: main, client: edge, route: [clean.line], messages: {count: 200, payload: words}}
expect:
  finally: [{check: exactly-once, job: main}, {check: latency, job: main, p99: 5s}]
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    copy(ROOT / "examples" / "text" / "clean.py", tmp_path)
    return path


def test_json_is_one_object_a_seed(small: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The keys that the interface names, on a line of its own for each seed; and the trace where it was asked for."""
    assert main(["simulate", str(small), "--seeds", "1..3", "--json", "--trace", str(tmp_path / "trace")]) == 0
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["seed"] for one in shown] == [1, 2, 3]
    assert len({one["trace_hash"] for one in shown}) == 3
    for one in shown:
        assert list(one) == [
            "scenario", "seed", "verdict", "checks", "trace_hash", "events", "simulated_s", "wall_s", "ledger"
        ]  # fmt: skip
        assert one["verdict"] == "holds" and one["ledger"]["delivered"] == 200
        assert all(list(check) == ["check", "verdict", "why"] for check in one["checks"])
    assert all(json.loads(line)["hash"] for line in (tmp_path / "trace").read_text().splitlines())


def test_the_report_begins_with_the_command_that_reproduces_it(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For people: replay line, verdict, figures."""
    assert main(["simulate", str(small), "--seed", "7"]) == 0
    first, second, *rest = capsys.readouterr().out.splitlines()
    assert first == f"palm simulate {small} --seed 7" and second.startswith("HOLDS")
    assert "delivered 200" in rest[-2] and "trace" in rest[-1]


def test_a_broken_expectation_is_exit_code_1(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A latency that cannot be kept."""
    small.write_text(SMALL.replace("p99: 5s", "p99: 1ns"))
    assert main(["simulate", str(small)]) == 1
    assert "BROKEN" in capsys.readouterr().out


def test_too_few_messages_to_tell_are_exit_code_2(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A p99 of fifty messages is no p99: neither holds nor broken."""
    small.write_text(SMALL.replace("count: 200", "count: 50"))
    assert main(["simulate", str(small)]) == 2
    assert "INCONCLUSIVE" in capsys.readouterr().out


def test_a_mistake_in_the_file_is_one_line_and_exit_code_3(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """File, line, key, and what was meant."""
    small.write_text(SMALL.replace("count: 200", "cuont: 200"))
    assert main(["simulate", str(small)]) == 3
    said = capsys.readouterr().err
    assert said.startswith(f"palm simulate: {small}:11: ") and "did you mean 'count'?" in said
    assert said.count("\n") == 1


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No traceback."""
    assert main(["simulate", str(tmp_path / "none.yaml")]) == 3
    assert capsys.readouterr().err.count("\n") == 1


def test_a_sweep_ends_with_its_tally_speed_and_coverage(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Runs that hold are not shown one by one."""
    assert main(["simulate", str(small), "--seeds", "1..4", "--jobs", "1"]) == 0
    tally, speed, coverage = capsys.readouterr().out.splitlines()
    assert tally == "sweep     4 runs of 1 scenarios: 4 hold"
    assert "seeds/s" in speed and "simulated s per s" in speed
    assert coverage.startswith("coverage  ") and "(server, event, fault)" in coverage


def test_a_sweep_stops_at_the_first_broken_run(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is shown whole, with the command that reproduces it; `--keep-going` runs all the others too."""
    small.write_text(SMALL.replace("p99: 5s", "p99: 1ns"))
    assert main(["simulate", str(small), "--seeds", "1..3", "--jobs", "1"]) == 1
    shown = capsys.readouterr().out
    assert shown.startswith(f"palm simulate {small} --seed 1\nBROKEN") and "1 broken, 2 not run" in shown
    assert main(["simulate", str(small), "--seeds", "1..3", "--jobs", "1", "--keep-going"]) == 1
    assert "3 broken" in capsys.readouterr().out


def test_seeds_from_a_commit_are_other_seeds(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As many as were asked for, the same each time."""
    runs = []
    for _ in range(2):
        assert main(["simulate", str(small), "--seeds", "1..2", "--base", "c0c8a6e", "--json", "--jobs", "1"]) == 0
        runs.append([json.loads(line)["seed"] for line in capsys.readouterr().out.splitlines()])
    assert runs[0] == runs[1] and len(runs[0]) == 2 and min(runs[0]) > 1000


def test_a_scenario_runs_on_real_processes(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--compare` shows the verdict of both worlds for each check, and by how much each figure differs."""
    assert main(["simulate", str(small), "--compare", "--scale", "0.5"]) == 0
    said = capsys.readouterr().out
    assert "small, seed 1: simulated holds, real holds" in said
    assert "same  exactly-once" in said and "simulated: main: 100 sent, each delivered once" in said
    assert "main: in flight p99" in said and "simulator is off by" in said


def test_what_only_the_simulator_sees_is_refused_for_real(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A report of frames exists in the simulator alone; the error says what to do. A recording is of one run."""
    assert main(["simulate", str(small), "--world", "real", "--html", str(small) + ".html"]) == 3
    assert "--html shows what only the simulator sees" in capsys.readouterr().err
    assert main(["simulate", str(small), "--world", "real", "--trace", "t", "--seeds", "1..2"]) == 3
    assert "--trace records one real run" in capsys.readouterr().err


def test_scale_is_for_the_real_world(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A smaller run in the simulator would be another run than the seed's."""
    assert main(["simulate", str(small), "--scale", "0.5"]) == 3
    assert "--world real" in capsys.readouterr().err


def test_without_an_etcd_the_real_world_says_what_to_install(
    small: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way out is in the error."""
    monkeypatch.setenv("PATH", str(small.parent))
    assert main(["simulate", str(small), "--world", "real"]) == 3
    assert "no `etcd` on PATH" in capsys.readouterr().err


CRASH = """script:
  - {id: slow, at: 1s, do: slow, link: "edge <-> one", by: 2ms, for: 1s}
  - {id: kill, at: 2s, do: crash, who: "clean[0]"}
  - {id: over, after: {step: kill, plus: 2s}, do: restart, who: "clean[0]"}
"""


def test_a_broken_sweep_ends_with_the_smallest_scenario_that_breaks(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is left, where to look, and a file that breaks in the same way; `--no-shrink` leaves all of it out."""
    small.write_text(
        SMALL.replace("payload: words}", "payload: words}, rate: 50/s")
        .replace("expect:", CRASH + "expect:")
        .replace("p99: 5s}]", "p99: 25s}]\n  never: [{seen: crashed}]")
    )
    assert main(["simulate", str(small), "--seeds", "1..3", "--jobs", "1", "--no-shrink"]) == 1
    assert "shrunk" not in capsys.readouterr().out
    assert main(["simulate", str(small), "--seeds", "1..3", "--jobs", "1"]) == 1
    shown = capsys.readouterr().out
    assert "shrunk  2 faults to 1, 200 messages to 1, 1 processes to 1" in shown
    assert "BROKEN  never crashed: seen 1 times" in shown and "nearest passing run: without kill; " in shown
    [found] = (small.parent / "found").iterdir()
    assert found.name.startswith("never-crashed-") and f"replay  palm simulate {found}" in shown
    assert main(["simulate", str(found)]) == 1
    assert "never crashed" in capsys.readouterr().out


def test_what_was_shrunk_is_one_more_line_of_json(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where it was asked for."""
    small.write_text(SMALL.replace("p99: 5s", "p99: 1ns"))
    assert main(["simulate", str(small), "--seed", "7", "--shrink", "--json", "--jobs", "1"]) == 1
    broken, shrunk = map(json.loads, capsys.readouterr().out.splitlines())
    assert broken["verdict"] == "broken" and shrunk["check"] == "latency" and shrunk["faults"] == 0
    assert main(["simulate", shrunk["shrunk"]]) == 1
    assert f"trace {shrunk['trace_hash']}" in capsys.readouterr().out


def test_a_found_file_of_an_older_format_is_refused(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With 3, as nothing was judged, and with what to do."""
    small.write_text(SMALL + "found: {format: 0, check: conserved, trace: abc}\n")
    assert main(["simulate", str(small)]) == 3
    assert "expected format 1" in capsys.readouterr().err
