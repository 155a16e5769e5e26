"""Whether what clients saw of a key could have happened one operation after another, each between its call and its
return.

The search of Wing and Gong (1993) with Lowe's memory of what was tried (2017), as Porcupine does it; each key by
itself, as a history is linearizable when it is for each object (Herlihy and Wing, 1990). An operation whose end is
unknown may have happened at any time after its call, or never. The search is bounded in steps, not in seconds: a seed
has one answer.
"""

from __future__ import annotations

from typing import Iterable, Literal, NamedTuple

STEPS = 2_000_000

Kind = Literal["get", "set", "append", "delete"]


class Operation(NamedTuple):
    """One call of one client. `result`: of "get" the value or None, of "append" the new length, of "delete" whether
    there was such a key. `returned` None: nobody knows whether it was done, and `result` says nothing."""

    client: str
    key: str
    kind: Kind
    value: bytes
    result: bytes | int | None
    called: int
    returned: int | None


class Finding(NamedTuple):
    """`holds` None: the search was given up. `key` is where it failed or was given up, `last` how far it came: the
    latest operation of the longest order that it found."""

    holds: bool | None
    key: str = ""
    last: Operation | None = None


def linearizable(operations: Iterable[Operation], steps: int = STEPS) -> Finding:
    by_key: dict[str, list[Operation]] = {}
    for operation in operations:
        by_key.setdefault(operation.key, []).append(operation)
    unclear: Finding | None = None
    for key, ones in sorted(by_key.items()):
        finding = _Search(key, ones, steps).run()
        if finding.holds is False:
            return finding
        if finding.holds is None:
            unclear = unclear or finding
    return unclear or Finding(True)


def step(state: bytes | None, operation: Operation) -> tuple[bool, bytes | None]:
    """Whether it can be the next one on a key with that value (None: there is no key), and the value after it."""
    known = operation.returned is not None
    match operation.kind:
        case "get":
            return not known or operation.result == state, state
        case "set":
            return True, operation.value
        case "append":
            value = (state or b"") + operation.value
            return not known or operation.result == len(value), value
        case "delete":
            return not known or bool(operation.result) == (state is not None), None


class _Event:
    """A call or a return, in a list that operations are lifted out of and put back into."""

    __slots__ = ("place", "match", "before", "after")

    def __init__(self, place: int) -> None:
        self.place = place
        self.match: _Event | None = None
        """Of a call, its return; None: this is a return."""
        self.before: _Event | None = None
        self.after: _Event | None = None


class _Search:
    def __init__(self, key: str, operations: list[Operation], steps: int) -> None:
        self._key = key
        self._operations = operations
        self._steps = steps
        self._head = _Event(-1)
        order: list[tuple[float, int, _Event]] = []
        for place, operation in enumerate(operations):
            call, back = _Event(place), _Event(place)
            call.match = back
            order.append((operation.called, 0, call))
            order.append((float("inf") if operation.returned is None else operation.returned, 1, back))
        last = self._head
        for _, _, event in sorted(order, key=lambda one: (one[0], one[1], one[2].place)):
            last.after, event.before = event, last
            last = event

    def run(self) -> Finding:
        state: bytes | None = None
        done = 0
        tried: set[tuple[int, bytes | None]] = set()
        taken: list[tuple[_Event, bytes | None]] = []
        furthest: tuple[int, Operation | None] = (0, None)
        event = self._head.after
        steps = 0
        while self._head.after is not None:
            steps += 1
            if steps > self._steps:
                return Finding(None, self._key, furthest[1])
            assert event is not None, "before the end of the list stands a return of what is still in it"
            if event.match is not None:
                fits, new = step(state, self._operations[event.place])
                mark = (done | 1 << event.place, new)
                if fits and mark not in tried:
                    tried.add(mark)
                    taken.append((event, state))
                    done, state = mark
                    if len(taken) > furthest[0]:
                        furthest = (len(taken), self._operations[event.place])
                    _lift(event)
                    event = self._head.after
                else:
                    event = event.after
            else:
                if not taken:
                    return Finding(False, self._key, furthest[1])
                back, state = taken.pop()
                done &= ~(1 << back.place)
                _put_back(back)
                event = back.after
        return Finding(True)


def _lift(call: _Event) -> None:
    for event in (call, call.match):
        assert event is not None and event.before is not None, "it is in the list, behind the head"
        event.before.after = event.after
        if event.after is not None:
            event.after.before = event.before


def _put_back(call: _Event) -> None:
    for event in (call.match, call):
        assert event is not None and event.before is not None, "it was in the list, behind the head"
        event.before.after = event
        if event.after is not None:
            event.after.before = event
