"""A check of `late-watch.yaml`'s own."""

from palm.sim.history import EntryKind, History


def led_again_while_news_was_late(history: History) -> str:
    """An election while the watches said nothing: somebody looked for himself."""
    (late,) = history.active["late"]
    (dead,) = history.active["die"]
    elected = [
        entry for entry in history.entries if entry.kind is EntryKind.ELECTED and dead.start < entry.at <= late.end
    ]
    return "" if elected else "nobody led until the watches spoke again"
