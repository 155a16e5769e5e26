"""The functions that every server has: `_ping`, `_stats`, `_log_query`. They are stages like any other for who calls
them; here they are answered on the host's thread, so that they are answered while user code is busy."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Callable, Mapping

from palm.core.names import BUILT_IN
from palm.observe.log import KEPT, LogRing
from palm.runtime.results import Refused

if TYPE_CHECKING:
    from palm.runtime.serving import Serving

BuiltIn = Callable[[bytes], bytes]

_QUERY = {"last": int, "level": str, "text": str, "trace": str}


class BuiltIns:
    def __init__(self, serving: Serving, ring: LogRing) -> None:
        self._serving = serving
        self._ring = ring
        self.functions: Mapping[str, BuiltIn] = {
            "_ping": self.ping,
            "_stats": self.stats,
            "_log_query": self.log_query,
        }
        assert self.functions.keys() == BUILT_IN, "who routes messages knows them by name"

    def ping(self, payload: bytes) -> bytes:
        """The payload again; for an empty one, who this is."""
        return payload or _json(self._identity())

    def stats(self, payload: bytes) -> bytes:
        """How this instance stands, as JSON; the payload does not matter."""
        serving = self._serving
        node = serving.node
        now = serving.host.now()
        pong = node.pong(0, now)
        return _json(
            {
                **self._identity(),
                "uptime_s": round(pong.uptime_us / 1e6, 3),
                "draining": pong.draining,
                "in_flight": node.in_flight,
                "busy_in": pong.busy_in,
                "busy_s": round(pong.busy_us / 1e6, 6),
                "counters": asdict(node.counters),
                "functions": serving.function_stats(),
                "executor": dict(serving.executor_state()),
            }
        )

    def log_query(self, payload: bytes) -> bytes:
        """The instance's last log records, oldest first, as JSON. The payload is empty, or JSON with any of `last` (a
        number), `level` (at least, by name), `text` (contained), `trace` (hexadecimal)."""
        query = _query(payload)
        level = logging.getLevelNamesMapping().get(str(query.get("level", "NOTSET")).upper())
        if level is None:
            raise _bad(f"level is {query['level']!r:.80}; a name such as INFO or WARNING is needed")
        last = query.get("last", 100)
        if not 0 <= last <= KEPT:
            raise _bad(f"last is {last}; 0 to {KEPT} are kept")
        lines = self._ring.query(last, level, query.get("text", ""), query.get("trace", ""))
        return _json([{**line._asdict(), "level": logging.getLevelName(line.level)} for line in lines])

    def _identity(self) -> dict[str, object]:
        serving = self._serving
        return {
            "server": serving.name,
            "instance": serving.host.transport.peer,
            "host": serving.host.name,
            "pid": serving.settings.pid,
        }


def _query(payload: bytes) -> dict[str, Any]:
    if not payload.strip():
        return {}
    try:
        query = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise _bad(f"the query is no JSON: {error}") from error
    if not isinstance(query, dict):
        raise _bad("the query is no JSON object")
    for key, value in query.items():
        wanted = _QUERY.get(key)
        if wanted is None:
            raise _bad(f"there is no key {key!r:.80}; there are {', '.join(_QUERY)}")
        if type(value) is not wanted:
            raise _bad(f"{key} is {value!r:.80}; {wanted.__name__} is needed")
    return query


def _bad(text: str) -> Refused:
    return Refused("BAD_REQUEST", "BadRequest", f"cannot answer: {text}")


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
