"""From what a function returned or yielded to an outcome: one result, none, or several, each with where it goes."""

from __future__ import annotations

from typing import Any, AsyncIterator, Iterator, Sequence

from palm.core.message import Split, Status
from palm.core.route import Branch
from palm.core.share import MAX_PARTS

MAX_RESULTS_BYTES = 256 * 1024 * 1024
"""For all results of one message: they are held until the function is through."""


class Refused(Exception):
    """What a function gave back is no result. `reason` and `kind` are the Failure's; the text goes on from its name."""

    def __init__(self, reason: str, kind: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        self.kind = kind


class Outlets:
    """Where the results of one function at one stage of one route may go."""

    __slots__ = ("_targets", "_forks", "_branches", "_limit", "_fork", "most_bytes")

    def __init__(
        self, targets: Sequence[int], branches: Sequence[Branch], limit: int, fork: int, most_bytes: int
    ) -> None:
        """`limit` is for one result, `most_bytes` for all results of one message."""
        self._targets = targets
        self._forks = bool(branches)
        self._branches = {branch.name: branch.first for branch in branches if branch.name}
        self._limit = limit
        self._fork = fork
        self.most_bytes = most_bytes

    def collect(self, result: object) -> bytes | Status | Split:
        """The outcome. Runs a generator to its end; raises what it raises, or Refused."""
        if result is None:
            return Status.EMPTY
        gathered = _Gathered(self)
        if isinstance(result, Iterator):
            for each in result:
                gathered.add(each)
        else:
            gathered.add(result)
        return gathered.outcome()

    async def collect_async(self, result: AsyncIterator[object]) -> bytes | Status | Split:
        """The same for an async generator."""
        gathered = _Gathered(self)
        async for each in result:
            gathered.add(each)
        return gathered.outcome()

    def of(self, each: object) -> list[tuple[int, bytes]]:
        """Where one result goes: a plain one to every branch, a named one to its own."""
        if isinstance(each, tuple) and len(each) == 2 and isinstance(each[0], str):
            return [(self._named(each[0]), self._checked(each[1]))]
        payload = self._checked(each)
        return [(target, payload) for target in self._targets]

    def whole(self, results: list[tuple[int, bytes]]) -> bytes | Status | Split:
        if not results:
            return Status.EMPTY
        if len(results) == 1 and not self._forks:
            return results[0][1]
        return Split(self._fork, tuple(results))

    def split(self, result: bytes) -> Split:
        """One result as one of many."""
        return Split(self._fork, ((self._targets[0], result),))

    def _named(self, name: str) -> int:
        stage = self._branches.get(name)
        if stage is None:
            known = ", ".join(map(repr, self._branches)) or "no branch of a name of its own behind this stage"
            raise Refused("BAD_RESULT", "LookupError", f"named the output {name!r}; the route has {known}")
        return stage

    def _checked(self, payload: Any) -> bytes:
        if type(payload) is not bytes:
            hint = ": encode it, e.g. result.encode()" if isinstance(payload, str) else ""
            if isinstance(payload, list | tuple):
                hint = ": for several results, yield each"
            raise Refused("BAD_RESULT", "TypeError", f"returned {type(payload).__name__}, bytes are needed{hint}")
        if len(payload) > self._limit:
            raise Refused(
                "TOO_LARGE",
                "PayloadTooLarge",
                f"returned {len(payload)} bytes, over the limit of {self._limit} "
                "(raise max_payload_bytes, or split the result)",
            )
        return payload


class _Gathered:
    """The results of one message so far."""

    __slots__ = ("_outlets", "_results", "_bytes")

    def __init__(self, outlets: Outlets) -> None:
        self._outlets = outlets
        self._results: list[tuple[int, bytes]] = []
        self._bytes = 0

    def add(self, each: object) -> None:
        results = self._outlets.of(each)
        self._results += results
        self._bytes += len(results[0][1])
        if len(self._results) > MAX_PARTS:
            text = f"gave more than {MAX_PARTS} results for one message (split it in two stages)"
            raise Refused("TOO_LARGE", "TooManyResults", text)
        if self._bytes > self._outlets.most_bytes:
            text = f"gave more than {self._outlets.most_bytes} bytes in all for one message (send smaller ones)"
            raise Refused("TOO_LARGE", "PayloadTooLarge", text)

    def outcome(self) -> bytes | Status | Split:
        return self._outlets.whole(self._results)
