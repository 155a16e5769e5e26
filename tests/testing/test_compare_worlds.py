"""The table of both worlds: its cells are made of what `palm simulate --compare --json` says."""

from __future__ import annotations

from typing import Any

from tools.compare_worlds import checks, jobs, quantiles, row


def found(real: str = "holds") -> dict[str, Any]:
    def figures(what: str, sim: float | None, there: float | None) -> dict[str, Any]:
        off = None if sim is None or not there else sim / there - 1
        return {"what": what, "unit": "ms", "sim": sim, "real": there, "off": off}

    return {
        "name": "one.yaml",
        "impossible": [],
        "checks": [{"check": "drained", "verdict": real}, {"check": "drained", "verdict": "holds"}],
        "simulated": {"verdict": "holds", "verdicts": ["holds", "holds"]},
        "figures": [
            *(figures(f"main: in flight {one}", 30.0, 20.0) for one in ("p50", "p90", "p99")),
            *(figures(f"main: in flight, outside the faults {one}", None, None) for one in ("p50", "p90", "p99")),
            figures("main: from first to last", 9_000.0, 10_000.0),
        ],
    }


def test_checks_that_agree_are_counted_and_others_are_named() -> None:
    """Two of one name are two."""
    assert checks(found()) == "2 of 2"
    assert checks(found("broken")) == "1 of 2: drained: simulated holds, real broken"


def test_quantiles_are_of_all_messages_where_none_was_outside_the_faults() -> None:
    """Simulated, real, and how far the simulator is off."""
    assert quantiles(found()) == ["30.0 ms / 20.0 ms (+50%)"] * 3 and jobs(found()) == "9.0 s / 10.0 s (-10%)"
    assert row(found()).count("|") == 7


def test_what_did_not_run_says_why() -> None:
    """By itself, or as it was refused."""
    assert row({"name": "x", "error": "no etcd"}) == "| x | did not run: no etcd | | | | |"
    assert "step a" in row({"name": "x", "impossible": ["step a: y: z"]})
