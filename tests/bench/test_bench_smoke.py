"""The benches run. How fast they are is no test: `python -m bench NAME` says that."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.__main__ import NAMES
from bench.table import rendered

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", NAMES)
def test_bench_prints_one_figure(name: str) -> None:
    """At a tiny size each workload runs on PALM and on its peer, and prints one JSON object with the agreed keys."""
    command = [sys.executable, "-m", "bench", name, "--smoke", "--json"]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=100)
    assert ended.returncode == 0, ended.stderr
    figure = json.loads(ended.stdout)
    assert figure["bench"] == name
    assert {"bench", "unit", "palm", "raw", "ratio", "target", "met"} <= figure.keys()
    assert figure["palm"] > 0


def test_table_shows_each_figure() -> None:
    """The README's table has a line for each figure, one without a peer included."""
    figure: dict[str, Any] = {"bench": "sim", "unit": "hops/s", "palm": 1e5, "target": "60,000", "met": True}
    figure |= {"raw": None, "ratio": None}
    assert rendered([figure]).splitlines()[-1] == "| sim | 100,000 hops/s | - | - | 60,000 | met |"


def test_table_shows_all_sizes_of_a_series() -> None:
    """A figure of several sizes is one line that names them all."""
    figure: dict[str, Any] = {"bench": "sim_nodes", "unit": "hops/s at 10, 100 nodes", "palm": 5e4, "target": "60,000"}
    figure |= {"raw": None, "ratio": None, "met": False, "series": [1e5, 5e4]}
    line = "| sim_nodes | 100,000, 50,000 hops/s at 10, 100 nodes | - | - | 60,000 | missed |"
    assert rendered([figure]).splitlines()[-1] == line
