"""The kinds of servers whose leader hands out the work, and how many processes `--workers` makes of one."""

from __future__ import annotations

from palm.core.folding import REDUCE

PARALLEL = frozenset({"ButterflyServer", "ScatterGatherServer", REDUCE})
"""Of the others the leader keeps the store, and no more."""


def processes(workers: int, *, parallel: bool) -> int:
    """Those that work, and where there are several of a parallel server, one more who leads them."""
    return workers + 1 if parallel and workers > 1 else workers
