"""The tutorial is true: its files are made, its commands run, and what it says they do is what they do."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TUTORIAL = ROOT / "docs" / "tutorial.md"
_BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
_NAME = re.compile(r"# (\S+\.(?:py|yaml|toml))\n")

# An installed PALM brings the plugin by its entry point; one that is only on the path does not.
PLUGIN = [] if any(one.name == "palm" for one in entry_points(group="pytest11")) else ["-p", "palm.testing.plugin"]


def blocks() -> list[tuple[str, str]]:
    return _BLOCK.findall(TUTORIAL.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every file of the tutorial, and the lines that its scenario sends."""
    folder = tmp_path_factory.mktemp("tutorial")
    for _, text in blocks():
        named = _NAME.match(text)
        if named is not None:
            path = folder / named[1]
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
    (folder / "lines.txt").write_text("".join(f"line {n}\n" for n in range(10)))
    return folder


def command(folder: Path, line: str) -> subprocess.CompletedProcess[str]:
    program, *arguments = line.split()
    module = ["-m", "pytest", *PLUGIN, "-p", "no:cacheprovider"] if program == "pytest" else ["-m", program]
    return subprocess.run(
        [sys.executable, *module, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        timeout=100,
    )


def commands() -> list[str]:
    return [line for kind, text in blocks() if kind == "sh" for line in text.splitlines()]


def test_every_command_of_the_tutorial_is_tested_here() -> None:
    """A command that is added is added here, too."""
    assert commands() == [
        "pytest test_counter.py --palm-seeds 20",
        "pytest test_bad_day.py",
        "pytest test_machine.py",
        "pytest test_mended.py",
        "pytest",
        "palm simulate scenarios/counted.yaml --html report.html",
        "palm simulate scenarios/counted.yaml --guard",
        "pytest test_till.py",
        "pytest test_mended_till.py",
    ]


def test_on_a_good_day_the_buggy_server_passes(folder: Path) -> None:
    """With twenty seeds: twenty tests."""
    done = command(folder, commands()[0])
    assert done.returncode == 0 and "20 passed" in done.stdout, done.stdout


def test_on_a_bad_day_it_fails_and_prints_the_replay(folder: Path) -> None:
    """What the tutorial shows is in what pytest prints; and the replay line makes the same failure again."""
    done = command(folder, commands()[1])
    (shown,) = [text for kind, text in blocks() if kind == "text"]
    assert done.returncode == 1 and all(line in done.stdout for line in shown.splitlines()), done.stdout
    replay = re.search(r"replay: (pytest .*)", done.stdout)
    assert replay is not None
    again = command(folder, replay[1].replace("'", ""))
    found = [re.search(r"trace (\w{32})", one.stdout) for one in (done, again)]
    assert again.returncode == 1 and found[0] is not None and found[1] is not None and found[0][1] == found[1][1]


def test_the_machine_finds_it_by_itself_and_shrinks_it(folder: Path) -> None:
    """What is left is three steps: messages are sent and a server dies, in one order or another."""
    done = command(folder, commands()[2])
    assert done.returncode == 1 and "they were counted as" in done.stdout, done.stdout
    steps = re.findall(r"^E +state\.(\w+)\(", done.stdout, re.MULTILINE)
    rules = [step for step in steps if step not in ("begin", "advance", "the_ledger_is_exact", "teardown")]
    assert len(rules) <= 3 and "send" in rules and {"crash", "restart"} & set(rules), done.stdout


def test_the_mended_server_withstands_drawn_faults(folder: Path) -> None:
    """Hypothesis finds no script of three faults that breaks it."""
    done = command(folder, commands()[3])
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout


def test_the_scenario_is_collected_and_holds(folder: Path) -> None:
    """Three pinned seeds are three tests, named by their seeds, beside the other one."""
    done = command(folder, f"{commands()[4]} -v")
    assert done.returncode == 0 and "4 passed" in done.stdout, done.stdout
    assert "scenarios/counted.yaml::seed-2 PASSED" in done.stdout


def test_a_scenario_that_does_not_hold_says_its_verdict_and_its_replay(folder: Path) -> None:
    """With the buggy server's trouble turned into an expectation that cannot be kept."""
    path = folder / "scenarios" / "late.yaml"
    text = (folder / "scenarios" / "counted.yaml").read_text().replace("name: counted", "name: late")
    path.write_text(text.replace("sometimes: [{seen: redelivered}]", "never: [{seen: redelivered}]"))
    try:
        done = command(folder, "pytest scenarios/late.yaml --palm-seed 2")
    finally:
        path.unlink()
    assert done.returncode == 1 and "1 failed" in done.stdout
    assert f"palm simulate {path} --seed 2" in done.stdout and "BROKEN  late, seed 2" in done.stdout
    assert "never redelivered: seen" in done.stdout and "Traceback" not in done.stdout


def test_a_scenario_with_a_mistake_is_one_collection_error(folder: Path) -> None:
    """File, line and key, and no traceback of PALM's."""
    path = folder / "scenarios" / "wrong.yaml"
    path.write_text((folder / "scenarios" / "counted.yaml").read_text().replace("service:", "servcie:"))
    try:
        done = command(folder, "pytest scenarios/wrong.yaml")
    finally:
        path.unlink()
    assert done.returncode == 2 and "did you mean 'service'?" in done.stdout and "site-packages" not in done.stdout


def test_the_report_and_the_guard_of_the_scenario(folder: Path) -> None:
    """Its last two commands."""
    assert command(folder, commands()[5]).returncode == 0 and (folder / "report.html").stat().st_size > 20_000
    guarded = command(folder, commands()[6])
    assert guarded.returncode == 0 and "SAME" in guarded.stdout, guarded.stdout + guarded.stderr


def test_a_store_that_is_written_twice_is_found_and_shrunk_to_one_fault(folder: Path) -> None:
    """Whichever fault that is: an amount is in the book twice, and none is missing."""
    done = command(folder, commands()[7])
    assert done.returncode == 1 and "and yet the book says" in done.stdout, done.stdout
    stories = re.findall(r"script=\((.*)\),$", done.stdout, re.MULTILINE)  # one for each way in which it fails
    assert {len(re.findall(r"(?:Crash|Freeze|Cut)\(", story)) for story in stories} == {1}, stories


def test_what_is_written_under_the_name_of_its_message_is_written_once(folder: Path) -> None:
    """Under the same faults."""
    done = command(folder, commands()[8])
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout
