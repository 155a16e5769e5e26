"""A store under drawn faults: whatever is cut, frozen, crashed or full, what its clients saw fits into one order."""

from __future__ import annotations

from typing import Literal, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from palm.sim.linearizable import linearizable
from palm.sim.scenario.stores import StoreUse
from palm.sim.store_load import StoreLoad
from palm.testing.simulate import Simulation, simulate
from tests.support import keeping

NS = 1_000_000_000
INSTANCES = ("kv[0]", "kv[1]", "kv[2]")
PLACES = (*INSTANCES, "registry", "client")


class Fault(NamedTuple):
    kind: Literal["crash", "freeze", "cut", "away", "full"]
    at_s: float
    for_s: float
    who: str
    other: str = ""


moments = st.floats(0.5, 25.0).map(lambda second: round(second, 2))
spans = st.floats(0.2, 9.0).map(lambda second: round(second, 2))
harmless = (
    st.builds(Fault, st.just("freeze"), moments, spans, st.sampled_from(INSTANCES))
    | st.builds(Fault, st.just("cut"), moments, spans, st.sampled_from(PLACES), st.sampled_from(PLACES))
    | st.builds(Fault, st.just("away"), moments, spans, st.just("registry"))
)
on_disks = harmless | (
    st.builds(Fault, st.just("crash"), moments, spans, st.sampled_from(INSTANCES))
    | st.builds(Fault, st.just("full"), moments, spans, st.sampled_from(INSTANCES))
)


def make_it_happen(sim: Simulation, fault: Fault) -> None:
    match fault.kind:
        case "freeze":
            sim.freeze(fault.who, fault.for_s)
        case "cut":
            sim.cut(f"{fault.who} -> {fault.other}", fault.for_s)
        case "away":
            sim.registry_down(fault.for_s)
        case "crash":
            sim.crash(fault.who)
            sim.at(sim.now + fault.for_s, lambda: sim.restart(fault.who))
        case "full":
            sim.fill_disk(fault.who)
            sim.at(sim.now + fault.for_s, lambda: sim.fill_disk(fault.who, False))


def what_clients_see(faults: list[Fault], seed: int, *, durable: bool) -> None:
    use = StoreUse(
        id="kv", server="kv", clients=("client",) * 3, operations=120, keys=2, pause_ns=NS // 8, timeout_ns=12 * NS
    )
    with simulate(keeping.Plain, name="kv", instances=3, seed=seed, durable=durable) as sim:
        kernel = sim.cluster.world.kernel
        loads = [StoreLoad(use, f"c{number}", "client", kernel, reads_only=False) for number in range(3)]
        for load in loads:
            sim.cluster.client(load.client, load.place, load.begin)
        for fault in faults:
            if fault.who != fault.other:
                sim.at(fault.at_s, lambda fault=fault: make_it_happen(sim, fault))  # type: ignore[misc]  # bound
        sim.run(30)
        kernel.run_until(lambda: all(load.has_ended for load in loads), 400 * NS)
        assert all(load.has_ended for load in loads), "once all is well again the store serves"
        seen = [operation for load in loads for operation in load.all_seen()]
        assert sum(operation.returned is not None for operation in seen) >= 60
        assert linearizable(seen).holds is not False, "None: too many unknown ends to search"


@settings(max_examples=12, deadline=None)
@given(st.lists(harmless, max_size=6), st.integers(0, 2**32))
def test_what_clients_of_a_store_in_memory_see_fits_into_one_order(faults: list[Fault], seed: int) -> None:
    """As long as no instance dies: what is in memory dies with it."""
    what_clients_see(faults, seed, durable=False)


@settings(max_examples=12, deadline=None)
@given(st.lists(on_disks, max_size=8), st.integers(0, 2**32))
def test_what_clients_of_a_store_on_disks_see_fits_into_one_order(faults: list[Fault], seed: int) -> None:
    """Also where every instance dies, and disks are full."""
    what_clients_see(faults, seed, durable=True)
