"""Run scenarios in both worlds, and write down how far the simulator is off: checks and quantiles as a Markdown table.

`python tools/compare_worlds.py FILE..` runs them one after another, each by `palm simulate --compare`, and writes
docs/two-worlds.md. Figures between its two marks are made, never typed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "two-worlds.md"
BEGIN, END = "<!-- made by tools/compare_worlds.py -->\n", "<!-- end -->\n"
SCENARIOS = (
    *("partition.yaml --scale 0.45", "real/one-way.yaml", "real/connections.yaml", "real/processes.yaml"),
    *("real/worker-crash.yaml", "real/leader-crash.yaml", "scatter/part-worker-crash.yaml"),
    *("scatter/silent-shard.yaml", "reduce/two-rounds.yaml", "flow/fan-out.yaml", "flow/zip.yaml"),
    *("ends/deadline.yaml", "poison/first-stage.yaml", "network/resets.yaml", "network/partition-and-heal.yaml"),
    *("restart/upgrade.yaml", "registry/change-leader.yaml", "registry/disk-full.yaml", "store/minority.yaml"),
)
"""Every kind of server, and every kind of fault."""
QUANTILES = ("p50", "p90", "p99")


def compared(words: str) -> dict[str, Any]:
    """What `--compare` says of one scenario; its own words in `error` where it says nothing."""
    file, *options = words.split()
    command = [sys.executable, "-m", "palm", "simulate", f"scenarios/{file}", "--compare", "--json", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    last = done.stdout.strip().splitlines()[-1:]
    found: dict[str, Any] = json.loads(last[0]) if last else {"error": done.stderr.strip()[-300:]}
    return {"name": words, **found}


def row(found: dict[str, Any]) -> str:
    """One scenario as a line of the table."""
    if "error" in found:
        return f"| {found['name']} | did not run: {found['error']} | | | | |"
    if found["impossible"]:
        return f"| {found['name']} | not on real processes: {'; '.join(found['impossible'])} | | | | |"
    return " | ".join([f"| {found['name']}", checks(found), *quantiles(found), jobs(found) + " |"])


def checks(found: dict[str, Any]) -> str:
    """How many agree, and which do not."""
    ours = found["simulated"]["verdicts"]
    apart = [
        f"{one['check']}: simulated {sim}, real {one['verdict']}"
        for one, sim in zip(found["checks"], ours, strict=True)
        if one["verdict"] != sim
    ]
    return f"{len(ours) - len(apart)} of {len(ours)}" + (": " + "; ".join(apart) if apart else "")


def quantiles(found: dict[str, Any]) -> list[str]:
    """Of the first job's messages in flight: those that met no fault where there are such, else all."""
    figures = {one["what"]: one for one in found["figures"]}
    job = next(name for name in figures if ": in flight" in name).split(":")[0]
    calm = f"{job}: in flight, outside the faults"
    base = calm if figures[f"{calm} p50"]["real"] is not None else f"{job}: in flight"
    return [cell(figures[f"{base} {quantile}"]) for quantile in QUANTILES]


def jobs(found: dict[str, Any]) -> str:
    return cell(next(one for one in found["figures"] if one["what"].endswith("from first to last")))


def cell(figure: dict[str, Any]) -> str:
    """The simulator's figure, the real one, and how far the first is off."""
    if figure["sim"] is None or figure["real"] is None:
        return "–"
    off = "" if figure["off"] is None else f" ({figure['off']:+.0%})"
    return f"{short(figure['sim'])} / {short(figure['real'])}{off}"


def short(ms: float) -> str:
    return f"{ms / 1000:.1f} s" if ms >= 1000 else f"{ms:.1f} ms"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenario", nargs="*", help="below scenarios/, with options; default: the list in this file")
    parser.add_argument("--out", type=Path, default=PAGE, help="the page whose figures are replaced")
    parser.add_argument("--at-once", type=int, default=1, help="how many run beside each other (default: 1)")
    args = parser.parse_args()
    rows, loads = [], [os.getloadavg()[0]]
    with ThreadPoolExecutor(args.at_once) as pool:
        for found in pool.map(compared, args.scenario or SCENARIOS):
            rows.append(row(found))
            loads.append(os.getloadavg()[0])
            print(rows[-1], flush=True)
    told = (
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, {args.at_once} at a time, "
        f"load average {min(loads):.1f} to {max(loads):.1f} (with what else ran there).\n\n"
        "| scenario | checks that agree | p50 | p90 | p99 | first to last |\n|---|---|---|---|---|---|\n"
    )
    text = args.out.read_text()
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    args.out.write_text(head + BEGIN + told + "\n".join(rows) + "\n" + END + tail)
    return 0


if __name__ == "__main__":
    sys.exit(main())
