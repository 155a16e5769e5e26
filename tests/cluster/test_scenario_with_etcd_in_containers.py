"""A scenario on real processes whose registry is three containers, killed and paused by the engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from palm.sim.checkers import Verdict
from palm.sim.scenario.scenario import parse
from palm.testing.real.containers import IMAGE, contained_etcd
from palm.testing.real.run import run_real
from tests.support.containers import etcd_image

pytestmark = pytest.mark.containers

SCENARIO = Path(__file__).with_name("registry_in_containers.yaml")


def test_a_scenario_holds_while_its_registry_of_containers_is_killed_and_paused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A leader's death and a lost quorum; all checks hold, every fault bit, and no container is left."""
    monkeypatch.setenv(IMAGE, etcd_image())
    scenario = parse(SCENARIO.read_text(), str(SCENARIO))
    result = run_real(scenario, str(SCENARIO), 7, make_etcd=lambda folder, count: contained_etcd(count))
    assert [one for one in result.checks if one.verdict is not Verdict.HOLDS] == []
    assert result.ledger.delivered == 300 and result.ledger.adds_up
