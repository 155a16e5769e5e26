"""The functions' conformance on server processes, ZeroMQ and a registry."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from palm import Client
from tests.conformance.functions import CHECKS, Check
from tests.support import functions
from tests.support.cluster import Cluster, cluster


@pytest.fixture(scope="module")
def served() -> Iterator[Cluster]:
    with cluster() as made:
        for name, count in (("Front", 1), ("Back", 2)):
            for _ in range(count):
                made.serve("--name", name.lower(), script=f"{functions.__file__}:{name}")
        yield made


@pytest.mark.conformance
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_functions_on_processes(served: Cluster, check: Check) -> None:
    """The check holds."""
    with Client(served.endpoint, timeout=30) as client:
        check(client)
