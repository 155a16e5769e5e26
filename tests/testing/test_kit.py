"""The kit for users' own properties: faults as values, strategies that shrink well, and the state machine."""

from __future__ import annotations

import importlib
import tomllib
from collections import Counter
from pathlib import Path
from typing import Callable

import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

from palm import RegisteredServer
from palm.testing import rules, simulate
from palm.testing.faults import Crash, Cut, Fault, Freeze, RegistryDown, befall
from palm.testing.machine import SETTINGS, PalmMachine
from palm.testing.strategies import LONGEST_S, Topology, fault_scripts, payloads, topologies

ROOT = Path(__file__).parents[2]
NAMES = ["shout[0]", "shout[1]"]
FAULTS: list[Fault] = [
    Crash(at=0.5, who="shout[0]", back_after=3.0),
    Freeze(at=0.5, who="shout[0]", lasts=12.0),
    Cut(at=0.5, between="client <-> shout[0]", lasts=4.0),
    RegistryDown(at=0.5, lasts=4.0),
]


class Shout(RegisteredServer):
    def up(self, payload: bytes) -> bytes:
        return payload.upper()


def course(script: list[Fault]) -> str:
    """The trace of thirty messages under a script."""
    with simulate(Shout, name="shout", instances=2, seed=7, service_s=0.1) as sim:
        befall(sim, script)
        lines = [b"line %d" % n for n in range(30)]
        assert Counter(sim.client().map(lines, "shout.up")) == Counter(map(bytes.upper, lines))
        sim.run(15)
        return sim.trace_hash


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
def test_a_fault_bites_and_passes(fault: Fault) -> None:
    """The course of events is another one, and every message is delivered all the same."""
    assert course([fault]) != course([])


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
def test_a_fault_is_printed_as_the_code_that_makes_it(fault: Fault) -> None:
    """What Hypothesis prints can be pasted into a test."""
    assert eval(repr(fault)) == fault


@settings(max_examples=50, deadline=None)
@given(fault_scripts(NAMES, most=4, within_s=10))
def test_drawn_scripts_keep_their_bounds(script: tuple[Fault, ...]) -> None:
    """Number, order, times; and only who was named."""
    assert len(script) <= 4 and list(script) == sorted(script, key=lambda fault: fault.at)
    for fault in script:
        lasts = fault.back_after if isinstance(fault, Crash) else fault.lasts
        assert 0 <= fault.at <= 10 and 1 <= lasts <= LONGEST_S
        assert getattr(fault, "who", NAMES[0]) in NAMES


@pytest.mark.parametrize(
    ("wanted", "smallest"),
    [
        (lambda script: len(script) > 0, (Crash(at=0.0, who="shout[0]", back_after=1.0),)),
        (
            lambda script: any(isinstance(one, Cut) and one.at > 2 for one in script),
            (Cut(at=3.0, between="client -> shout[0]", lasts=1.0),),
        ),
        (
            lambda script: any(isinstance(one, Freeze) and one.lasts >= 10 for one in script),
            (Freeze(at=0.0, who="shout[0]", lasts=10.0),),
        ),
    ],
)
def test_scripts_shrink_to_what_a_reader_can_hold(
    wanted: Callable[[tuple[Fault, ...]], bool], smallest: tuple[Fault, ...]
) -> None:
    """One fault, of the plainest kind that will do, as early and as short as will do, in whole seconds."""
    quiet = settings(max_examples=2000, deadline=None, database=None, derandomize=True)
    assert find(fault_scripts(NAMES), wanted, settings=quiet) == smallest


def test_payloads_and_topologies_shrink_to_the_plain() -> None:
    """One empty message; one instance that answers at once."""
    quiet = settings(deadline=None, database=None, derandomize=True)
    assert find(payloads(), lambda drawn: True, settings=quiet) == [b""]
    plain = Topology(instances=1, service_s=0.0, delay_s=0.0001)
    assert find(topologies(), lambda drawn: True, settings=quiet) == plain
    assert find(topologies(), lambda drawn: drawn.names("x")[-1] == "x[2]", settings=quiet).instances == 3


@settings(max_examples=15, deadline=None, derandomize=True)
@given(payloads(), topologies(), st.data(), st.integers(0, 2**32))
def test_drawn_worlds_lose_nothing(lines: list[bytes], topology: Topology, data: st.DataObject, seed: int) -> None:
    """All three strategies together, as a user combines them."""
    script = data.draw(fault_scripts(topology.names("shout"), most=2))
    with topology.simulate(Shout, name="shout", seed=seed) as sim:
        befall(sim, script)
        assert Counter(sim.client().map(lines, "shout.up")) == Counter(map(bytes.upper, lines))


class ShoutUnderFire(PalmMachine):
    server, route = Shout, "shout.up"

    def expected(self, payload: bytes) -> bytes:
        return payload.upper()


TestShoutUnderFire = ShoutUnderFire.TestCase
TestShoutUnderFire.settings = settings(SETTINGS, max_examples=15, derandomize=True)


class WrongUnderFire(ShoutUnderFire):
    """The same, expecting what the server does not do."""

    def expected(self, payload: bytes) -> bytes:
        return payload + b"!"


def test_a_machine_that_expects_otherwise_fails() -> None:
    """So it looks at the results."""
    machine = WrongUnderFire()
    machine.begin(7)
    machine.send([b"x"])
    with pytest.raises(AssertionError, match=r"of \[b'x'\] came \[b'X'\], not \[b'x!'\]"):
        machine.teardown()


def test_what_is_still_in_flight_is_told_from_what_has_ended() -> None:
    """The check for the end fails before the end, and holds after it."""
    with simulate(Shout, name="shout", seed=7, service_s=1.0) as sim:
        client = sim.client()
        sent = [rules.send(client, "shout.up", [b"a", b"b"])]
        rules.advance(sim, 1.5)
        rules.ledger_is_exact(sent)
        with pytest.raises(AssertionError, match="not all has ended"):
            rules.nothing_is_open(sim, sent)
        assert rules.drain(sim, sent) == [[b"A", b"B"]]
        rules.advance(sim, 10)
        rules.nothing_is_open(sim, sent)


def test_the_plugin_is_declared_where_pytest_looks() -> None:
    """Its entry point names a module that is there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module = importlib.import_module(project["entry-points"]["pytest11"]["palm"])
    assert module.palm_sim and module.pytest_collect_file
