"""What holds for all tests: none leaves dead letters in the state directory of whoever runs them, and none is judged
by how long one of its examples took on a machine that others use, too."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

settings.register_profile("palm", deadline=None)
settings.load_profile("palm")


@pytest.fixture(scope="session", autouse=True)
def letters_are_kept_aside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "PALM_DLQ", str(tmp_path_factory.mktemp("letters")))
        yield
