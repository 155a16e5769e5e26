"""The report of a run, before any browser sees it: its columns, its story, and that nothing of a run becomes markup."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from shutil import copy
from typing import Any

import pytest

from palm.cli.main import main
from palm.sim.history import EntryKind
from palm.sim.report import Film, page
from palm.sim.report.columns import columns
from palm.sim.report.page import in_script
from palm.sim.report.story import story
from palm.sim.scenario.scenario import Scenario, parse
from palm.sim.simulation import Result, run

ROOT = Path(__file__).parents[2]
TROUBLED = """
palm: scenario/1
name: troubled
about: Lines are counted while a link is cut, another holds frames, and an instance dies.
clock: {limit: 60s, settle: 20s}
world:
  hosts: {edge: , one: , two: , three: }
  servers:
    clean: {run: "examples/text/clean.py:Clean", hosts: [one]}
    count: {run: "examples/text/count.py:Count", hosts: [two, three], instances: 2}
links:
  - {between: "* <-> *", delay: 50ms}
load:
  - {id: main, client: edge, route: [clean.line, count.words], messages: {count: 1400, payload: words}, rate: 200/s}
script:
  - {id: gone, at: 2500ms, do: cut, link: "one -> two", for: 1s}
  - {id: waits, at: 4s, do: hold, link: "one -> three", for: 1s}
  - {id: die, at: 6s, do: crash, who: "count[1]", memory: lost}
  - {id: back, after: {step: die, plus: 2s}, do: restart, who: "step:die"}
"""


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return parse(TROUBLED, str(ROOT / "troubled.yaml"))


@pytest.fixture(scope="module")
def filmed(scenario: Scenario) -> tuple[Result, Film]:
    film = Film()
    return run(scenario, 7, film=film), film


@pytest.fixture(scope="module")
def told(scenario: Scenario, filmed: tuple[Result, Film]) -> dict[str, Any]:
    table: dict[str, Any] = json.loads(json.dumps(columns(scenario, *filmed)))
    return table


def test_a_film_changes_nothing(scenario: Scenario, filmed: tuple[Result, Film]) -> None:
    """The trace is the same as without it."""
    assert run(scenario, 7).trace_hash == filmed[0].trace_hash


def test_the_columns_say_what_the_history_says(filmed: tuple[Result, Film], told: dict[str, Any]) -> None:
    """Every entry, in order, by its time, kind, job and sequence."""
    events = told["events"]
    rows = zip(accumulate(events["at"]), events["kind"], events["job"], accumulate(events["sequence"]), strict=True)
    kinds, jobs = told["kinds"]["events"], [job["name"] for job in told["jobs"]]
    assert [(at, kinds[kind], jobs[job] if job >= 0 else "", sequence) for at, kind, job, sequence in rows] == [
        (entry.at, entry.kind.value, entry.job, entry.sequence) for entry in filmed[0].history.entries
    ]


def test_every_message_is_found_in_the_frames_that_carried_it(told: dict[str, Any]) -> None:
    """From the client to the first stage, on to the second, and back as a result."""
    frames = told["frames"]
    lanes = [lane["server"] for lane in told["lanes"]]
    kinds = told["kinds"]["frames"]
    hops: dict[int, list[tuple[str, str, str]]] = {}
    sequences = iter(accumulate(frames["sequence"]))
    for row, carries in enumerate(frames["carries"]):
        for _ in range(carries):
            hop = kinds[frames["kind"][row]], lanes[frames["from"][row]], lanes[frames["to"][row]]
            hops.setdefault(next(sequences), []).append(hop)
    assert sorted(hops) == list(range(1400))
    way = [("message", "client@edge", "clean"), ("message", "clean", "count"), ("result", "count", "client@edge")]
    assert all(set(way) <= set(seen) for seen in hops.values())
    assert [seen for seen in hops.values() if seen == way], "most messages went their way once"


def test_lost_held_and_broken_frames_are_shown_as_such(told: dict[str, Any]) -> None:
    """A cut loses, a hold holds, and what was on its way to an instance that died has not arrived."""
    fates = {told["kinds"]["fates"][fate] for fate in told["frames"]["fate"]}
    assert {"sent", "cut", "held", "broken"} <= fates


def test_faults_name_the_processes_that_they_are_about(told: dict[str, Any], filmed: tuple[Result, Film]) -> None:
    """A link's fault both ends; a crash who died."""
    lanes = [lane["name"] for lane in told["lanes"]]
    about = {fault["title"]: [lanes[lane] for lane in fault["lanes"]] for fault in told["faults"]}
    assert about["gone: cut"] == ["clean[0]", "count[0]"] and about["waits: hold"] == ["clean[0]", "count[1]"]
    assert about["die: crash"] == list(filmed[1].subjects["die"]) and len(about["die: crash"]) == 1


def test_the_story_is_told_in_order_with_figures(scenario: Scenario, filmed: tuple[Result, Film]) -> None:
    """Who, what, when, for how long, what it touched, and how it ended."""
    result, film = filmed
    lines = story(scenario, result, film)
    texts = [line.text for line in lines]
    assert texts[0].startswith("There are 1 instance of clean, 2 instances of count. edge sends 1,400 messages of main")
    cut = next(text for text in texts if "(gone)" in text)
    assert cut.startswith(
        f"At 2.500 s one -> two was cut for 1.000 s (gone): {result.history.touched['gone']} frames were lost"
    )
    held = f"were held for 1.000 s (waits): {result.history.touched['waits']} frames were held."
    assert any(f"frames on one -> three {held}" in text for text in texts)
    (victim,) = film.subjects["die"]
    assert any(f"{victim} died, and was down for 2.000 s (die)" in text for text in texts)
    assert not any(f"{victim} died." in text for text in texts), "the script's own death is told once"
    assert [line.at for line in lines] == sorted(line.at for line in lines)
    assert texts[-1].endswith("checks hold.") or "inconclusive" in texts[-1] or "broken" in texts[-1]


def test_the_slowest_message_can_be_followed(scenario: Scenario, filmed: tuple[Result, Film]) -> None:
    """The story names it, and it is the slowest by the history."""
    result, film = filmed
    sent = {entry.sequence: entry.at for entry in result.history.entries if entry.kind is EntryKind.SENT}
    done = {entry.sequence: entry.at for entry in result.history.entries if entry.kind is EntryKind.DELIVERED}
    (line,) = [line for line in story(scenario, result, film) if line.message is not None]
    assert line.message is not None and line.message[0] == "main"
    assert done[line.message[1]] - sent[line.message[1]] == max(done[one] - sent[one] for one in done)


def test_nothing_of_a_run_becomes_markup(scenario: Scenario, filmed: tuple[Result, Film]) -> None:
    """Names and reasons that hold tags are text, in the page and in its data."""
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    result, film = filmed
    hostile = replace(result, scenario=evil, checks=tuple(replace(one, why=evil) for one in result.checks))
    text = page(replace(scenario, about=evil), hostile, film, f"palm simulate '{evil}'")
    assert "<script>alert" not in text and "<img" not in text
    assert text.count("<script") == 2 and text.count("</script>") == 2
    assert json.loads(in_script({evil: evil})) == {evil: evil} and "<" not in in_script({evil: evil})


def test_the_page_needs_no_network(scenario: Scenario, filmed: tuple[Result, Film]) -> None:
    """No address of anything outside in it, and a policy that forbids what is not in it."""
    text = page(scenario, *filmed, "palm simulate troubled.yaml --seed 7")
    assert not re.search(r"""(?:src|href|url)\s*[=(]|@import|https?:|fetch\(|XMLHttpRequest|import\(""", text)
    assert "default-src 'none'" in text


def test_the_page_has_no_hole_left(scenario: Scenario, filmed: tuple[Result, Film]) -> None:
    """Every place of the template is filled, and what is filled in is not looked at again."""
    text = page(scenario, *filmed, "palm simulate {{data}}")
    assert text.count("{{") == text.count("{{data}}") == 1


def test_frames_beyond_the_bound_are_counted(scenario: Scenario) -> None:
    """The report says how many it leaves out."""
    film = Film(frames_max=10)
    result = run(scenario, 7, film=film)
    assert len(film.shots) == 10 and film.left_out > 100
    assert columns(scenario, result, film)["left_out"] == film.left_out


def written(folder: Path) -> Path:
    """The scenario as a file, with its servers beside it."""
    for name in ("clean.py", "count.py"):
        copy(ROOT / "examples" / "text" / name, folder)
    path = folder / "troubled.yaml"
    path.write_text(TROUBLED.replace("examples/text/", ""))
    return path


def test_the_command_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--html FILE` beside the usual output; its first line of text is the replay command."""
    path = written(tmp_path)
    out = tmp_path / "report.html"
    assert main(["simulate", str(path), "--seed", "7", "--html", str(out)]) == 0
    assert f"report  {out}" in capsys.readouterr().out
    body = out.read_text().partition("<body>")[2]
    assert re.sub(r"<[^>]+>", "", body).strip().splitlines()[0].startswith(f"palm simulate {path} --seed 7")


def test_a_report_shows_one_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Several seeds are refused with the way out, and a path that cannot be written is one line."""
    path = written(tmp_path)
    assert main(["simulate", str(path), "--seeds", "1..3", "--html", str(tmp_path / "x.html")]) == 3
    assert "--seed N" in capsys.readouterr().err and not (tmp_path / "x.html").exists()
    assert main(["simulate", str(path), "--html", str(tmp_path / "none" / "x.html")]) == 3
    assert capsys.readouterr().err.count("\n") == 1
