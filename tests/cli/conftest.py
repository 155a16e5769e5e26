"""One cluster with one `letters` server for all tests of a module that only ask."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.cluster import Cluster, cluster


@pytest.fixture(scope="module")
def letters() -> Iterator[Cluster]:
    with cluster() as made:
        made.serve()
        yield made
