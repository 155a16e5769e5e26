"""A headless Chromium for the tests of this folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's; skips only where none is installed and this is not CI.

    Ends with its module: while it runs, playwright has an event loop on the thread of all tests.
    """
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None and os.environ.get("CI") != "true":
        pytest.skip("no Chromium is installed here; `apt-get install chromium`, or `bash .ci/run`")
    assert program is not None, "no Chromium is installed (apt-get install chromium)"
    with sync_playwright() as playwright:
        # Root has no sandbox to give; the pages are our own.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()
