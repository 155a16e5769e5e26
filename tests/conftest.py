"""What holds for all tests: none of them leaves dead letters in the state directory of whoever runs them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def letters_are_kept_aside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "PALM_DLQ", str(tmp_path_factory.mktemp("letters")))
        yield
