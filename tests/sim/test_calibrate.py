"""Calibration: what a recording shows becomes times and costs, and a scenario takes them as they are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from palm.errors import BadRecord, ScenarioError
from palm.observe.record import Carried, Handled, Process, Used
from palm.sim.calibrate import as_yaml, calibrate
from palm.sim.draws import Distribution, Fixed, Key, LogNormal, Uniform
from palm.sim.scenario.names import LOCAL
from palm.sim.scenario.scenario import Scenario, parse
from palm.sim.simulation import run

US, MS = 1_000, 1_000_000
COUNT = 600

SERVER = """
from palm import ButterflyServer

class Work(ButterflyServer):
    def work(self, message: bytes) -> bytes:
        return message
"""

SCENARIO = """
palm: scenario/1
name: taken
about: As it was calibrated.
calibration: fit.yaml
clock: {limit: 60s}
world:
  hosts: {here: , there: {cores: 8}}
  servers:
    work: {run: "work.py:Work", host: here, instances: 2, functions: [work]}
    own: {run: "work.py:Work", host: there, functions: [work], service: 3ms}
links:
  - {between: here <-> there, delay: 9ms}
load:
  - {id: main, client: here, route: [work.work], messages: {count: 50, sizes: 20B}}
  - {id: other, client: there, route: [own.work], messages: {count: 5, sizes: 20B}, cpu: {frame: 1us}}
"""


def recording(
    *, computed: Distribution = Fixed(2 * MS), pause: Distribution = Fixed(0), delay: Distribution = Fixed(90 * US)
) -> list[Process]:
    """A client, a leader and a worker: 20 us of PALM's a frame, and 80 us for each handling; runs wait for a processor,
    too, which is no time of the handling."""
    key = Key(7, "recording")
    leader = Process(name="l", server="work", host="m", machine="m", cores=2)
    worker = Process(name="w", server="work", host="m", machine="m", cores=2)
    client = Process(name="c", server="", host="m", machine="m", cores=2)
    now = spent = 0
    for number in range(COUNT):
        waited = 500 * US * (number % 3)
        one, other = computed.sample(key.unit(3 * number)), pause.sample(key.unit(3 * number + 1))
        worker.handled.append(Handled(now, "work", one + other + waited, one, waited))
        leader.sent.append(Carried(now, "l", "w", 100, number))
        worker.came.append(Carried(now + delay.sample(key.unit(3 * number + 2)), "l", "w", 100, number))
        now += one + other + waited + 100 * US
        spent += one
        if number % 20 == 19:
            frames = 2 * (number + 1)
            worker.used.append(Used(now, spent + 20 * US * frames + 80 * US * (number + 1), frames, frames))
            leader.used.append(Used(now, 20 * US * 2 * frames, 2 * frames, 2 * frames))
            client.used.append(Used(now, 35 * US * frames, frames, frames))
    return [leader, worker, client]


def taken(folder: Path, fragment: str, text: str = SCENARIO) -> Scenario:
    (folder / "work.py").write_text(SERVER)
    (folder / "fit.yaml").write_text(fragment)
    return parse(text, str(folder / "taken.yaml"))


def test_times_and_costs_of_a_recording_are_found() -> None:
    """Computing, waiting, waiting for a processor, and PALM's own cost are told apart."""
    found = calibrate(recording(pause=Uniform(1 * MS, 5 * MS), delay=LogNormal(90 * US, 400 * US)))
    work = found.servers["work"]
    assert work.handling is not None and work.handling.best.distribution == Fixed(2 * MS)
    assert isinstance(work.service.best.distribution, Uniform)
    assert work.service.best.distribution.low == pytest.approx(1 * MS, rel=0.02)
    # One message in each frame: what both cost together is known.
    assert work.cost.frame + work.cost.message == pytest.approx(20 * US, rel=0.01)
    assert work.cost.handover == pytest.approx(80 * US, rel=0.01)
    assert found.clients is not None
    assert found.clients.frame + found.clients.message == pytest.approx(35 * US, rel=0.01)
    assert found.local is not None and found.local.best.at(0.5) == pytest.approx(90 * US, rel=0.12)
    assert (found.links, found.cores) == (None, 2)


def test_costs_say_how_well_they_fit_each_process() -> None:
    """What was used beside what the fit says, as parts of a core."""
    for used, fitted in calibrate(recording()).servers["work"].cost.used:
        assert 0 < used < 0.1 and fitted == pytest.approx(used, rel=0.01)


def test_coroutines_have_times_but_no_processor_time_of_their_own() -> None:
    """It is not known: all of it is service time."""
    processes = recording()
    for process in processes:
        process.handled = [one._replace(computed=-1, waited=-1) for one in process.handled]
    work = calibrate(processes).servers["work"]
    assert work.handling is None and work.service.measured(0.01) == 2 * MS


def test_a_scenario_takes_the_fragment_as_it_is(tmp_path: Path) -> None:
    """Where it says nothing itself: links, cores, service and cpu; what it says is kept."""
    found = calibrate(recording(pause=Uniform(1 * MS, 5 * MS)))
    scenario = taken(tmp_path, as_yaml(found))
    work, own = (scenario.world.servers[name] for name in ("work", "own"))
    cost = found.servers["work"].cost
    figures = [float(f"{one:.4g}") for one in (cost.handover, cost.frame, cost.message)]
    assert work.cpu.handling == Fixed(2 * MS)
    assert [work.cpu.handover, work.cpu.frame, work.cpu.message] == figures
    assert isinstance(work.service, Uniform) and own.service == Fixed(3 * MS)
    assert [host.cores for host in scenario.world.hosts.values()] == [2, 8]
    assert scenario.load[0].cpu.frame > 10 * US and scenario.load[1].cpu.frame == 1 * US
    assert [link.between for link in scenario.links] == [LOCAL, scenario.links[1].between]
    assert run(scenario, 1).ledger.delivered == 55


@pytest.mark.parametrize(
    "shape",
    [Fixed(2 * MS), Uniform(MS, 9 * MS), LogNormal(MS, 9 * MS)],
    ids=["fixed", "uniform", "lognormal"],
)
def test_what_is_written_is_what_was_fitted(tmp_path: Path, shape: Distribution) -> None:
    """To the digits that a measurement has; an empirical one, too."""
    for one in calibrate(recording(computed=shape)).servers["work"].handling.fits:  # type: ignore[union-attr]  # it is known
        found = calibrate(recording(computed=shape))
        handling = found.servers["work"].handling
        assert handling is not None
        fits = (one, *(fit for fit in handling.fits if fit.kind != one.kind))
        object.__setattr__(handling, "fits", fits)
        read = taken(tmp_path, as_yaml(found)).world.servers["work"].cpu.handling
        for share in (0.02, 0.5, 0.9, 0.99):
            assert read.sample(share) == pytest.approx(one.distribution.sample(share), rel=2e-3, abs=1)


def test_too_little_is_refused_with_what_is_missing() -> None:
    """Servers, or messages."""
    processes = recording()
    with pytest.raises(BadRecord, match="clients only: record the servers too"):
        calibrate(processes[2:])
    del processes[1].handled[49:]
    with pytest.raises(BadRecord, match="49 messages of server 'work' were handled .* at least 50 are needed"):
        calibrate(processes)


@pytest.mark.parametrize(
    ("fragment", "said"),
    [
        ("palm: calibration/0\n", "fit.yaml:1: palm: expected calibration/1, found 'calibration/0' (a file of another"),
        ("palm: scenario/1\n", "fit.yaml:1: palm: expected calibration/1"),
        ("palm: calibration/1\ncore: 2\n", "fit.yaml:2: core: calibration has no key 'core' (did you mean 'cores'?)"),
        (
            "palm: calibration/1\nservers:\n  work:\n    cpu: {handling: {lognormal: {p50: 2ms, p99: 1ms}}}\n",
            "expected p99 to be at least p50",
        ),
        (
            "palm: calibration/1\nservers: {burn: {service: 1ms}}\n",
            "expected a calibration of a server of this scenario (work, own), found 'fit.yaml': it is of burn",
        ),
    ],
)
def test_a_fragment_that_is_none_is_refused_by_its_own_line(tmp_path: Path, fragment: str, said: str) -> None:
    """File, line, key, what was expected."""
    with pytest.raises(ScenarioError) as refused:
        taken(tmp_path, fragment)
    assert said in str(refused.value)


def test_a_calibration_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """By the scenario's line."""
    with pytest.raises(ScenarioError, match="taken.yaml:5: calibration: expected a file"):
        taken(tmp_path, "", SCENARIO.replace("calibration: fit.yaml", "calibration: fat.yaml"))
