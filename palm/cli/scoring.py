"""`palm simulate --score`: which planted bugs the scenarios find, shown for people and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

HOLDS, BROKEN = 0, 1


def run_score(root: Path, *, seeds: int, jobs: int, in_json: bool) -> int:
    """0 where every bug is found and the control holds, else 1."""
    from palm.errors import ScenarioError
    from palm.testing.planted import PLANTED
    from palm.testing.score import CONTROL, Found, score

    if not root.is_dir():
        what = "--score needs the directory of PALM's own scenarios (scenarios/ in its repository)"
        raise ScenarioError(f"{root}: {what}")
    breaks = {bug.name: bug.breaks for bug in PLANTED}
    width = max(map(len, [CONTROL, *breaks]))
    found, control_holds = 0, True

    def show(row: Found) -> None:
        if in_json:
            by = {f"{case.file} --seed {case.seed}": answer.how for case, answer in row.answers.items()}
            print(json.dumps({"bug": row.name, "breaks": breaks.get(row.name, ""), "found_by": row.by, "runs": by}))
            return
        count = f"{len(row.found)}/{len(row.cases)}"
        if row.name == CONTROL:
            what = "all hold" if control_holds else ", ".join(row.by) or "inconclusive"
            print(f"{row.name:<{width}}  {'ok' if control_holds else 'BROKEN':>6}  {count:>7}  {what}")
            return
        what = "; ".join(f"{file}: {said}" for file, said in row.by.items()) or f"NOT FOUND: {breaks[row.name]}"
        print(f"{row.name:<{width}}  {'found' if row.found else 'MISSED':>6}  {count:>7}  {what}", flush=True)

    for row in score(root, seeds=seeds, jobs=jobs):
        if row.name == CONTROL:
            control_holds = all(answer.how == "holds" for answer in row.answers.values())
        found += bool(row.found) and row.name != CONTROL
        show(row)
    if not in_json:
        print(f"score: {found} of {len(PLANTED)} planted bugs are found; the control {_word(control_holds)}")
    return HOLDS if found == len(PLANTED) and control_holds else BROKEN


def _word(holds: bool) -> str:
    return "holds" if holds else "does not hold"
