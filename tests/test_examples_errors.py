"""The example of errors and retries, in both worlds."""

from __future__ import annotations

from palm import Client
from palm.testing.simulate import simulate
from tests.support.cluster import cluster
from tests.test_examples_flow import EXAMPLES, load

EXPECTED = [
    "1.0",
    "1.1",
    "KeyError: 'XXX'",
    "ann gets 5",
    "ValueError in pay: -5 is no amount to pay",
    "function 'pay' of server 'bank' cannot read its payload as Transfer: Object missing required field `amount`",
    "ann is in order",
    "bob is in order",
    "sent 3  delivered 2  failed 1  expired 0  dead lettered 0  in flight 0",
]


def told(said: list[str]) -> list[str]:
    """Without the places of files."""
    return [line.split(" (/")[0] for line in said]


def test_the_bank_fails_as_it_should() -> None:
    """In the simulator, where chance is drawn from the seed."""
    with simulate(load("errors/bank.py").Bank, name="bank", instances=2, seed=1) as sim:
        assert told(load("errors/errors.py").main(sim.client())) == EXPECTED


def test_the_bank_fails_as_it_should_on_processes() -> None:
    """With the files run as the README says."""
    with cluster() as made:
        made.serve(script=str(EXAMPLES / "errors" / "bank.py"))
        with Client(made.endpoint, timeout=30) as client:
            assert told(load("errors/errors.py").main(client)) == EXPECTED
