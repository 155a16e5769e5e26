"""`palm plan` and `palm calibrate` at the command line: tables, files, exit codes, and one line for what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from palm.cli.main import main
from palm.observe.record import VERSION, Handled, Lines, line_of

SERVER = """
from palm import ButterflyServer

class Work(ButterflyServer):
    def work(self, message: bytes) -> bytes:
        return message
"""

SCENARIO = """
palm: scenario/1
name: planned
about: One server and one job.
clock: {limit: 30s}
world:
  hosts: {here: {cores: 2}}
  servers:
    work: {run: "work.py:Work", host: here, instances: 2, functions: [work], cpu: {handling: 2ms}}
load:
  - {id: main, client: here, route: [work.work], messages: {count: 200, sizes: 20B}, window: 32}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "work.py").write_text(SERVER)
    path = tmp_path / "planned.yaml"
    path.write_text(SCENARIO)
    return path


def test_a_plan_is_a_table_and_a_picture(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A row for each value, the knee, and the file."""
    picture = file.with_suffix(".svg")
    assert main(["plan", str(file), "--vary", "workers=1..3", "--jobs", "1", "--svg", str(picture)]) == 0
    head, *rows, knee = capsys.readouterr().out.splitlines()
    assert head.split() == ["workers", "messages/s", "p50", "ms", "p99", "ms"]
    assert [row.split()[0] for row in rows] == ["1", "2", "3"]
    assert knee == "knee      workers 2: beyond it, throughput grows much less"
    assert picture.read_text().startswith("<svg")


def test_a_plan_is_an_object_for_programs(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same in JSON."""
    assert main(["plan", str(file), "--vary", "window=8,64", "--jobs", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["vary"], told["of"], told["knee"]) == ("window", "main", None)
    assert [point["value"] for point in told["points"]] == [8, 64]
    assert all(point["delivered"] == 200 and point["verdict"] == "holds" for point in told["points"])


def test_a_plan_whose_runs_are_cut_off_says_so(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Figures of a part of the load are no answer: exit code 2."""
    file.write_text(SCENARIO.replace("limit: 30s", "limit: 200ms"))
    assert main(["plan", str(file), "--vary", "workers=1", "--jobs", "1"]) == 2
    assert "of 200 messages came: see palm simulate, or raise clock.limit" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--vary", "worker=1..2"], "--vary: expected one of workers"),
        (["--vary", "workers=2..1"], "holds no value"),
        (["--vary", "workers=1", "--job", "mein"], "--job: expected a job of this scenario, found 'mein'"),
        (["--vary", "workers=1", "--svg", "no/such/folder.svg"], "no/such/folder.svg: No such file or directory"),
    ],
)
def test_a_plan_that_is_none_is_one_line(
    file: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    """Exit code 3, as of every scenario that cannot be run."""
    assert main(["plan", str(file), "--jobs", "1", *arguments]) == 3
    told = capsys.readouterr().err
    assert told.startswith("palm plan: ") and said in told and told.count("\n") == 1


def test_a_plan_of_no_file_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It names the file."""
    assert main(["plan", str(tmp_path / "none.yaml"), "--vary", "workers=1"]) == 3
    assert "none.yaml: cannot be read" in capsys.readouterr().err


def test_calibrate_writes_a_fragment_and_says_how_well_it_fits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """To stdout, or to a file; a row for each shape that was tried."""
    recording, out = tmp_path / "run.jsonl", tmp_path / "fit.yaml"
    first = Lines("1@m", palm=VERSION, server="work", host="m", machine="m", cores=2)
    handled = [Handled(10**7 * n, "work", 4_000_000 + 1_000 * n, 2_000_000, 0) for n in range(100)]
    recording.write_bytes(line_of(first) + line_of(Lines("1@m", handled=handled)))
    assert main(["calibrate", str(recording)]) == 0
    fragment = capsys.readouterr().out
    assert "palm: calibration/1" in fragment and "cpu: {handling: 2ms, " in fragment
    assert main(["calibrate", str(recording), "--out", str(out)]) == 0
    assert out.read_text() == fragment
    told = capsys.readouterr().out
    assert "work: service" in told and "* uniform" in told and "as `calibration: fit.yaml`" in told


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the recording is empty"),
        (b"\x00\xff\n", "run.jsonl:1: expected a recording (record/1)"),
        (b'{"process":"1@m","palm":"record/0"}\n', "found 'record/0': record it again"),
        (b'{"process":"1@m","palm":"record/1"}\n', "clients only"),
    ],
)
def test_what_is_no_recording_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, said: str
) -> None:
    """Exit code 3; and so for a file that is not there, and for a folder."""
    path = tmp_path / "run.jsonl"
    path.write_bytes(content)
    assert main(["calibrate", str(path)]) == 3
    told = capsys.readouterr().err
    assert told.startswith("palm calibrate: ") and said in told and told.count("\n") == 1
    assert main(["calibrate", str(tmp_path)]) == main(["calibrate", str(tmp_path / "none")]) == 3
    assert capsys.readouterr().err.count("\n") == 2
