"""Faults that a seed draws: within their budget, the same each time, and written out as a plain script."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.errors import ScenarioError
from palm.sim.chaos import as_plain_script, draw, with_chaos
from palm.sim.scenario.actions import ACTIONS
from palm.sim.scenario.chaos import MENU, Budget, Chaos
from palm.sim.scenario.scenario import load, parse
from palm.sim.scenario.script import At
from palm.sim.simulation import run

FOLDER = Path(__file__).parents[2] / "scenarios" / "chaos"
FILE = FOLDER / "two-stages.yaml"
SCENARIO = load(FILE)
SEEDS = st.integers(0, 2**63 - 1)


@given(SEEDS, st.integers(1, 4), st.integers(1, 12), st.integers(0, 3))
def test_what_is_drawn_keeps_to_its_budget(seed: int, at_once: int, total: int, gap_s: int) -> None:
    """Never more of them, more at one time, or nearer to each other; none too late; and all of it can be read."""
    budget = Budget(at_once=at_once, total=total, gap_ns=gap_s * 10**9)
    chaos = Chaos(mix=dict.fromkeys(MENU, 1), budget=budget, until_ns=18 * 10**9)
    scenario, lines = with_chaos(replace(SCENARIO, chaos=chaos), seed)
    faults = [step for step in scenario.script if isinstance(step.trigger, At)]
    starts = [step.trigger.at_ns for step in faults if isinstance(step.trigger, At)]
    assert len(faults) <= total and all(start < chaos.until_ns for start in starts)
    assert all(b - a >= budget.gap_ns - 10**6 for a, b in zip(starts, starts[1:], strict=False))
    ends = [start + (getattr(step.action, "for_ns", None) or 0) for start, step in zip(starts, faults, strict=True)]
    for start in starts:
        assert sum(a <= start < b for a, b in zip(starts, ends, strict=True)) <= at_once
    assert all(line.startswith("- {id: chaos-") for line in lines)


@given(SEEDS)
def test_the_spared_are_spared_and_each_seed_draws_the_same_again(seed: int) -> None:
    """Neither as an instance, nor as the end of a link."""
    chaos = Chaos(mix={"crash": 1, "cut": 1, "freeze": 1}, until_ns=18 * 10**9, spare=("edge", "clean", "registry"))
    lines = draw(chaos, SCENARIO.world, seed)
    assert lines == draw(chaos, SCENARIO.world, seed)
    assert not any(word in line for line in lines for word in ("edge", "clean", "registry"))


def test_everything_on_the_menu_is_an_action_of_scripts() -> None:
    """Under its own name."""
    assert set(MENU) <= set(ACTIONS)


def test_a_swarm_leaves_some_of_the_mix_out() -> None:
    """Most seeds see a part of it only."""
    kinds = [len({step.do for step in with_chaos(SCENARIO, seed)[0].script}) for seed in range(50)]
    assert min(kinds) < max(kinds) <= len(MENU)


@pytest.mark.parametrize("script", ["", "script:\n  - {id: own, at: 1s, do: registry.compact}\n"])
def test_the_plain_file_of_what_was_drawn_has_the_same_course_of_events(script: str) -> None:
    """Same seed, same trace: whoever debugs it can take lines out."""
    text = FILE.read_text().replace("count: 500", "count: 100").replace("until: 18s", "until: 5s")
    text = text.replace("expect:\n", f"{script}expect:\n")
    wild = run(parse(text, str(FILE)), 7)
    plain_text = as_plain_script(text, wild.drawn)
    plain = parse(plain_text, str(FILE))
    assert plain.chaos is None and "chaos:" not in plain_text
    assert run(plain, 7).trace_hash == wild.trace_hash


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("crash: 2", "crush: 2", "chaos.mix.crush: 'crush' is not an action that can be drawn (did you mean 'crash'?)"),
        ("until: 18s", "until: 40s", "chaos.until: expected at most 21s"),
        ("until: 18s", "until: 18s\n  spare: [two, tow]", "did you mean 'two'?"),
        ("until: 18s", "until: 18s\n  spare: [clean, count]", "somebody to be left who is not spared"),
    ],
)
def test_a_mistake_in_a_chaos_block_is_refused_where_it_stands(old: str, new: str, said: str) -> None:
    """With what was meant."""
    with pytest.raises(ScenarioError) as refused:
        parse(FILE.read_text().replace(old, new), str(FILE))
    assert said in str(refused.value)
