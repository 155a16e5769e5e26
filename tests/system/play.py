"""A case, played in the simulator and judged: results as in plain Python, an exact ledger, nothing left open."""

from __future__ import annotations

import time
from collections import Counter
from typing import Callable, Iterable, Iterator

from palm import DeadLettered, PalmError
from palm.sim.network import Ends, Lose, Shuffle, Twice
from palm.testing.simulate import Simulation, simulate
from tests.system.case import Case, Fault, compose_job, text_of
from tests.system.kinds import KINDS

PATIENCE_S = 600
"""Simulated: far beyond what any fault here costs."""
TAIL_S = 14
"""Leases, campaigns and the last words of a job are over by then."""


def play(case: Case, look: Callable[[Simulation], None] = lambda sim: None) -> str:
    """The hash of its trace. AssertionError, or what the client raised, where a law is broken.

    `look` sees the cluster when the run is over, however it ended.
    """
    first, *others = case.servers()
    with simulate(
        KINDS[first].make, name=first, instances=case.instances, seed=case.seed, service_s=case.service_s
    ) as sim:
        for name in others:
            sim.serve(KINDS[name].make, name=name, instances=case.instances, service_s=case.service_s)
        try:
            run(case, sim)
        finally:
            look(sim)
        return sim.trace_hash


def run(case: Case, sim: Simulation) -> None:
    clients = [sim.client(timeout=PATIENCE_S, window=case.window) for _ in range(case.clients)]
    for client in clients:
        client.connect()  # which needs the registry
    began = sim.now
    for fault in case.faults:
        sim.at(began + fault.at_s, lambda fault=fault: strike(sim, fault))  # type: ignore[misc]  # bound now
    route = text_of(case.route)
    jobs = [client.job(slowly(case), route, ordered=case.ordered, errors="yield") for client in clients]
    streams = [client.submit(job) for client, job in zip(clients, jobs, strict=True)]
    for job, stream in zip(jobs, streams, strict=True):
        judge_results(case, list(stream), tuple(job.ledger))
    healed = began + max((fault.at_s + fault.for_s for fault in case.faults), default=0.0)
    sim.run(max(0.0, healed - sim.now) + TAIL_S)
    assert sim.left_open() == []


def slowly(case: Case) -> Iterator[bytes]:
    for payload in case.payloads():
        yield payload
        time.sleep(case.pause_s)  # simulated, as all of a user's code is here


def judge_results(case: Case, got: list[bytes | PalmError], ledger: tuple[int, ...]) -> None:
    failures = [one for one in got if isinstance(one, PalmError)]
    dead = {one.sequence for one in failures if isinstance(one, DeadLettered) and case.is_harsh()}
    assert len(dead) == len(failures), f"failed: {failures}"
    assert ledger == (case.messages, case.messages - len(dead), 0, 0, len(dead), 0), f"the ledger is {ledger}"
    if dead and case.folds():
        return  # what the dead left out of which fold is not to be seen from here
    expected = compose_job(case.route, [one for number, one in enumerate(case.payloads()) if number not in dead])
    results = [one for one in got if isinstance(one, bytes)]
    lost, made = Counter(expected) - Counter(results), Counter(results) - Counter(expected)
    assert not lost and not made, f"lost {short(lost.elements())}, made up {short(made.elements())}"
    assert results == expected or not case.ordered, f"out of order: {short(results)}, not {short(expected)}"


def short(results: Iterable[bytes]) -> list[bytes]:
    return [one if len(one) < 80 else one[:40] + b"..." + one[-30:] for one in results]


def strike(sim: Simulation, fault: Fault) -> None:
    who, for_s = fault.who, fault.for_s
    match fault.what:
        case "cut":
            sim.cut(f"{who} <-> *", for_s)
        case "mute":
            sim.cut(f"{who} -> *", for_s)
        case "orphan":
            sim.cut(f"{who} <-> registry", for_s)
        case "rain":
            network = sim.cluster.world.network
            for action in (Lose(0.05), Twice(0.05), Shuffle(0.05)):
                rule = network.lay(Ends.parse("* <-> *"), action)
                sim.at(sim.now + for_s, lambda rule=rule: sim.heal(rule))  # type: ignore[misc]  # bound now
        case "absent":
            sim.registry_down(for_s)
        case "freeze":
            sim.freeze(who, for_s)
        case "crash" | "drain":
            (sim.crash if fault.what == "crash" else sim.drain)(who)
            sim.at(sim.now + for_s, lambda: sim.restart(who))
