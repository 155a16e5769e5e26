"""A whole cluster of servers of all kinds, drawn, under drawn faults: what the functions give in plain Python.

`PALM_SYSTEM_CASES=5000 pytest tests/system` plays that many fresh cases in place of the pinned few. A case that failed
is played again, with its story, by `python -m tests.system "Case(...)"`.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings

from palm.testing.simulate import Simulation
from tests.system.case import Case, cases
from tests.system.play import play

MORE = int(os.environ.get("PALM_SYSTEM_CASES", "0"))
PINNED = 80

WORTH_IT = {"redelivered", "remembered", "crashed", "stopped", "lease-expired", "elected"}
"""What the pinned cases must have come to: faults that bite nothing prove nothing."""


@pytest.mark.timeout(0 if MORE else 300)
def test_any_cluster_gives_what_its_functions_give() -> None:
    """Results of each message in the order of paths, no more and no less, an exact ledger, and nothing left open."""
    seen: Counter[str] = Counter()

    def look(sim: Simulation) -> None:
        seen.update({entry.kind.value for entry in sim.cluster.recorder.entries})

    @settings(
        max_examples=MORE or PINNED,
        derandomize=not MORE,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        # `explain` traces every line: several times the time, for what a replay tells better.
        phases=[Phase.generate, Phase.shrink],
    )
    @given(case=cases())
    def each(case: Case) -> None:
        note(f'replay: python -m tests.system "{case!r}"')
        play(case, look)

    each()
    rare = {word for word in WORTH_IT if seen[word] < 3 and (MORE or PINNED) >= PINNED}
    assert not rare, f"hardly a case came to {rare}: {seen}"
