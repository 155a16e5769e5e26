"""Play one case again: `python -m tests.system 'Case(...)'`, as a failed test printed it."""

from __future__ import annotations

import sys

from palm.sim.history import Entry, EntryKind
from tests.system import case, play

SHOWN = {kind for kind in EntryKind if kind.value not in ("sent", "delivered", "answered", "led", "watch-event")}


def main(text: str) -> int:
    wanted = eval(text, vars(case))  # the caller's own shell: nothing that it could not do anyway
    entries: list[Entry] = []
    verdict, code = "", 0
    try:
        verdict = f"holds; trace {play.play(wanted, lambda sim: entries.extend(sim.cluster.recorder.entries))}"
    except Exception as error:  # whatever is wrong with the case is the finding
        verdict, code = f"broken: {type(error).__name__}: {error}", 1
    for entry in entries:
        if entry.kind in SHOWN:
            message = f"message {entry.sequence}, attempt {entry.attempt}" if entry.sequence >= 0 else ""
            print(f"{entry.at / 1e9:9.4f} s  {entry.kind.value:14} {entry.instance:12} {message} {entry.detail}")
    print(verdict)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
