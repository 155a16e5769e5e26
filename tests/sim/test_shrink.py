"""Shrinking: a failing run becomes the fewest faults, messages and nodes that break the same check, in a file."""

from __future__ import annotations

import time
from hashlib import blake2b
from pathlib import Path
from random import Random
from shutil import copytree
from typing import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palm.core import client
from palm.errors import HarnessError, ScenarioError
from palm.sim.history import Entry, EntryKind
from palm.sim.scenario.actions import Upgrade
from palm.sim.scenario.document import quoted, read, said, write
from palm.sim.scenario.scenario import Scenario, load, parse
from palm.sim.scenario.script import At
from palm.sim.scenario.sources import Run
from palm.sim.shrink import Runs, Target, find, shrink, smaller, targets
from palm.sim.shrink.candidates import Candidate, Sight
from palm.sim.shrink.ddmin import fewest
from palm.sim.shrink.found import write_found
from palm.sim.shrink.nearest import in_words
from palm.sim.shrink.script import faults, tied, untied, with_only
from palm.sim.simulation import run
from palm.sim.verdict import Verdict
from tests.scenarios.test_twins import TWINS, Twin
from tests.support.twin import twin

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "scenarios").rglob("*.yaml"))

TWELVE = """
palm: scenario/1
name: twelve
about: Twelve faults, of which two matter where a message is not sent a third time.
runs: {seeds: {pinned: [5]}}
clock: {limit: 90s, settle: 30s}
world:
  hosts: {edge: {zone: a}, one: {zone: a}, two: {zone: b}, three: {zone: b}}
  servers:
    clean: {run: "examples/text/clean.py:Clean", hosts: [three], service: {lognormal: {p50: 2ms, p99: 10ms}}}
    count: {run: "examples/text/count.py:Count", hosts: [one, two], service: {lognormal: {p50: 90ms, p99: 140ms}}}
links:
  - {between: "* <-> *", delay: {lognormal: {p50: 400us, p99: 3ms}}}
load:
  - {id: main, client: edge, route: [count.words, clean.line], messages: {count: 300, payload: words}, rate: 15/s}
script:
  - {id: slow-there, at: 412ms, do: slow, link: "edge -> two", by: 17ms, for: 1913ms}
  - {id: jump, at: 1077ms, do: jump-clock, who: "count[1]", by: 1h}
  - {id: kill, at: 2217ms, do: crash, who: "count[0]"}
  - {id: kill-over, after: {step: kill, plus: 9312ms}, do: restart, who: "step:kill"}
  - {id: compact, at: 3311ms, do: registry.compact}
  - {id: drift, at: 4105ms, do: drift, who: "clean[0]", ppm: 200, for: 6s}
  - {id: twice, after: {step: drift, plus: 613ms}, do: twice, link: "two -> three", chance: 20%, for: 2s}
  - {id: hold, at: 6250ms, do: hold, link: "edge -> two", for: 231ms}
  - {id: kill-again, at: 7373ms, do: crash, who: "count[1]"}
  - {id: kill-again-over, after: {step: kill-again, plus: 7513ms}, do: restart, who: "step:kill-again"}
  - {id: busy, at: 11002ms, do: busy, who: "clean[0]", by: 9ms, for: 3s}
  - {id: shuffle, at: 12s, do: shuffle, link: "edge <-> one", chance: 10%, for: 2s}
  - {id: drop, at: 13301ms, do: registry.drop-watch}
  - {id: lag, at: 14s, do: registry.lag-watch, by: 1s, for: 2s}
expect:
  eventually:
    - {check: registered, servers: [clean, count], within: 10s, after: lag}
  finally:
    - {check: exactly-once, job: main}
    - {check: drained, job: main}
    - {check: latency, job: main, p99: 60s, outside: [kill, hold]}
"""
SENT_AGAIN = "                    job.suspects.append(Waiting([sequence], flight.attempt + 1, flight.expires))\n"
ONLY_ONCE = f"                    if flight.attempt < 2:\n    {SENT_AGAIN}"


def test_twelve_faults_shrink_to_the_two_that_matter_in_less_than_a_minute(tmp_path: Path) -> None:
    """A message is lost for good when both instances die with it; the file that is left breaks by itself with the
    broken client, with the same trace, and holds with the one that PALM has."""
    file = tmp_path / "scenarios" / "twelve.yaml"
    file.parent.mkdir()
    file.write_text(TWELVE.replace("examples/", "../examples/"))
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    scenario = load(file)
    assert run(scenario, 5).verdict is Verdict.HOLDS and len(faults(read(TWELVE, "twelve"))) == 11
    with twin(client, SENT_AGAIN, ONLY_ONCE):
        broken, begin = run(scenario, 5), time.process_time()  # others may have the processor too
        found = find(file, broken, jobs=1, seconds=600)
        assert time.process_time() - begin < 60 and not found.shrunk.spent
        again = load(found.file)
        result = run(again, again.runs.seeds.pinned[0])
    assert found.target == Target("exactly-once", "main") in targets(result)
    assert result.trace_hash == found.result.trace_hash
    assert faults(read(found.file.read_text(), "found")) == ["kill", "kill-again"]
    assert found.shrunk.after.messages <= 3 and found.shrunk.after.processes <= 2
    assert not any(isinstance(step.trigger, At) for step in again.script)
    assert found.nearest is not None and found.nearest.what in ("without kill", "without kill-again")
    assert run(again, 5).verdict is Verdict.HOLDS


# -- the parts --------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 40), unique=True, max_size=24), st.randoms(use_true_random=False))
def test_what_ddmin_leaves_fails_and_nothing_of_it_can_be_left_out(items: list[int], random: Random) -> None:
    """Where the failure needs all of some of them: exactly those; in as many tries as the paper promises."""
    needed = set(random.sample(items, random.randint(0, min(3, len(items)))))
    tries = 0

    def first(selections: Sequence[Sequence[int]]) -> int | None:
        nonlocal tries
        for number, selection in enumerate(selections):
            tries += 1
            if needed <= set(selection):
                return number
        return None

    assert set(fewest(items, first)) == needed
    assert tries <= len(items) ** 2 + 3 * len(items) + 1


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(ROOT / "scenarios")) for path in FILES])
def test_a_file_written_again_says_the_same(path: Path) -> None:
    """Tree for tree, and it can be read as a scenario."""
    tree = read(path.read_text(), str(path))
    again = write(tree)
    assert read(again, str(path)) == tree
    assert parse(again, str(path)).script == parse(path.read_text(), str(path)).script or tree["script"]


@given(st.text().filter(lambda text: not any("\ud800" <= one <= "\udfff" for one in text)))
def test_any_text_can_be_a_word_of_a_file(text: str) -> None:
    """Whatever YAML would take it for."""
    word = quoted(text)
    assert said(word) == text
    assert read(f"key: [{word}, x]", "file") == {"key": [word, "x"]}


def test_a_restart_goes_with_its_crash_and_never_alone() -> None:
    """What mends is no fault: it stays with the damage, and goes with it; so does what waits for what is gone."""
    tree = read(TWELVE, "twelve")
    ids = faults(tree)
    assert "kill-over" not in ids and "lag" not in ids  # a check refers to the end of lag
    left = with_only(tree, ["kill", "jump"])
    assert [said(step["id"]) for step in left["script"]] == ["jump", "kill", "kill-over", "lag"]
    assert left["expect"]["finally"][2]["outside"] == ["kill"]
    parse(write(left), str(ROOT / "twelve.yaml"))


def test_a_fault_is_set_free_of_another_and_tied_to_it_at_the_same_moment() -> None:
    """What waits for a step waits for the time at which it came, and the other way round; what mends stays."""
    tree = read(TWELVE, "twelve")
    started = {"slow-there": 412_000_000, "drift": 4_105_000_000, "twice": 4_718_000_000, "kill": 2_217_000_000}
    steps = {said(step["id"]): step for step in untied(tree, started)["script"]}
    assert steps["twice"]["at"] == "4718ms" and "after" in steps["kill-over"]
    steps = {said(step["id"]): step for step in tied(tree, started)["script"]}
    assert steps["drift"]["after"] == {"step": "slow-there", "plus": "3693ms"} and steps["slow-there"]["at"] == "412ms"


@settings(max_examples=20)
@given(st.sampled_from(FILES), st.randoms(use_true_random=False))
def test_every_way_to_become_smaller_comes_to_an_end(path: Path, random: Random) -> None:
    """Wherever a search goes on from, what is left is never what it was, and in the end nothing is."""
    ways = [smaller.fewer_messages, smaller.fewer_nodes, smaller.plainer]
    ways += [smaller.earlier_events, smaller.rounder, smaller.shorter]
    tree = read(path.read_text(), str(path))
    seen = {write(tree)}
    for _ in range(10_000):
        found = [one for way in ways for one in way(tree)]
        if not found:
            return
        tree = random.choice(found)
        assert write(tree) not in seen
        seen.add(write(tree))
    raise AssertionError("it goes on and on")


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (
            Entry(1_204_000_000, EntryKind.HANDLING, "main", 17, "count", "count[1]", 2),
            "at 1204ms: message 17 of main handling at count[1], attempt 2",
        ),
        (
            Entry(5 * 10**9, EntryKind.CRASHED, server="count", instance="count[1]", detail="ab"),
            "at 5s: crashed count[1] (ab)",
        ),
    ],
)
def test_an_event_is_said_in_words(entry: Entry, words: str) -> None:
    """When, what, and of whom."""
    assert in_words(entry) == words


# -- the search -------------------------------------------------------------------------------------------------------


def _fated(candidate: Candidate, file: str, seed: int, target: Target) -> Sight:
    """Breaks or not, by the text alone: no rhyme or reason but that the whole breaks."""
    digest = blake2b(f"{seed}/{candidate.text}".encode(), digest_size=2).digest()
    return Sight(breaks=digest[0] < 100 or candidate.text == WHOLE, trace_hash=digest.hex())


WHOLE = write(read(TWELVE, "twelve"))


@settings(max_examples=8)
@given(st.integers(0, 2**32))
def test_shrinking_never_ends_with_a_scenario_that_passes(seed: int) -> None:
    """However the failure comes and goes on the way: what comes back was seen to break, and is no larger."""
    target, file = Target("exactly-once", "main"), str(ROOT / "twelve.yaml")
    with Runs(file, seed, target, look=_fated, most=100) as runs:
        shrunk = shrink(TWELVE, file, runs)
        assert shrunk is not None
        assert _fated(Candidate(text=shrunk.text), file, seed, target).breaks
    parse(shrunk.text, file)
    assert shrunk.after.faults <= 12 and shrunk.after.messages <= 300 and shrunk.after.processes <= 3


def test_a_search_does_not_slip_to_a_check_that_breaks_more_easily() -> None:
    """A p99 of 1 ns is broken in any world; the check in question needs its crash, and keeps it."""
    path = ROOT / "scenarios" / "registered" / "worker-crash.yaml"
    text = path.read_text().replace("    - {check: drained, job: main}", "    - {check: latency, job: main, p99: 1ns}")
    text = text.replace("  sometimes:", "  never:")
    broken = targets(run(parse(text, str(path)), 3))
    wanted = Target("never redelivered", "")
    assert broken[0] == Target("latency", "main") and wanted in broken
    with Runs(str(path), 3, wanted) as runs:
        shrunk = shrink(text, str(path), runs)
    assert shrunk is not None and shrunk.after.faults == 1 and shrunk.after.messages == 1
    assert targets(run(parse(shrunk.text, str(path)), 3)) == [wanted]


FEW = """
palm: scenario/1
name: few
about: Two instances can do what one alone cannot.
clock: {limit: 40s, settle: 20s}
world:
  hosts: {edge: , one: , two: }
  servers:
    clean: {run: "examples/text/clean.py:Clean", hosts: [one, two], service: {fixed: 30ms}}
load:
  - {id: main, client: edge, route: [clean.line], messages: {count: 200, payload: words}, rate: 50/s}
script:
  - {id: kill, at: 1s, do: crash, who: "clean[1]"}
  - {id: jump, at: 1500ms, do: jump-clock, who: "clean[0]", by: 1h}
expect:
  finally: [{check: goodput, job: main, least: 45/s}]
"""


def test_a_world_too_small_for_its_load_is_no_smaller_failure() -> None:
    """One instance is too slow without any fault: the second one stays, and so does the crash that is to blame."""
    file = str(ROOT / "few.yaml")
    with Runs(file, 1, Target("goodput", "main")) as runs:
        shrunk = shrink(FEW, file, runs)
    assert shrunk is not None and (shrunk.after.faults, shrunk.after.processes) == (1, 2)
    tree = read(shrunk.text, file)
    assert faults(tree) == ["kill"]
    assert run(parse(write(with_only(tree, [])), file), 1).verdict is Verdict.HOLDS


def test_what_does_not_break_again_is_no_finding(tmp_path: Path) -> None:
    """It says so, and how to find out why, and writes nothing."""
    (tmp_path / "twelve.yaml").write_text(TWELVE)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    with twin(client, SENT_AGAIN, ONLY_ONCE):
        broken = run(load(tmp_path / "twelve.yaml"), 5)
    with pytest.raises(HarnessError, match="exactly-once of main of seed 5 does not break again: .*--guard"):
        find(tmp_path / "twelve.yaml", broken, jobs=1, seconds=60)
    assert not (tmp_path / "found").exists()


def test_a_check_of_the_users_own_that_falls_over_fails_its_run_and_not_the_search(tmp_path: Path) -> None:
    """One that looks for a step keeps that step: without it, it cannot judge."""
    (tmp_path / "checks.py").write_text(
        "def jumped(history):\n    return 'it did' if history.active['jump'] else ''\n"
    )
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    text = FEW.replace("{check: goodput, job: main, least: 45/s}", "{check: custom, run: 'checks.py:jumped'}")
    text, file = text.replace("count: 200", "count: 20"), str(tmp_path / "few.yaml")
    with Runs(file, 1, Target("custom", "jumped")) as runs:
        shrunk = shrink(text, file, runs)
    assert shrunk is not None and faults(read(shrunk.text, file)) == ["jump"]
    with pytest.raises(HarnessError, match=r"check jumped raised KeyError: 'jump' \(.*checks.py:2\)"):
        run(parse(write(with_only(read(shrunk.text, file), [])), file), 1)


def test_two_processes_find_what_one_finds() -> None:
    """Which candidate is first does not depend on which is done first."""
    path = ROOT / "scenarios" / "registered" / "worker-crash.yaml"
    text = path.read_text().replace("  sometimes:", "  never:").replace("count: 600", "count: 260")
    found = []
    for jobs in (1, 2):
        with Runs(str(path), 3, Target("never lease-expired server count", ""), jobs=jobs) as runs:
            found.append(shrink(text, str(path), runs))
    assert found[0] is not None and found[1] is not None
    assert found[0].text == found[1].text and found[0].sight == found[1].sight


def test_a_found_file_names_the_same_files_from_where_it_is(tmp_path: Path) -> None:
    """Servers, their next versions, payloads of a function of the user's own, and results that are expected."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    copytree(ROOT / "scenarios" / "restart", tmp_path / "scenarios" / "restart")
    source = tmp_path / "scenarios" / "restart" / "schemas.yaml"
    found = write_found(source.read_text(), source, 3, Target("results", "noted"), "why", "ab" * 16)
    assert found.parent == tmp_path / "scenarios" / "found"
    was, now = (sorted(path.resolve() for path in files_of(load(path))) for path in (source, found))
    assert was == now and len(was) == 8
    assert [getattr(check, "expected", None) for check in load(found).expect.finally_][0]


def files_of(scenario: Scenario) -> Iterator[Path]:
    yield from (server.run.file for server in scenario.world.servers.values())
    yield from (step.action.to.file for step in scenario.script if isinstance(step.action, Upgrade))
    yield from (job.messages.payload.file for job in scenario.load if isinstance(job.messages.payload, Run))


def test_a_found_file_of_another_format_is_refused_with_the_way_out() -> None:
    """Before anything else in it is looked at, as that may be otherwise, too."""
    text = "palm: scenario/1\nfound: {format: 0, whatever: else}\nscrpt: []\n"
    with pytest.raises(ScenarioError, match="expected format 1, found the number 0 .*shrink its scenario again"):
        parse(text, "found.yaml")


MENDED = ["registry/disk-full", "registered/answer-lost", "pressure/slow-sink"]


@pytest.mark.parametrize("broken", [one for one in TWINS if one.scenario in MENDED], ids=lambda one: one.scenario)
def test_what_is_found_in_a_broken_twin_holds_once_that_is_mended(broken: Twin, tmp_path: Path) -> None:
    """The search ends with the bug, and not with a scenario that asks for what nobody can do; it is small, too."""
    file = ROOT / "scenarios" / f"{broken.scenario}.yaml"
    seed = load(file).runs.seeds.pinned[0]
    target = Target(broken.check, "count" if broken.check == "registered" else "main")
    with twin(broken.module, broken.line, broken.instead), Runs(str(file), seed, target, seconds=600) as runs:
        shrunk = shrink(file.read_text(), str(file), runs)
    assert shrunk is not None and not shrunk.spent
    assert shrunk.after.faults <= 2 and shrunk.after.processes <= 2 and shrunk.after.messages <= 65
    assert run(parse(shrunk.text, str(file)), seed).verdict is Verdict.HOLDS
