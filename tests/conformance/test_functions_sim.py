"""The functions' conformance in the simulator."""

from __future__ import annotations

import asyncio

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
        sim.serve(functions.Fitted, name="fitted")
        sim.serve(functions.Hooked, name="hooked")
        check(sim.client(timeout=60))


@pytest.mark.conformance
def test_on_stop_runs_after_the_drain_in_the_simulator() -> None:
    """Once, when what was taken has ended."""
    made: list[functions.Hooked] = []

    def make() -> functions.Hooked:
        made.append(functions.Hooked())
        return made[-1]

    with simulate(make, name="hooked", seed=1) as sim:
        client = sim.client()
        results = client.submit(client.job([b"1"] * 3, "hooked.naps"))
        assert next(results) == b"1"
        sim.drain("hooked[0]")
        assert list(results) == [b"1", b"1"]
        sim.run(10)
        assert made[-1].steps == ["started", "stopped"] and not sim.instance("hooked[0]").is_up
        assert client.instances() == []


@pytest.mark.conformance
def test_an_on_start_that_raises_ends_the_instance_before_it_registers() -> None:
    """With its reason; no client ever sees it."""
    with simulate(functions.Broken, name="broken", seed=1) as sim:
        sim.run(10)
        broken = sim.instance("broken[0]")
        assert str(broken.refused) == "broken does not start: on_start raised FileNotFoundError: no model here"
        assert not broken.is_up and sim.client().instances() == []


@pytest.mark.conformance
def test_an_on_stop_that_hangs_is_not_waited_for() -> None:
    """Ten seconds, and the instance ends without it."""

    class Hangs(functions.Back):
        async def on_stop(self) -> None:
            await asyncio.sleep(3600)

    with simulate(Hangs, name="hangs", seed=1) as sim:
        sim.run(5)
        sim.drain("hangs[0]")
        sim.run(9.5)
        assert sim.instance("hangs[0]").is_up
        sim.run(3)
        assert not sim.instance("hangs[0]").is_up
