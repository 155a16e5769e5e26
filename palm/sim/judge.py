"""A run judged by what its scenario expects: from the values of an `expect` block to the checks, and to one verdict."""

from __future__ import annotations

from typing import Iterable, Mapping

from palm.sim.checkers import (
    CheckResult,
    Verdict,
    bounded,
    conserved,
    drained,
    exactly_once,
    in_order,
    latency,
    must_bite,
    never,
    no_orphans,
    one_holder,
    registered,
    results,
    sometimes,
)
from palm.sim.history import History
from palm.sim.scenario.expectations import (
    Bounded,
    Check,
    Conserved,
    Drained,
    ExactlyOnce,
    InOrder,
    Latency,
    NoOrphans,
    OneHolder,
    Registered,
    Results,
)
from palm.sim.scenario.scenario import Scenario


def judge(scenario: Scenario, history: History) -> list[CheckResult]:
    """Everything that the scenario expects, in its order; first of all, asked for or not, that nothing is lost."""
    expect = scenario.expect
    asked = [*expect.always, *expect.eventually, *expect.finally_]
    is_asked = any(isinstance(check, Conserved) and check.job is None for check in asked)
    always_on: list[Check] = [] if is_asked else [Conserved()]
    sizes = {name: len(server.places) for name, server in scenario.world.servers.items()}
    counts = {job.id: job.messages.count for job in scenario.load}
    judged = [run_check(check, history, sizes, counts) for check in [*always_on, *asked]]
    judged += [sometimes(one, history) for one in expect.sometimes]
    judged += [never(one, history) for one in expect.never]
    if expect.faults_must_bite and scenario.script:
        judged.append(must_bite([step.id for step in scenario.script], history))
    return judged


def overall(results: Iterable[CheckResult]) -> Verdict:
    """The worst of them; a broken check is a finding even where another could not tell."""
    verdicts = [result.verdict for result in results]
    return max(verdicts, key=[Verdict.HOLDS, Verdict.INCONCLUSIVE, Verdict.BROKEN].index, default=Verdict.HOLDS)


def run_check(check: Check, history: History, sizes: Mapping[str, int], counts: Mapping[str, int]) -> CheckResult:
    """`sizes`: how many instances each server has; `counts`: how many messages each job has."""
    match check:
        case Conserved(job=None):
            return conserved(history, jobs=list(counts))
        case Conserved(job=str(job)):
            return conserved(history, jobs=[job])
        case ExactlyOnce(job=job):
            return exactly_once(history, job=job, count=counts[job])
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
        case OneHolder(server=server):
            return one_holder(history, server=server)
    raise AssertionError(f"{check} is a check of the table without a line here")
