"""What a state machine does to a simulated cluster, as plain functions: call them from any test of your own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator, Sequence

from palm.client import Client
from palm.jobs import Job
from palm.sim.network import Rule
from palm.testing.simulate import Simulation

PATIENCE_S = 600.0
"""Simulated seconds within which a healed cluster has ended every message: leases, retries and the longest freeze."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A job under way: what was sent, and where its results come."""

    payloads: tuple[bytes, ...]
    job: Job
    results: Iterator[bytes]


def send(client: Client, route: str, payloads: Sequence[bytes]) -> Sent:
    """Start a job and go on; its messages travel while the simulation runs. What fails is left to the ledger."""
    job = client.job(payloads, [route], errors="skip")
    return Sent(tuple(payloads), job, iter(client.submit(job)))


def crash(sim: Simulation, who: str) -> None:
    """Kill an instance. Harmless when it is down."""
    sim.crash(who)


def restart(sim: Simulation, who: str) -> None:
    """Start an instance; one that runs is killed first."""
    sim.restart(who)


def freeze(sim: Simulation, who: str, seconds: float) -> None:
    """Have an instance stand still for a while."""
    sim.freeze(who, seconds)


def cut(sim: Simulation, between: str) -> Rule:
    """Cut links until they are healed."""
    return sim.cut(between)


def heal(sim: Simulation, cuts: Sequence[Rule]) -> None:
    """End cuts. Harmless for those that have ended."""
    for rule in cuts:
        sim.heal(rule)


def advance(sim: Simulation, seconds: float) -> None:
    """Let simulated time pass."""
    sim.run(seconds)


def drain(sim: Simulation, sent: Sequence[Sent]) -> list[list[bytes]]:
    """Wait for the last result of every job; the results of each, as they came."""
    return [list(one.results) for one in sent]


def ledger_is_exact(sent: Sequence[Sent]) -> None:
    """At every moment: sent = delivered + failed + expired + dead lettered + in flight."""
    for one in sent:
        ledger = one.job.ledger
        assert ledger.adds_up, f"the ledger does not add up: {ledger}"


def nothing_is_open(sim: Simulation, sent: Sequence[Sent]) -> None:
    """At the end: every message has ended, and nobody holds anything for a job that is over."""
    for one in sent:
        ledger = one.job.ledger
        assert ledger.in_flight == 0 and ledger.sent == len(one.payloads), f"not all has ended: {ledger}"
    left = sim.left_open()
    assert left == [], f"left open: {'; '.join(left)}"
