"""The stores' conformance in the simulator."""

from __future__ import annotations

import pytest

from palm.testing.simulate import simulate
from tests.conformance.stores import CHECKS, Check
from tests.support import keeping


@pytest.mark.conformance
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_stores_in_the_simulator(check: Check) -> None:
    """The check holds."""
    with simulate(keeping.Plain, name="plain", instances=3, seed=5) as sim:
        sim.serve(keeping.Parallel, name="parallel", instances=3)
        check(sim.client(timeout=60))
