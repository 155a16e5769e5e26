"""LMDB under SIGKILL."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from palm.gateway.children import environment

SCRIPT = Path(__file__).parents[1] / "support" / "killed.py"


def kill(folder: Path, times: int, *more: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, str(SCRIPT), str(folder), str(times), "7", *more]
    return subprocess.run(words, env=environment(), capture_output=True, text=True, timeout=100)


def test_two_hundred_kills_lose_nothing_that_was_confirmed_and_tear_no_pair(tmp_path: Path) -> None:
    """Whatever moment of a batch it is."""
    ran = kill(tmp_path, 200)
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) >= 200


def test_the_kills_do_tear_pairs_that_are_written_in_two_batches(tmp_path: Path) -> None:
    """So the moments are the right ones."""
    ran = kill(tmp_path, 60, "in two batches")
    assert ran.returncode == 1 and "a torn pair" in ran.stderr
