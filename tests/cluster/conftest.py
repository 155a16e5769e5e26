"""An engine for the tests of this folder, for as long as they run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import containers


@pytest.fixture(scope="session", autouse=True)
def engine() -> Iterator[None]:
    with containers.engine():
        yield
