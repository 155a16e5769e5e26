"""What holds for all tests: none leaves dead letters in the state directory of whoever runs them, and none is judged
by how long one of its examples took on a machine that others use, too.

And how they are shared out when they run on several processes, as tools/test.sh has them.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

settings.register_profile("palm", deadline=None)
settings.load_profile("palm")


@pytest.fixture(scope="session", autouse=True)
def letters_are_kept_aside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "PALM_DLQ", str(tmp_path_factory.mktemp("letters")))
        yield


@pytest.fixture(scope="session", autouse=True)
def interrupts_reach_children() -> None:
    """A shell that starts a job in the background has it ignore SIGINT, and all that the job starts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


class InFiles(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """A file stays together, so that what its tests share is started once; so do all files that use the engine.

    The scenarios' tests share nothing and are long: each goes where there is room. xdist's own groups (`loadgroup`) are
    of no effect with pytest 9.2, which does not let it change a test's id.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        if file.endswith("_in_containers.py"):
            return "containers"
        return nodeid if file.startswith("tests/scenarios/") else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> InFiles:
    return InFiles(config, log)
