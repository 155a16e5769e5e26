"""What must hold: the checks and sightings that an `expect` block may ask for, as values; `checkers` judges them.

`CHECKS` is the literal table of what this version has. Another check is a class and a line here, and a line there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Mapping

from palm.errors import did_you_mean
from palm.sim.history import EntryKind
from palm.sim.scenario.distributions import check_quantiles
from palm.sim.scenario.files import find_at
from palm.sim.scenario.forms import (
    DURATION,
    FLAG,
    NAME,
    RATE,
    TEXT,
    Form,
    Key,
    block_of,
    keys_of,
    list_of,
    one_of,
    scalar,
    schema_of,
    take,
    whole,
)
from palm.sim.scenario.sources import FUNCTION, Run
from palm.sim.scenario.units import Rate
from palm.sim.scenario.yaml_strict import Node, Table

Phase = Literal["always", "eventually", "finally"]


def _gauge(text: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9_-]{1,128}\.in-flight", text) is None:
        raise ValueError("what can be bounded is JOB.in-flight")
    return text.removesuffix(".in-flight")


IN_FLIGHT = scalar("a quantity such as main.in-flight", _gauge)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conserved:
    """At all times sent = delivered + failed + expired + dead-lettered + in flight. For every job, asked for or not."""

    name: ClassVar[str] = "conserved"
    phases: ClassVar[tuple[Phase, ...]] = ("always", "finally")
    job: Annotated[str | None, Key("job", NAME)] = None
    """None: each job."""
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactlyOnce:
    """Each message of the job was delivered, once; nothing else was."""

    name: ClassVar[str] = "exactly-once"
    phases: ClassVar[tuple[Phase, ...]] = ("finally",)
    job: Annotated[str, Key("job", NAME)]
    line: int = 0


def _lines(node: Node) -> tuple[bytes, ...]:
    return tuple(find_at(node, TEXT.read(node)).read_bytes().splitlines())


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """The caller got these results, in any order: the lines of a file."""

    name: ClassVar[str] = "results"
    phases: ClassVar[tuple[Phase, ...]] = ("finally",)
    job: Annotated[str, Key("job", NAME)]
    expected: Annotated[tuple[bytes, ...], Key("file", Form("a file", _lines))]
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class InOrder:
    """Results are delivered in the order in which their messages were sent."""

    name: ClassVar[str] = "in-order"
    phases: ClassVar[tuple[Phase, ...]] = ("always", "finally")
    job: Annotated[str, Key("job", NAME)]
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounded:
    """Never more than `limit` of the job's messages sent and not ended."""

    name: ClassVar[str] = "bounded"
    phases: ClassVar[tuple[Phase, ...]] = ("always",)
    job: Annotated[str, Key("what", IN_FLIGHT)]
    limit: Annotated[int, Key("limit", whole(1, 10**12))]
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained:
    """Nothing of the job is in flight: at the end, or for once within `within` of the end of step `after` (or the
    start)."""

    name: ClassVar[str] = "drained"
    phases: ClassVar[tuple[Phase, ...]] = ("eventually", "finally")
    job: Annotated[str, Key("job", NAME)]
    within_ns: Annotated[int | None, Key("within", DURATION)] = None
    after: Annotated[str | None, Key("after", NAME)] = None
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """All instances of these servers live and are in the registry at one moment, within `within` of the end of step
    `after` (or the start)."""

    name: ClassVar[str] = "registered"
    phases: ClassVar[tuple[Phase, ...]] = ("eventually",)
    servers: Annotated[tuple[str, ...], Key("servers", list_of(NAME, least=1))]
    within_ns: Annotated[int, Key("within", DURATION)]
    after: Annotated[str | None, Key("after", NAME)] = None
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Quantiles of the time from a message's first sending to its delivery; messages that were in flight while a step
    of `outside` was active are left out."""

    name: ClassVar[str] = "latency"
    phases: ClassVar[tuple[Phase, ...]] = ("finally",)
    job: Annotated[str, Key("job", NAME)]
    p50_ns: Annotated[int | None, Key("p50", DURATION)] = None
    p99_ns: Annotated[int | None, Key("p99", DURATION)] = None
    outside: Annotated[tuple[str, ...], Key("outside", list_of(NAME))] = ()
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class NoOrphans:
    """Nothing is left open at the end: no task, window, link or lease."""

    name: ClassVar[str] = "no-orphans"
    phases: ClassVar[tuple[Phase, ...]] = ("finally",)
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OneHolder:
    """Whoever acts as the server's leader was elected last: of two that think they are it, only one does anything.

    `fenced`: and no worker takes orders of an earlier leader once it has taken those of a later one."""

    name: ClassVar[str] = "one-holder"
    phases: ClassVar[tuple[Phase, ...]] = ("always", "finally")
    server: Annotated[str, Key("server", NAME)]
    fenced: Annotated[bool, Key("fenced", FLAG)] = False
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Linearizable:
    """What the clients of that use of a store saw could have happened one operation after another, each between its
    call and its return. `model`: what a key is; "register": a value, or none."""

    name: ClassVar[str] = "linearizable"
    phases: ClassVar[tuple[Phase, ...]] = ("always", "finally")
    use: Annotated[str, Key("store", NAME)]
    model: Annotated[str, Key("model", one_of("a model", ["register"]))] = "register"
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AtMostOnce:
    """No server ran user code for a message more often than the job's route visits it."""

    name: ClassVar[str] = "at-most-once"
    phases: ClassVar[tuple[Phase, ...]] = ("always", "finally")
    job: Annotated[str, Key("job", NAME)]
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PerKeyOrder:
    """Of messages whose payloads begin with the same word, results are delivered in the order sent."""

    name: ClassVar[str] = "per-key-order"
    phases: ClassVar[tuple[Phase, ...]] = ("always", "finally")
    job: Annotated[str, Key("job", NAME)]
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlineHonest:
    """Each message of a job with a deadline has ended within it and the grace; none expired before it."""

    name: ClassVar[str] = "deadline-honest"
    phases: ClassVar[tuple[Phase, ...]] = ("always", "finally")
    job: Annotated[str, Key("job", NAME)]
    grace_ns: Annotated[int, Key("grace", DURATION)] = 100_000_000
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Goodput:
    """Results are delivered at least at that rate: on the whole, or while step `during` is active."""

    name: ClassVar[str] = "goodput"
    phases: ClassVar[tuple[Phase, ...]] = ("finally",)
    job: Annotated[str, Key("job", NAME)]
    least: Annotated[Rate, Key("least", RATE)]
    during: Annotated[str | None, Key("during", NAME)] = None
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StaleRoute:
    """An instance (of the server, or any) that has left the registry runs nothing from `within` after that on."""

    name: ClassVar[str] = "stale-route"
    phases: ClassVar[tuple[Phase, ...]] = ("always", "finally")
    within_ns: Annotated[int, Key("within", DURATION)]
    server: Annotated[str | None, Key("server", NAME)] = None
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Converged:
    """All processes that live see the registry as it is, at a moment within `within` of the end of step `after` (or the
    start)."""

    name: ClassVar[str] = "converged"
    phases: ClassVar[tuple[Phase, ...]] = ("eventually",)
    within_ns: Annotated[int, Key("within", DURATION)]
    after: Annotated[str | None, Key("after", NAME)] = None
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Custom:
    """A function of the scenario's own: it is given the history, and returns what is wrong in words, or nothing."""

    name: ClassVar[str] = "custom"
    phases: ClassVar[tuple[Phase, ...]] = ("finally",)
    run: Annotated[Run, Key("run", FUNCTION)]
    line: int = 0


Check = (
    Conserved
    | ExactlyOnce
    | Results
    | InOrder
    | Bounded
    | Drained
    | Registered
    | Latency
    | NoOrphans
    | OneHolder
    | Linearizable
    | AtMostOnce
    | PerKeyOrder
    | DeadlineHonest
    | Goodput
    | StaleRoute
    | Converged
    | Custom
)

CHECKS: Mapping[str, type[Check]] = {
    "conserved": Conserved,
    "exactly-once": ExactlyOnce,
    "results": Results,
    "in-order": InOrder,
    "bounded": Bounded,
    "drained": Drained,
    "registered": Registered,
    "latency": Latency,
    "no-orphans": NoOrphans,
    "one-holder": OneHolder,
    "linearizable": Linearizable,
    "at-most-once": AtMostOnce,
    "per-key-order": PerKeyOrder,
    "deadline-honest": DeadlineHonest,
    "goodput": Goodput,
    "stale-route": StaleRoute,
    "converged": Converged,
    "custom": Custom,
}

CHECKS_NOT_YET = frozenset[str]()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """An event that must (`sometimes`) or must not (`never`) be seen: of this server, of this job, while step `during`
    is active."""

    seen: Annotated[str, Key("seen", one_of("an event", [kind.value for kind in EntryKind]))]
    server: Annotated[str | None, Key("server", NAME)] = None
    job: Annotated[str | None, Key("job", NAME)] = None
    name: Annotated[str | None, Key("name", NAME)] = None
    """Of a mark that user code has placed."""
    during: Annotated[str | None, Key("during", NAME)] = None
    line: int = 0


CHECK = one_of("a check", CHECKS, CHECKS_NOT_YET)
SEEN = block_of(Sighting, "expectation")


@dataclass(frozen=True, slots=True, kw_only=True)
class _CheckKeys:
    check: Annotated[str, Key("check", CHECK)]


def _check_in(phase: Phase) -> Form[Check]:
    def read(node: Node) -> Check:
        if not isinstance(node, Table) or "check" not in node.entries:
            node.refuse("a check, as {check: exactly-once, job: main}")
        name = CHECK.read(node.entries["check"])
        shape = CHECKS[name]
        if phase not in shape.phases:
            node.entries["check"].place.refuse(f"{name} is a check of {' and '.join(shape.phases)}, not of {phase}")
        check = take(node, shape, what=f"check {name}", beside=keys_of(_CheckKeys))
        if isinstance(check, Latency):
            if check.p50_ns is None and check.p99_ns is None:
                node.place.refuse("check latency needs p50, p99 or both")
            check_quantiles(node, check.p50_ns, check.p99_ns)
        return check

    def schema() -> Mapping[str, Any]:
        shapes = []
        for name, shape in CHECKS.items():
            if phase in shape.phases:
                one = dict(schema_of(shape, _CheckKeys))
                one["properties"] = {**one["properties"], "check": {"const": name}}
                shapes.append(one)
        return {"anyOf": shapes}

    return Form("a check", read, schema)


def _bite(text: str) -> bool:
    if text not in ("must-bite", "may-miss"):
        raise ValueError(did_you_mean(text, ["must-bite", "may-miss"]).strip(" ()"))
    return text == "must-bite"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expect:
    """What a run is judged by: checks that hold at all times, from some moment on, or at the end; and what must or must
    not have been seen."""

    always: Annotated[tuple[Check, ...], Key("always", list_of(_check_in("always")))] = ()
    eventually: Annotated[tuple[Check, ...], Key("eventually", list_of(_check_in("eventually")))] = ()
    finally_: Annotated[tuple[Check, ...], Key("finally", list_of(_check_in("finally")))] = ()
    sometimes: Annotated[tuple[Sighting, ...], Key("sometimes", list_of(SEEN))] = ()
    never: Annotated[tuple[Sighting, ...], Key("never", list_of(SEEN))] = ()
    faults_must_bite: Annotated[bool, Key("faults", scalar("must-bite or may-miss", _bite))] = True
    """A step that was never done, or touched nothing, makes the run inconclusive."""
