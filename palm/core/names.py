"""Names of servers, functions, namespaces and clients: one rule, checked at every door."""

from __future__ import annotations

import re

from palm.errors import BadName

LONGEST = 128
BUILT_IN = frozenset({"_ping", "_stats", "_log_query"})
"""Functions that every server has, and lists nowhere."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")


def is_name(text: object) -> bool:
    return isinstance(text, str) and _NAME.fullmatch(text) is not None


def check_name(what: str, text: object) -> str:
    """`text` itself, when it is a name; else `BadName` that shows `what` and its repr, cut to 200 characters."""
    if not isinstance(text, str) or _NAME.fullmatch(text) is None:
        raise BadName(f"{what} {text!r:.200} is not a name: 1 to {LONGEST} of letters, digits, '_' and '-'")
    return text
