"""The functions' conformance in the simulator."""

from __future__ import annotations

import pytest

from palm.testing.simulate import simulate
from tests.conformance.functions import CHECKS, Check
from tests.support import functions


@pytest.mark.conformance
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_functions_in_the_simulator(check: Check) -> None:
    """The check holds, and leaves nothing behind."""
    with simulate(functions.Front, name="front", seed=5, service_s=0.001) as sim:
        sim.serve(functions.Back, name="back", instances=2, service_s=0.001)
        check(sim.client(timeout=60))
