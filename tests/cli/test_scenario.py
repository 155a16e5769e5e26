"""`palm scenario`: files are checked without a run, and their schema is made from what reads them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from palm.cli.main import main
from palm.sim.scenario import schema

ROOT = Path(__file__).parents[2]
FILES = sorted(path for path in (ROOT / "scenarios").rglob("*.yaml") if "found" not in path.parts)


def test_every_scenario_of_the_repository_can_be_run(capsys: pytest.CaptureFixture[str]) -> None:
    """One line for each, with what is in it."""
    assert main(["scenario", "check", *map(str, FILES)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(FILES)


def test_each_bad_file_is_one_line_and_the_others_are_still_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """File, line, and what is wrong; exit code 3."""
    bad = tmp_path / "bad.yaml"
    bad.write_text("palm: scenario/2\n")
    assert main(["scenario", "check", str(bad), str(FILES[0])]) == 3
    shown = capsys.readouterr()
    assert "bad.yaml:1: palm: expected scenario/1" in shown.err and "another version" in shown.err
    assert shown.err.count("\n") == 1 and FILES[0].name in shown.out


@pytest.mark.parametrize("file", FILES, ids=[path.stem for path in FILES])
def test_the_schema_takes_what_the_reader_takes(file: Path) -> None:
    """By a validator that is not ours."""
    errors = list(Draft202012Validator(schema()).iter_errors(yaml.safe_load(file.read_text())))
    assert not errors, errors[0].message


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("do: crash", "do: crush"),
        ("check: exactly-once", "check: exactly-twice"),
        ("rate: 60/s", "rate: 60"),
        ("at: 3s", "at: 3s, after: {step: die}"),
        ("messages:", "mesages:"),
    ],
)
def test_the_schema_refuses_what_the_reader_refuses(old: str, new: str) -> None:
    """A word that is not in the tables, a number without its unit, two triggers, an unknown key."""
    text = (ROOT / "scenarios" / "network" / "old-pipe.yaml").read_text().replace("rate: 80/s", "rate: 60/s")
    assert old in text
    assert not Draft202012Validator(schema()).is_valid(yaml.safe_load(text.replace(old, new, 1)))


def test_the_schema_is_printed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """And is a schema itself."""
    assert main(["scenario", "schema"]) == 0
    Draft202012Validator.check_schema(json.loads(capsys.readouterr().out))
