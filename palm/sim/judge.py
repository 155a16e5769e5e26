"""A run judged by what its scenario expects: from the values of an `expect` block to the checks, and to one verdict."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any, Iterable, Mapping

from palm.errors import HarnessError
from palm.sim.blame import said_by
from palm.sim.checkers import (
    CheckResult,
    Verdict,
    bounded,
    chaos_must_bite,
    conserved,
    drained,
    exactly_once,
    in_order,
    latency,
    linear,
    must_bite,
    never,
    no_orphans,
    one_holder,
    registered,
    results,
    sometimes,
)
from palm.sim.history import History, Interval
from palm.sim.promises import (
    at_most_once,
    converged,
    deadline_honest,
    goodput,
    per_key_order,
    stale_route,
)
from palm.sim.scenario.expectations import (
    AtMostOnce,
    Bounded,
    Check,
    Conserved,
    Converged,
    Custom,
    DeadlineHonest,
    Drained,
    ExactlyOnce,
    Goodput,
    InOrder,
    Latency,
    Linearizable,
    NoOrphans,
    OneHolder,
    PerKeyOrder,
    Registered,
    Results,
    StaleRoute,
)
from palm.sim.scenario.load import Job
from palm.sim.scenario.payloads import payloads
from palm.sim.scenario.scenario import Scenario
from palm.sim.scenario.sources import Run
from palm.sim.server_files import load_function


def judge(scenario: Scenario, history: History) -> list[CheckResult]:
    """Everything that the scenario expects, in its order; first of all, asked for or not, that nothing is lost."""
    expect = scenario.expect
    asked = [*expect.always, *expect.eventually, *expect.finally_]
    is_asked = any(isinstance(check, Conserved) and check.job is None for check in asked)
    always_on: list[Check] = [] if is_asked else [Conserved()]
    sizes = {name: len(server.places) for name, server in scenario.world.servers.items()} | dict(history.sizes)
    jobs = {job.id: job for job in scenario.load}
    judged = [
        replace(
            _together([run_check(one, history, sizes, jobs) for one in _for_each_client(check, jobs)]), of=_of(check)
        )
        for check in [*always_on, *asked]
    ]
    judged += [sometimes(one, history) for one in expect.sometimes]
    judged += [never(one, history) for one in expect.never]
    planned = [step.id for step in scenario.script if not step.drawn]
    drawn = [step.id for step in scenario.script if step.drawn]
    if expect.faults_must_bite and planned:
        judged.append(must_bite(planned, history))
    if expect.faults_must_bite and drawn:
        judged.append(chaos_must_bite(drawn, history))
    return judged


def looked_at(scenario: Scenario) -> frozenset[str]:
    """The jobs of whose results there is an expectation."""
    return frozenset(check.job for check in scenario.expect.finally_ if isinstance(check, Results))


def judged_until(scenario: Scenario, active: Mapping[str, tuple[Interval, ...]]) -> int:
    """When the last "eventually" can be told (ns): from the end of its step, as long as it may take."""
    last = 0
    for check in scenario.expect.eventually:
        if isinstance(check, Registered | Drained | Converged) and check.within_ns is not None:
            begin = active[check.after][-1].end if check.after is not None and check.after in active else 0
            last = max(last, begin + check.within_ns)
    return last


def _of(check: Check) -> str:
    match check:
        case Custom(run=function):
            return function.class_name
        case Registered(servers=servers):
            return ", ".join(servers)
    named = (getattr(check, key, None) for key in ("job", "server", "use"))
    return next((name for name in named if name is not None), "")


def _for_each_client(check: Check, jobs: Mapping[str, Job]) -> list[Check]:
    """A check of a job is one of each client's."""
    job = getattr(check, "job", None)
    if job is None:
        return [check]
    named: Any = check  # one of those that have a job
    return [replace(named, job=part) for part in jobs[job].parts]


def _together(results: list[CheckResult]) -> CheckResult:
    """The worst of one check for several clients, and where all hold what it says of the first."""
    verdict = overall(results)
    shown = next(result for result in results if result.verdict is verdict)
    return shown if len(results) == 1 else replace(shown, why=f"{shown.why} (of {len(results)} clients)")


def overall(results: Iterable[CheckResult]) -> Verdict:
    """The worst of them; a broken check is a finding even where another could not tell."""
    verdicts = [result.verdict for result in results]
    return max(verdicts, key=[Verdict.HOLDS, Verdict.INCONCLUSIVE, Verdict.BROKEN].index, default=Verdict.HOLDS)


def run_check(check: Check, history: History, sizes: Mapping[str, int], jobs: Mapping[str, Job]) -> CheckResult:
    """`sizes`: how many instances each server has. A job that `check` names is one client's."""
    match check:
        case Conserved(job=None):
            return conserved(history, jobs=[part for job in jobs.values() for part in job.parts])
        case Conserved(job=str(job)):
            return conserved(history, jobs=[job])
        case ExactlyOnce(job=job):
            return exactly_once(history, job=job, count=_job(jobs, job).messages.count)
        case Results(job=job, expected=expected):
            return results(history, job=job, expected=expected)
        case InOrder(job=job):
            return in_order(history, job=job)
        case Bounded(job=job, limit=limit):
            return bounded(history, job=job, limit=limit)
        case Drained(job=job, within_ns=within, after=after):
            return drained(history, job=job, within_ns=within, after=after)
        case Registered(servers=servers, within_ns=within, after=after):
            return registered(history, sizes={name: sizes[name] for name in servers}, within_ns=within, after=after)
        case Latency(job=job, p50_ns=p50, p99_ns=p99, outside=outside):
            return latency(history, job=job, p50_ns=p50, p99_ns=p99, outside=outside)
        case NoOrphans():
            return no_orphans(history)
        case OneHolder(server=server, fenced=fenced):
            return one_holder(history, server=server, fenced=fenced)
        case Linearizable(use=use):
            return linear(history, use=use)
        case AtMostOnce(job=job):
            visits = Counter(stage.server for stage in _job(jobs, job).route)
            return at_most_once(history, job=job, visits=visits)
        case PerKeyOrder(job=job):
            return per_key_order(history, job=job, keys=_keys(_job(jobs, job), job, history.seed))
        case DeadlineHonest(job=job, grace_ns=grace):
            deadline = _job(jobs, job).deadline_ns
            assert deadline is not None, "the references were checked"
            return deadline_honest(history, job=job, deadline_ns=deadline, grace_ns=grace)
        case Goodput(job=job, least=least, during=during):
            return goodput(history, job=job, least=least, during=during)
        case StaleRoute(server=server, within_ns=within):
            return stale_route(history, server=server, within_ns=within)
        case Converged(within_ns=within, after=after):
            return converged(history, within_ns=within, after=after)
        case Custom(run=function):
            return _custom(function, history)
    raise AssertionError(f"{check} is a check of the table without a line here")


def _job(jobs: Mapping[str, Job], part: str) -> Job:
    return jobs[part.partition("[")[0]]


def _keys(job: Job, part: str, seed: int) -> list[bytes]:
    """The first word of each payload: they are a function of the seed."""
    return [(payload.split(maxsplit=1) or [b""])[0] for payload in payloads(job.messages, seed, part)]


def _custom(function: Run, history: History) -> CheckResult:
    try:
        wrong = load_function(function.file, function.class_name)(history)
    except Exception as error:  # whatever a user's check raises is shown as one error
        raise HarnessError(f"check {function.class_name} raised {said_by(error, function.file)}") from error
    verdict = Verdict.BROKEN if wrong else Verdict.HOLDS
    return CheckResult(check="custom", verdict=verdict, why=f"{function.class_name}: {wrong or 'nothing is wrong'}")
