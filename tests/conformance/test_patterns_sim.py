"""The patterns' conformance in the simulator."""

from __future__ import annotations

import pytest

from palm.testing.simulate import simulate
from tests.conformance.patterns import CHECKS, Check
from tests.support import patterns


@pytest.mark.conformance
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_patterns_in_the_simulator(check: Check) -> None:
    """The check holds, and leaves nothing behind."""
    with simulate(patterns.Work, name="work", instances=2, seed=5, service_s=0.001) as sim:
        sim.serve(patterns.Split, name="split", instances=2)
        sim.serve(patterns.Crew, name="crew", instances=3)
        sim.serve(patterns.Parts, name="parts", instances=3)
        sim.serve(patterns.Folded, name="folded", instances=2)
        for name in ("Skipping", "Showing", "Hanging", "Zipped", "Ended", "Ordered", "Tens"):
            sim.serve(getattr(patterns, name), name=name.lower())
        check(sim.client(timeout=60))
