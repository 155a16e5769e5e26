"""Sweeps: what they have covered, and that more processes change nothing but the time."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from palm.sim.coverage import Coverage, pairs_of
from palm.sim.history import Entry, EntryKind, History, Interval
from palm.sim.sweep import Task, derived_seeds, sweep

ROOT = Path(__file__).parents[2]
FAIR = str(ROOT / "scenarios" / "butterfly" / "poison.yaml")


def test_a_pair_is_an_event_and_each_fault_that_was_active():
    """A fault is active up to and including its end; an event in calm weather has a pair too."""
    entries = [Entry(at, EntryKind.HANDLING, server="count") for at in (1, 5, 9)]
    history = History(entries=entries, end_ns=10, active={"one": (Interval(2, 5),), "two": (Interval(4, 6),)})
    assert pairs_of(history, {"one": "cut", "two": "freeze"}) == {
        ("count", "handling", "-"),
        ("count", "handling", "cut"),
        ("count", "handling", "freeze"),
    }


def test_what_every_run_shows_is_all_there_is():
    """With no pair that only one run has shown, the estimate of unseen ones is none."""
    coverage = Coverage()
    for _ in range(3):
        coverage.add("a", [("s", "sent", "-"), ("s", "answered", "cut")])
    assert (coverage.seen, coverage.unseen, coverage.chance_of_new) == (2, 0.0, 0.0)


def test_pairs_seen_once_tell_of_unseen_ones():
    """Chao's estimate by hand: three runs, four pairs seen once, one seen twice: 2/3 * 4 * 3 / (2 * 2) more; and four
    of six sightings were of something new."""
    coverage = Coverage()
    for run in (("a", "b", "e"), ("c", "e"), ("d",)):
        coverage.add("one", [(name, "sent", "-") for name in run])
    assert coverage.unseen == pytest.approx(2 / 3 * 4 * 3 / 4)
    assert coverage.chance_of_new == pytest.approx(4 / 6)


def test_scenarios_are_counted_by_themselves():
    """A pair of one world says nothing of another world."""
    coverage = Coverage()
    coverage.add("one", [("s", "sent", "-")])
    coverage.add("two", [("s", "sent", "-")])
    assert coverage.seen == 2 and coverage.unseen == 0.0


def test_two_processes_run_what_one_runs_in_the_same_order():
    """The same traces: a run is a function of its seed, wherever it runs."""
    tasks = [Task(FAIR, seed) for seed in (3, 4, 5)]
    alone, together = list(sweep(tasks, 1)), list(sweep(tasks, 2))
    hashes = [[one.result.trace_hash for one in run if one.result is not None] for run in (alone, together)]
    assert hashes[0] == hashes[1] and len(set(hashes[0])) == 3
    assert [one.task for one in together] == tasks
    assert [one.pairs for one in alone] == [one.pairs for one in together]


def test_a_harness_that_fails_is_an_outcome_that_says_why(tmp_path: Path):
    """A file that is not there fails its own run, and no other."""
    missing = Task(str(tmp_path / "none.yaml"), 1)
    [outcome] = sweep([missing], 1)
    assert outcome.exit_code == 3 and "none.yaml" in outcome.error


def test_seeds_of_a_commit_are_its_own():
    """The same commit gives the same seeds; another commit or another scenario gives others."""
    seeds = derived_seeds("c0c8a6e", "partition", range(50))
    assert seeds == derived_seeds("c0c8a6e", "partition", range(50))
    others = derived_seeds("f4d6be6", "partition", range(50)) + derived_seeds("c0c8a6e", "zip", range(50))
    assert len({*seeds, *others}) == 150 and all(0 <= seed < 2**63 for seed in seeds)


def test_no_process_outlives_a_sweep_that_was_killed() -> None:
    """SIGKILL, so that nothing can be tidied up: the others find out by themselves."""
    command = [sys.executable, "-m", "palm", "simulate", FAIR, "--seeds", "1..500", "--jobs", "2"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as sweeping:
        deadline = time.monotonic() + 30
        workers: list[psutil.Process] = []
        while len(workers) < 2 and time.monotonic() < deadline:
            children = psutil.Process(sweeping.pid).children()
            workers = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
            time.sleep(0.05)
        sweeping.kill()
    gone, left = psutil.wait_procs(workers, timeout=30)
    assert len(gone) == 2 and not left
