"""The examples of sources and sinks, in the simulator."""

from __future__ import annotations

from importlib import util
from pathlib import Path
from typing import Any

from palm.testing.simulate import simulate

EXAMPLES = Path(__file__).parents[1] / "examples"


def load(name: str) -> Any:
    spec = util.spec_from_file_location(f"palm_example_{Path(name).stem}", EXAMPLES / name)
    assert spec is not None and spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_source_sends_numbers_where_they_belong() -> None:
    """Even numbers are halved, odd ones tripled and factorised, words end without a result."""
    with simulate(load("source/numbers.py").Numbers, name="numbers", instances=2, seed=1) as sim:
        sim.serve(load("source/work.py").Work, name="work", instances=2, service_s=0.001)
        results = load("source/split.py").main(sim.client(), 5)
    assert results == b"2 2 1 2 5 2 2 2 2 2".split()


def test_the_sink_zips_what_two_branches_made() -> None:
    """One result for each message, with both parts."""
    with simulate(load("source/numbers.py").Numbers, name="numbers", instances=2, seed=2) as sim:
        sim.serve(load("source/work.py").Work, name="work", instances=2, service_s=0.001)
        sim.serve(load("sink/pairs.py").Pairs, name="pairs", instances=2)
        results = load("sink/join.py").main(sim.client(), 3)
    assert results == [b"0 and 4", b"1 and 7", b"1 and 10"]


def test_messages_may_end_in_a_sink_in_order() -> None:
    """A job without results has an exact ledger, and the sink saw all messages in order."""
    book = load("sink/pairs.py").Book()
    with simulate(load("source/work.py").Work, name="work", instances=3, seed=3, service_s=0.001) as sim:
        sim.serve(lambda: book, name="book")
        client = sim.client()
        job = client.job([b"%d" % number for number in range(200)], ["work.half", "book.write"])
        assert list(client.submit()) == []
        assert tuple(job.ledger) == (200, 200, 0, 0, 0, 0)
    assert book.lines == [(number, b"%d" % (number // 2)) for number in range(200)]
