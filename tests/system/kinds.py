"""The servers of the drawn clusters, and what their functions mean in plain Python.

`KINDS` is the whole of it: a kind of server is one entry, a function one line in that entry.
"""

from __future__ import annotations

from typing import Callable, Literal, Mapping, NamedTuple

from palm import ButterflyServer, ReduceServer, RegisteredServer, ScatterGatherServer, SinkServer, SourceServer

Slots = list["bytes | None"]
"""The parts of a message in the order of their paths; None for one that ended without a result."""

Place = Literal["stage", "fork", "meet", "fold", "end"]
"""Where it may stand in a route: anywhere; before branches; behind branches, or anywhere; in no branch, and once; as
the last stage only."""


class Work(RegisteredServer):
    def tag(self, payload):
        return payload + b"t"

    async def wait(self, payload):
        return payload + b"w"

    def two(self, payload):
        yield payload + b"1"
        yield payload + b"2"

    async def some(self, payload):
        for number in range(sum(payload) % 3):
            yield payload + b"s%d" % number

    def odd(self, payload):
        return payload if sum(payload) % 2 else None


class Herd(ButterflyServer):
    def low(self, payload):
        return payload + b"h"

    async def graze(self, payload):
        return payload + b"g"

    def calve(self, payload):
        yield payload
        yield payload + b"c"

    def stray(self, payload):
        return None if sum(payload) % 3 else payload


class Shards(ScatterGatherServer):
    def scatter(self, payload):
        for shard in SHARDS:
            yield payload + shard

    async def seek(self, part):
        return part + b"k" if sum(part) % 2 else None

    def every(self, part):
        return part

    def gather(self, results):
        found = [result for result in results if result is not None]
        return iter(found[:2]) if len(found) == len(SHARDS) else found[0] if found else None


SHARDS = (b"x", b"y", b"z")


class Fold(ReduceServer):
    def key(self, payload):
        return payload[:1]

    def join(self, one, other):
        return one + other


class Fours(ReduceServer):
    every = 4

    def join(self, one, other):
        return one + other


class Split(SourceServer):
    def copy(self, payload):
        return payload + b"c"

    def choose(self, payload):
        return ("left" if sum(payload) % 2 else "right"), payload

    def deal(self, payload):
        yield "left", payload + b"l"
        yield payload + b"b"
        if sum(payload) % 2:
            yield "right", payload + b"r"

    def sift(self, payload):
        return payload if sum(payload) % 3 else None


class Zipped(SinkServer):
    join = "zip"

    def all(self, parts):
        return b"(" + b"|".join(b"-" if part is None else part for part in parts) + b")"


class Passing(SinkServer):
    def each(self, payload):
        return payload + b"e"


class Ordered(SinkServer):
    join = "order"

    def each(self, payload):
        return payload + b"o"


class Ended(SinkServer):
    consume = True

    def swallow(self, payload):
        return payload


# -- the same in plain Python -----------------------------------------------------------------------------------------

BOTH = ("left", "right")


def tagged(tag: bytes) -> Callable[[bytes], list[bytes]]:
    return lambda payload: [payload + tag]


def on_each(tag: bytes) -> Callable[[Slots], Slots]:
    return lambda parts: [None if part is None else part + tag for part in parts] or [None]


def zipped(parts: Slots) -> Slots:
    if all(part is None for part in parts):
        return [None]
    return [b"(" + b"|".join(b"-" if part is None else part for part in parts) + b")"]


def sought(payload: bytes) -> list[bytes]:
    found = [payload + shard + b"k" for shard in SHARDS if sum(payload + shard) % 2]
    return found[:2] if len(found) == len(SHARDS) else found[:1]


def folded(messages: list[Slots]) -> list[Slots]:
    """One message for each key, in the order of the first message that had it, and then of the keys."""
    keys: dict[bytes, bytes] = {}
    for slots in messages:
        payloads = [slot for slot in slots if slot is not None]
        for key in sorted({payload[:1] for payload in payloads}):
            keys[key] = keys.get(key, b"") + b"".join(payload for payload in payloads if payload[:1] == key)
    return [[payload] for payload in keys.values()]


def in_fours(messages: list[Slots]) -> list[Slots]:
    groups = [messages[at : at + 4] for at in range(0, len(messages), 4)]
    joined = [b"".join(slot for slots in group for slot in slots if slot is not None) for group in groups]
    return [[payload] for payload in joined if payload]


class Kind(NamedTuple):
    """`does` says what each function makes: of one payload (stage: results; fork: branches and results), of all parts
    of a message (what meets or ends), or of all messages of a job, each with its parts (what folds)."""

    make: type[RegisteredServer]
    place: Place
    does: Mapping[str, Callable[..., list]]


KINDS: dict[str, Kind] = {
    "work": Kind(
        Work,
        "stage",
        {
            "tag": tagged(b"t"),
            "wait": tagged(b"w"),
            "two": lambda p: [p + b"1", p + b"2"],
            "some": lambda p: [p + b"s%d" % number for number in range(sum(p) % 3)],
            "odd": lambda p: [p] if sum(p) % 2 else [],
        },
    ),
    "herd": Kind(
        Herd,
        "stage",
        {
            "low": tagged(b"h"),
            "graze": tagged(b"g"),
            "calve": lambda p: [p, p + b"c"],
            "stray": lambda p: [] if sum(p) % 3 else [p],
        },
    ),
    "shards": Kind(Shards, "stage", {"every": lambda p: [p + b"x", p + b"y"], "seek": sought}),
    "split": Kind(
        Split,
        "fork",
        {
            "copy": lambda p: [(branch, p + b"c") for branch in BOTH],
            "choose": lambda p: [("left" if sum(p) % 2 else "right", p)],
            "deal": lambda p: [("left", p + b"l")]
            + [(branch, p + b"b") for branch in BOTH]
            + ([("right", p + b"r")] if sum(p) % 2 else []),
            "sift": lambda p: [(branch, p) for branch in BOTH] if sum(p) % 3 else [],
        },
    ),
    "zipped": Kind(Zipped, "meet", {"all": zipped}),
    "passing": Kind(Passing, "meet", {"each": on_each(b"e")}),
    "fold": Kind(Fold, "fold", {"join": folded}),
    "fours": Kind(Fours, "fold", {"join": in_fours}),
    "ordered": Kind(Ordered, "end", {"each": on_each(b"o")}),
    "ended": Kind(Ended, "end", {"swallow": lambda parts: [None]}),
}


def functions(*places: Place) -> list[str]:
    """All `"server.function"` that may stand there, in the order of the table: the simplest first."""
    return [f"{name}.{function}" for name, kind in KINDS.items() if kind.place in places for function in kind.does]


def meaning(stage: str) -> tuple[Place, Callable[..., list]]:
    name, _, function = stage.partition(".")
    return KINDS[name].place, KINDS[name].does[function]
