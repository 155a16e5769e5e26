"""Processor time: processes of a host share its cores, PALM's own steps go first, and nothing of it gets lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palm.errors import BadRequest, ScenarioError
from palm.sim.kernel import Kernel
from palm.sim.processor import FREE, Machine, Processor
from palm.sim.scenario.scenario import load, parse
from palm.sim.simulation import Result, run

MS = 1_000_000


class Desk:
    """A machine, and when each piece of work on it was done."""

    def __init__(self, cores: int | None) -> None:
        self.kernel = Kernel(1)
        self.machine = Machine(self.kernel, cores)
        self.done: dict[str, int] = {}

    def lane(self) -> Processor:
        return self.machine.processor(FREE)

    def compute(self, lane: Processor, name: str, duration: int, *, own: bool = False) -> None:
        lane.compute(duration, lambda: self.done.update({name: self.kernel.now}), own=own)

    def run(self, until: int = 10**12) -> dict[str, int]:
        self.kernel.run(until)
        return self.done


def test_processes_share_one_core_alike() -> None:
    """Two processes on one core take twice as long each; when the first is through, the other goes on at full speed."""
    desk = Desk(cores=1)
    desk.compute(desk.lane(), "short", 10 * MS)
    desk.compute(desk.lane(), "long", 30 * MS)
    assert desk.run() == {"short": 20 * MS, "long": 40 * MS}


def test_as_many_processes_as_cores_do_not_wait() -> None:
    """Two processes on two cores, and any number without a bound, take the time that they need."""
    for cores in (2, None):
        desk = Desk(cores)
        desk.compute(desk.lane(), "a", 10 * MS)
        desk.compute(desk.lane(), "b", 15 * MS)
        assert desk.run() == {"a": 10 * MS, "b": 15 * MS}


def test_three_processes_get_two_thirds_of_a_core_each() -> None:
    """Work that there is more of than cores is shared by all."""
    desk = Desk(cores=2)
    for name in "abc":
        desk.compute(desk.lane(), name, 10 * MS)
    assert desk.run() == dict.fromkeys("abc", 15 * MS)


def test_a_step_of_palms_own_interrupts_user_code() -> None:
    """Within a process PALM goes first, and what it interrupts goes on after it."""
    desk = Desk(cores=1)
    lane = desk.lane()
    desk.compute(lane, "handling", 10 * MS)
    desk.kernel.call_at(4 * MS, lambda: desk.compute(lane, "step", MS, own=True))
    assert desk.run() == {"step": 5 * MS, "handling": 11 * MS}


def test_what_is_frozen_computes_nothing_and_lets_others_have_it() -> None:
    """A process that stops gets no share, and has as much left when it goes on."""
    desk = Desk(cores=1)
    frozen, other = desk.lane(), desk.lane()
    desk.compute(frozen, "frozen", 10 * MS)
    desk.compute(other, "other", 20 * MS)
    desk.kernel.call_at(4 * MS, frozen.stop)
    desk.kernel.call_at(100 * MS, frozen.go)
    assert desk.run() == {"other": 22 * MS, "frozen": 108 * MS}


def test_what_has_crashed_is_never_through() -> None:
    """Work of a process that died is gone."""
    desk = Desk(cores=1)
    dead, other = desk.lane(), desk.lane()
    desk.compute(dead, "dead", 10 * MS)
    desk.compute(other, "other", 10 * MS)
    desk.kernel.call_at(4 * MS, dead.crash)
    assert desk.run() == {"other": 12 * MS}


@given(
    st.lists(st.lists(st.integers(1, 10**9), min_size=1, max_size=4), min_size=1, max_size=5),
    st.integers(1, 4),
)
@settings(max_examples=100, deadline=None)
def test_cores_are_never_idle_while_there_is_work(lanes: list[list[int]], cores: int) -> None:
    """All that begins at one moment ends no sooner than its work divided by the cores, nor than the longest lane; and
    on one core exactly when the sum is done, to a nanosecond for each change."""
    desk = Desk(cores)
    for index, works in enumerate(lanes):
        lane = desk.lane()
        for number, duration in enumerate(works):
            desk.compute(lane, f"{index}.{number}", duration)
    end = max(desk.run(10**15).values())
    total, longest = sum(map(sum, lanes)), max(map(sum, lanes))
    changes = 2 * sum(map(len, lanes))
    assert end >= max(total / cores, longest) - changes
    assert end <= total + changes
    if cores == 1:
        assert abs(end - total) <= changes
    if cores >= len(lanes):
        assert abs(end - longest) <= changes


def test_a_machine_without_cores_is_refused() -> None:
    """Nothing could ever happen there."""
    with pytest.raises(BadRequest, match="at least 1 core, not 0"):
        Machine(Kernel(1), 0)


# -- in a scenario ----------------------------------------------------------------------------------------------------

SERVER = """
from palm import ButterflyServer

class Work(ButterflyServer):
    def work(self, message: bytes) -> bytes:
        return message
"""

SCENARIO = """# What this proves: nothing by itself.
palm: scenario/1
name: cores
about: As much is done as the cores allow.
clock: {limit: 100s}
world:
  hosts: {here: {cores: CORES}}
  servers:
    work: {run: "work.py:Work", host: here, instances: INSTANCES, functions: [work], cpu: {handling: 2ms, frame: FRAME}}
links:
  - {between: local, delay: 60us}
load:
  - {id: main, client: here, route: [work.work], messages: {count: 400, sizes: 20B}, window: 64, cpu: {frame: FRAME}}
"""


def written(folder: Path, *, cores: int, instances: int, frame: str = "0s") -> Path:
    (folder / "work.py").write_text(SERVER)
    text = SCENARIO.replace("CORES", str(cores)).replace("INSTANCES", str(instances)).replace("FRAME", frame)
    path = folder / "cores.yaml"
    path.write_text(text)
    return path


def rate(result: Result) -> float:
    moments = [entry.at for entry in result.history.entries if entry.kind.value in ("sent", "delivered")]
    return 400 / ((moments[-1] - moments[0]) / 1e9)


def rate_with(folder: Path, **world: int | str) -> float:
    return rate(run(load(written(folder, **world)), 1))  # type: ignore[arg-type]  # names and types of `written`


def test_workers_are_as_fast_as_the_cores_that_they_have(tmp_path: Path) -> None:
    """Work of 2 ms: one worker does 500 a second; three do 1,000 on two cores, and 1,500 on four."""
    assert rate_with(tmp_path, cores=2, instances=2) == pytest.approx(500, rel=0.03)
    assert rate_with(tmp_path, cores=2, instances=4) == pytest.approx(1000, rel=0.05)
    assert rate_with(tmp_path, cores=4, instances=4) == pytest.approx(1500, rel=0.07)


def test_what_palm_costs_is_taken_from_the_same_cores(tmp_path: Path) -> None:
    """Where workers could use all cores, what client and leader compute slows them down."""
    free = rate_with(tmp_path, cores=2, instances=3)
    costly = rate_with(tmp_path, cores=2, instances=3, frame="500us")
    assert costly < 0.9 * free


def test_costs_are_drawn_alike_in_every_run(tmp_path: Path) -> None:
    """The same seed gives the same trace, whatever is computed."""
    scenario = load(written(tmp_path, cores=2, instances=4, frame="40us"))
    assert run(scenario, 3).trace_hash == run(scenario, 3).trace_hash


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("cores: 1", "cores: 0", "cores.yaml:7: world.hosts.here.cores: expected a whole number from 1 to 4096"),
        ("cores: 1", "core: 1", "host has no key 'core' (did you mean 'cores'?)"),
        ("{handling: 2ms, frame: 0s}", "2ms", "cores.yaml:9: world.servers.work.cpu: expected"),
        ("handling: 2ms", "handlings: 2ms", "cpu has no key 'handlings' (did you mean 'handling'?)"),
        ("cpu: {frame: 0s}}", "cpu: {handling: 1ms}}", "load[0].cpu.handling: cpu has no key 'handling'"),
    ],
)
def test_costs_that_are_none_are_refused(tmp_path: Path, right: str, wrong: str, said: str) -> None:
    """The error names file, key, and what was expected."""
    text = written(tmp_path, cores=1, instances=2).read_text()
    assert right in text
    with pytest.raises(ScenarioError) as refused:
        parse(text.replace(right, wrong), str(tmp_path / "cores.yaml"))
    assert said in str(refused.value)


def test_a_local_link_has_a_delay_only(tmp_path: Path) -> None:
    """A host loses nothing to itself."""
    text = written(tmp_path, cores=1, instances=2).read_text().replace("delay: 60us", "loss: 1%")
    with pytest.raises(ScenarioError, match="a local link has a delay and nothing else"):
        parse(text, str(tmp_path / "cores.yaml"))


def test_costs_of_one_client_are_the_same_for_all_its_jobs(tmp_path: Path) -> None:
    """Two jobs of one host share a client, and so what it computes."""
    text = written(tmp_path, cores=1, instances=2).read_text()
    second = "  - {id: more, client: here, route: [work.work], messages: {count: 1, sizes: 20B}, cpu: {frame: 9us}}\n"
    with pytest.raises(ScenarioError, match=r"load\[1\].cpu: expected the same cpu for all jobs of the client at here"):
        parse(text + second, str(tmp_path / "cores.yaml"))
