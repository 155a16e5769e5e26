"""The last log records of each server instance, kept in a ring for `_log_query`.

What user code logs while it works on a message belongs to the instance whose message it is: `RING` says whose, in that
thread, coroutine or stack. So several instances of one process, as in the simulator, do not mix. What other code of
the process logs is not kept.
"""

from __future__ import annotations

import logging
from collections import deque
from contextvars import ContextVar
from typing import Any, NamedTuple

KEPT = 1_000
LONGEST = 4_096
"""Characters of a text that are kept."""


class Line(NamedTuple):
    at_ms: int
    """Unix time in milliseconds, by the instance's wall clock."""
    level: int
    logger: str
    text: str
    job: str = ""
    sequence: int = -1
    trace: str = ""


class LogRing:
    """The last records of one instance. `add` may be called on any thread."""

    def __init__(self, size: int = KEPT) -> None:
        self._lines: deque[Line] = deque(maxlen=size)
        _listen()

    def add(self, line: Line) -> None:
        self._lines.append(line._replace(text=line.text[:LONGEST]))

    def query(self, last: int = KEPT, level: int = 0, text: str = "", trace: str = "") -> list[Line]:
        """The last so many that are of that level or a higher one, hold the text, and are of the trace; oldest
        first."""
        found = [
            line
            for line in list(self._lines)
            if line.level >= level and text in line.text and (not trace or line.trace == trace)
        ]
        return found[-last:] if last else []


RING: ContextVar[LogRing | None] = ContextVar("palm.log", default=None)
"""Where records made here and now are kept."""


class _Keeper(logging.Handler):
    """On the root logger, once: gives every record to the ring at hand."""

    def emit(self, record: logging.LogRecord) -> None:
        ring = RING.get()
        if ring is None:
            return
        try:
            text = record.getMessage()
        except Exception:  # a format that does not fit its arguments is reported by the handlers that print it
            text = str(record.msg)
        of: dict[str, Any] = record.__dict__
        ring.add(
            Line(
                int(record.created * 1000),
                record.levelno,
                record.name,
                text,
                str(of.get("palm_job", "")),
                int(of.get("palm_sequence", -1)),
                str(of.get("palm_trace", "")),
            )
        )


_KEEPER = _Keeper()


def _listen() -> None:
    root = logging.getLogger()
    if _KEEPER not in root.handlers:
        had_handlers = bool(root.handlers)
        root.addHandler(_KEEPER)
        if not had_handlers and logging.lastResort is not None:
            root.addHandler(logging.lastResort)  # who set nothing up still sees warnings on stderr
