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
        for name, count in (("Front", 1), ("Back", 2), ("Fitted", 1), ("Hooked", 1)):
            for _ in range(count):
                made.serve("--name", name.lower(), script=f"{functions.__file__}:{name}")
        yield made


@pytest.mark.conformance
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_functions_on_processes(served: Cluster, check: Check) -> None:
    """The check holds."""
    with Client(served.endpoint, timeout=30) as client:
        check(client)


@pytest.mark.conformance
def test_on_stop_runs_after_the_drain_on_processes(served: Cluster) -> None:
    """Once, and the process ends as if nothing were."""
    hooked = served.serve("--name", "other", script=f"{functions.__file__}:Hooked")
    hooked.interrupt()
    assert hooked.wait() == 0
    assert hooked.said.count("steps: started stopped") == 1
    assert hooked.said.index("drains") < hooked.said.index("steps: started stopped") < hooked.said.index("is drained")


@pytest.mark.conformance
def test_an_on_start_that_raises_ends_the_process_before_it_registers(served: Cluster) -> None:
    """With its reason and exit code 1; no client ever sees it."""
    broken = served.start("run", f"{functions.__file__}:Broken", "--name", "broken")
    assert broken.wait() == 1
    assert "palm: broken does not start: on_start raised FileNotFoundError: no model here" in broken.said
    assert "serves at" not in broken.said
    with Client(served.endpoint, timeout=30) as client:
        assert "broken" not in {instance.server for instance in client.instances()}
