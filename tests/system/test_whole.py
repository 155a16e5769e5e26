"""A whole cluster of all kinds of servers, drawn, with drawn faults: the same as the functions composed in plain Python.

`PALM_SYSTEM_CASES=5000 pytest tests/system` plays that many fresh cases in place of the pinned few. A case that failed
is replayed with `python -m tests.system 'Case(...)'`.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, note, settings

from tests.system.case import Case, cases
from tests.system.play import play

MORE = int(os.environ.get("PALM_SYSTEM_CASES", "0"))


@pytest.mark.timeout(0 if MORE else 120)
@settings(
    max_examples=MORE or 60,
    derandomize=not MORE,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(case=cases())
def test_any_cluster_gives_what_its_functions_give(case: Case) -> None:
    """Results of each message in the order of paths, no more and no less, an exact ledger, and nothing left open."""
    note(f'replay: python -m tests.system "{case!r}"')
    play(case)
