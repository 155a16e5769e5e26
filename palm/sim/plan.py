"""What a cluster would do with more of something: one scenario, run for each of several values of one of its numbers.

A value is put into the scenario, the scenario is run, and what its jobs came to is one point: how many messages were
delivered in a second, from the first that was sent to the last that came, and how long each was under way.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import median
from typing import Callable, Iterator, Sequence

from palm.errors import HarnessError, ScenarioError, did_you_mean
from palm.sim.fit import knee, quantile
from palm.sim.history import EntryKind, History, is_of
from palm.sim.scenario.load import Job
from palm.sim.scenario.scenario import Scenario, load
from palm.sim.scenario.units import Rate, S
from palm.sim.simulation import run
from palm.sim.sweep import spread
from palm.sim.verdict import Verdict

OF_SERVERS = ("workers", "instances")
OF_JOBS = ("window", "rate")
KEYS = (*OF_SERVERS, *OF_JOBS)
VALUES_MAX = 200
_MOST = {"workers": 1_024, "instances": 10_000, "window": 1_000_000, "rate": 10_000_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class Vary:
    """Which number gets which values. `of`: the server or the job that has it."""

    key: str
    of: str
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One run of a plan."""

    path: str
    key: str
    of: str
    value: int
    seed: int
    job: str
    """Whose messages count; empty: all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What came of one value: medians over seeds. Times in ns."""

    value: int
    throughput: float
    """Messages delivered in a second."""
    p50: int
    p99: int
    delivered: int
    asked: int
    """How many messages the jobs have: where fewer were delivered, the figures are of a part of the load."""
    verdict: Verdict
    """The worst of its runs."""

    @property
    def is_whole(self) -> bool:
        """All of the load was done, and every check held."""
        return self.delivered >= self.asked and self.verdict is Verdict.HOLDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Points by ascending value."""

    vary: Vary
    points: tuple[Point, ...]

    @property
    def knee(self) -> int | None:
        """The value beyond which throughput grows much less; None where it grows all the way, or not at all."""
        at = knee([(float(point.value), point.throughput) for point in self.points])
        return None if at is None else round(at)


# -- what is varied ---------------------------------------------------------------------------------------------------


def parse_vary(text: str, scenario: Scenario, file: str) -> Vary:
    """`workers=1..16`, `count.workers=1,2,4`, `main.rate=100..1000:100`. Raises ScenarioError, which names the file,
    what was expected and what was found."""
    name, equals, values = text.partition("=")
    of, dot, key = name.strip().rpartition(".")
    if not equals or key not in KEYS:
        expected = f"one of {', '.join(KEYS)}, as in workers=1..16"
        hint = ": its values are missing" if key in KEYS else did_you_mean(key, KEYS)
        raise ScenarioError(f"{file}: --vary: expected {expected}, found {text!r:.100}{hint}")
    what, known = ("server", tuple(scenario.world.servers)) if key in OF_SERVERS else ("job", _ids(scenario))
    if not dot:
        if len(known) > 1:
            raise ScenarioError(
                f"{file}: --vary: {key} of which {what}? Write {known[0]}.{key}=... (it has {', '.join(known)})"
            )
        of = known[0]
    if of not in known:
        hint = did_you_mean(of, known) or f" (it has {', '.join(known)})"
        raise ScenarioError(f"{file}: --vary: expected a {what} of this scenario, found {of!r:.100}{hint}")
    if key == "workers" and scenario.world.servers[of].run.parallel is None:
        raise ScenarioError(
            f"{file}: --vary: expected {of}.instances: whether {of} is a parallel server, and has one process more to "
            "lead, is seen from its bases; one of them is not in that file"
        )
    return Vary(key=key, of=of, values=_values(values.strip(), key, file))


def _ids(scenario: Scenario) -> tuple[str, ...]:
    return tuple(job.id for job in scenario.load)


def _values(text: str, key: str, file: str) -> tuple[int, ...]:
    span, colon, step = text.removesuffix("/s").partition(":")
    first, dots, last = span.partition("..")
    try:
        if dots:
            found = list(range(_whole(first), _whole(last) + 1, _whole(step) if colon else 1))
        else:
            found = [_whole(one) for one in text.split(",")]
    except ValueError as error:
        raise ScenarioError(
            f"{file}: --vary: {key}: expected 1..16, 1..16:5 or 1,2,4,8 (whole numbers from 1), found {text!r:.100}"
        ) from error
    if not found:
        raise ScenarioError(f"{file}: --vary: {key}: {text} holds no value: the first is after the last")
    if len(found) > VALUES_MAX:
        raise ScenarioError(
            f"{file}: --vary: {key}: {text} holds {len(found)} values, {VALUES_MAX} are the most: "
            f"take a step, as {text}:{-(-len(found) // VALUES_MAX)}"
        )
    if max(found) > _MOST[key]:
        raise ScenarioError(f"{file}: --vary: {key}: expected at most {_MOST[key]}, found {max(found)}")
    return tuple(sorted(set(found)))


def _whole(text: str) -> int:
    text = text.strip().removesuffix("/s")
    if not text.isascii() or not text.isdecimal() or len(text) > 9 or int(text) < 1:
        raise ValueError
    return int(text)


def varied(scenario: Scenario, key: str, of: str, value: int) -> Scenario:
    """The scenario with that number put into it."""
    if key in OF_SERVERS:
        workers, instances = (value, None) if key == "workers" else (None, value)
        server = replace(scenario.world.servers[of], workers=workers, instances=instances)
        return replace(scenario, world=replace(scenario.world, servers={**scenario.world.servers, of: server}))
    change: Callable[[Job], Job] = _rated(value) if key == "rate" else _windowed(value)
    return replace(scenario, load=tuple(change(job) if job.id == of else job for job in scenario.load))


def _rated(value: int) -> Callable[[Job], Job]:
    return lambda job: replace(job, rate=Rate(value, S), window=None)


def _windowed(value: int) -> Callable[[Job], Job]:
    return lambda job: replace(job, window=value, rate=None)


# -- the runs ---------------------------------------------------------------------------------------------------------


def plan(path: str, vary: Vary, seeds: Sequence[int], *, job: str = "", jobs: int = 1) -> Iterator[Point]:
    """The points, by ascending value, as they come. Raises HarnessError or ScenarioError as a run does."""
    trials = [
        Trial(path=path, key=vary.key, of=vary.of, value=value, seed=seed, job=job)
        for value in vary.values
        for seed in seeds
    ]
    waiting: list[Point] = []
    for point in spread(run_trial, trials, jobs):
        waiting.append(point)
        if len(waiting) == len(seeds):
            yield _middle(waiting)
            waiting = []


def run_trial(trial: Trial) -> Point:
    """One run, where it is called."""
    scenario = varied(load(trial.path), trial.key, trial.of, trial.value)
    result = run(scenario, trial.seed)
    asked = sum(one.messages.count * one.clients for one in scenario.load if trial.job in ("", one.id))
    return measured(result.history, trial.value, trial.job, result.verdict, asked)


_CAME = (EntryKind.DELIVERED, EntryKind.ABSORBED)
"""A message of a reduction is through when a partial result has it."""


def measured(history: History, value: int, job: str, verdict: Verdict, asked: int) -> Point:
    """What a run came to. Raises HarnessError where no message was delivered."""
    sent: dict[tuple[str, int], int] = {}
    took: list[int] = []
    first: int | None = None
    last = 0
    for entry in history.entries:
        if job and not is_of(entry.job, job):
            continue
        if entry.kind is EntryKind.SENT:
            sent.setdefault((entry.job, entry.sequence), entry.at)
            first = entry.at if first is None else first
        elif entry.kind in _CAME and (entry.job, entry.sequence) in sent:
            took.append(entry.at - sent[entry.job, entry.sequence])
            last = entry.at
    if not took or first is None:
        raise HarnessError(
            f"at {value} no message was delivered in {history.end_ns / S:g} s of simulated time "
            "(raise clock.limit, or see why with `palm simulate`)"
        )
    took.sort()
    return Point(
        value=value,
        throughput=len(took) * S / max(1, last - first),
        p50=quantile(took, 0.5),
        p99=quantile(took, 0.99),
        delivered=len(took),
        asked=asked,
        verdict=verdict,
    )


_SEVERITY = (Verdict.HOLDS, Verdict.INCONCLUSIVE, Verdict.BROKEN)


def _middle(points: Sequence[Point]) -> Point:
    return Point(
        value=points[0].value,
        throughput=median(point.throughput for point in points),
        p50=round(median(point.p50 for point in points)),
        p99=round(median(point.p99 for point in points)),
        delivered=min(point.delivered for point in points),
        asked=points[0].asked,
        verdict=max((point.verdict for point in points), key=_SEVERITY.index),
    )
