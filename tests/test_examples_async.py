"""The example of handlers that call other servers, in both worlds."""

from __future__ import annotations

from palm import Client
from palm.testing.simulate import simulate
from tests.support.cluster import cluster
from tests.test_examples_flow import EXAMPLES, load

EXPECTED = [b"rope: 352", b"tar: 335", b"231"]


def test_the_desk_asks_the_stock() -> None:
    """In the simulator."""
    with simulate(load("async/desk.py").Desk, name="desk", instances=2, seed=1) as sim:
        sim.serve(load("async/stock.py").Stock, name="stock", instances=2, service_s=0.001)
        assert load("async/ask.py").main(sim.client()) == EXPECTED


def test_the_desk_asks_the_stock_on_processes() -> None:
    """With the files run as the README says."""
    with cluster() as made:
        for name in ("desk", "stock"):
            made.serve(script=str(EXAMPLES / "async" / f"{name}.py"))
        with Client(made.endpoint, timeout=30) as client:
            assert load("async/ask.py").main(client) == EXPECTED
