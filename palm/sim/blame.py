"""Where an exception was raised, in words for people: the file and line of the innermost frame that is of interest."""

from __future__ import annotations

import traceback
from pathlib import Path


def raised_at(error: BaseException, file: Path | None = None) -> str:
    """` (FILE:LINE)`; with `file` the innermost line of that file, or the file alone where none of it ran."""
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({error.filename}:{error.lineno})"
    for frame in reversed(frames):
        if file is None or frame.filename == str(file):
            return f" ({frame.filename}:{frame.lineno})"
    return "" if file is None else f" ({file})"


def said_by(error: BaseException, file: Path | None = None) -> str:
    """`KeyError: 'config' (FILE:LINE)`."""
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}{': ' if text else ''}{text}{raised_at(error, file)}"
