"""No scenario without a broken twin: which test takes out the line that protects it, for each file of `scenarios/`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.conformance import test_scenarios_real
from tests.scenarios import test_twins
from tests.sim import (
    test_butterfly,
    test_ends,
    test_flow,
    test_functions,
    test_nested,
    test_partition,
    test_poison,
    test_reduce,
    test_scatter,
    test_stores,
)

ROOT = Path(__file__).parents[2] / "scenarios"

IN_TABLES: dict[str, list[str]] = {
    "": [one.scenario for one in test_twins.TWINS],
    "butterfly/": [one[0] for one in test_butterfly.TWINS],
    "poison/": [one[0] for one in test_poison.TWINS],
    "real/": [one[0] for one in test_scenarios_real.TWINS],
    "reduce/": [one[0] for one in test_reduce.TWINS],
    "scatter/": [one[0] for one in test_scatter.TWINS],
    "store/": [one[0] for one in test_stores.TWINS],
}
"""Each table's own test runs all that is in it."""

BY_THEMSELVES: dict[str, Callable[..., None]] = {
    "calls/nested": test_nested.test_nested_calls_need_one_life_for_a_process_and_its_client,
    "ends/cancel": test_ends.test_without_the_look_whether_a_message_has_ended_a_late_answer_is_taken,
    "ends/deadline": test_ends.test_what_has_expired_in_a_queue_is_not_run,
    "ends/torn": test_ends.test_nothing_of_a_torn_message_reaches_the_next_stage,
    "flow/fan-out": test_flow.test_fan_out_needs_the_look_whether_a_message_has_ended,
    "flow/filter": test_flow.test_filters_need_the_word_that_nothing_came_of_it,
    "flow/zip": test_flow.test_zips_need_one_place_to_meet,
    "functions/once": test_functions.test_once_needs_the_look_at_the_registry,
    "functions/retries": test_functions.test_retries_need_the_timer,
    "partition": test_partition.test_without_retries_the_partition_loses_messages,
    "restart/rolling": test_ends.test_without_what_protects_it_the_scenario_breaks,
}


def test_every_scenario_has_a_twin_and_every_twin_a_scenario() -> None:
    """A file that nothing can break proves nothing: add its twin to a table, or its test to this one."""
    twinned = {folder + name for folder, names in IN_TABLES.items() for name in names} | set(BY_THEMSELVES)
    files = {
        path.relative_to(ROOT).with_suffix("").as_posix()
        for path in ROOT.rglob("*.yaml")
        if "found" not in path.parts
    }
    assert files - twinned == set(), "scenarios without a twin"
    assert twinned - files == set(), "twins of no scenario"
