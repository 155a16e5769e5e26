"""`python -m bench.table [RESULTS.json]`: render the figures of a run into the table of bench/README.md."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
BEGIN = "<!-- figures: made by `python -m bench.table`, not by hand -->"
END = "<!-- end of figures -->"


def main() -> None:
    results = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "results.json"
    readme = HERE / "README.md"
    before, _, rest = readme.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    table = rendered(json.loads(results.read_text()))
    readme.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}")


def rendered(figures: list[dict[str, Any]]) -> str:
    lines = ["| bench | PALM | beside | ratio (of the rounds) | target | |", "|---|---|---|---|---|---|"]
    for figure in figures:
        beside = "-" if figure["raw"] is None else f"{figure['raw']:,g}"
        palm = ", ".join(f"{value:,g}" for value in figure.get("series") or [figure["palm"]])
        lines.append(
            f"| {figure['bench']} | {palm} {figure['unit']} | {beside} | {_ratio(figure)} "
            f"| {figure['target']} | {'met' if figure['met'] else 'missed'} |"
        )
    return "\n".join(lines)


def _ratio(figure: dict[str, Any]) -> str:
    if figure["ratio"] is None:
        return "-"
    spread = figure["ratio_spread"]
    return f"{figure['ratio']:.2f}" + (f" ({spread[0]:.2f} to {spread[1]:.2f})" if spread else "")


if __name__ == "__main__":
    main()
