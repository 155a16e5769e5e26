"""The patterns' conformance on server processes, ZeroMQ and a registry."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from palm import Client
from tests.conformance.patterns import CHECKS, Check
from tests.support import patterns
from tests.support.cluster import Cluster, cluster

TWICE = ("Work", "Split", "Crew", "Parts", "Folded")
ONCE = ("Skipping", "Showing", "Hanging", "Zipped", "Ended", "Ordered", "Tens")


@pytest.fixture(scope="module")
def served() -> Iterator[Cluster]:
    with cluster() as made:
        for name in TWICE + ONCE:
            count = 2 if name in TWICE else 1
            for _ in range(count):
                made.serve("--name", name.lower(), script=f"{patterns.__file__}:{name}")
        yield made


@pytest.mark.conformance
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_patterns_on_processes(served: Cluster, check: Check) -> None:
    """The check holds."""
    with Client(served.endpoint, timeout=30) as client:
        check(client)
