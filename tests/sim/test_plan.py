"""Plans: a number of a scenario gets several values, and what each comes to is measured alike."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from palm.errors import HarnessError, ScenarioError
from palm.sim.history import Entry, EntryKind, History
from palm.sim.plan import Plan, Point, Vary, measured, parse_vary, plan, varied
from palm.sim.plan_svg import as_svg
from palm.sim.scenario.scenario import Scenario, load
from palm.sim.verdict import Verdict

MS = 1_000_000

SERVER = """
from palm import ButterflyServer, RegisteredServer

class Work(ButterflyServer):
    def work(self, message: bytes) -> bytes:
        return message

class Plain(RegisteredServer):
    def work(self, message: bytes) -> bytes:
        return message

class Strange(type("Base", (RegisteredServer,), {})):
    work = Plain.work
"""

SCENARIO = """
palm: scenario/1
name: planned
about: Two servers and two jobs.
clock: {limit: 60s}
world:
  hosts: {here: {cores: 3}}
  servers:
    work: {run: "work.py:Work", host: here, instances: 2, functions: [work], cpu: {handling: 2ms}}
    plain: {run: "work.py:Plain", host: here, functions: [work], service: 1ms}
    strange: {run: "work.py:Strange", host: here, functions: [work]}
load:
  - {id: main, client: here, route: [work.work], messages: {count: 300, sizes: 20B}, window: 32}
  - {id: other, client: here, route: [plain.work], messages: {count: 20, sizes: 20B}, rate: 100/s}
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    (tmp_path / "work.py").write_text(SERVER)
    (tmp_path / "planned.yaml").write_text(SCENARIO)
    return str(tmp_path / "planned.yaml")


@pytest.fixture
def scenario(path: str) -> Scenario:
    return load(path)


@pytest.mark.parametrize(
    ("text", "of", "values"),
    [
        ("work.workers=1..4", "work", (1, 2, 3, 4)),
        ("plain.instances=8,1,2", "plain", (1, 2, 8)),
        ("main.window=16..64:16", "main", (16, 32, 48, 64)),
        ("other.rate=100/s..300/s:100", "other", (100, 200, 300)),
    ],
)
def test_what_is_varied_is_read(scenario: Scenario, text: str, of: str, values: tuple[int, ...]) -> None:
    """A server or a job, its number, and the values: a range, one with a step, or a list."""
    assert parse_vary(text, scenario, "f.yaml") == Vary(key=text.split("=")[0].split(".")[1], of=of, values=values)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("worker=1..4", "expected one of workers, instances, window, rate, as in workers=1..16, found 'worker=1..4' "),
        ("worker=1..4", "(did you mean 'workers'?)"),
        ("workers", "as in workers=1..16, found 'workers': its values are missing"),
        ("workers=1..4", "workers of which server? Write work.workers=... (it has work, plain, strange)"),
        ("window=1..4", "window of which job? Write main.window=... (it has main, other)"),
        ("wrok.workers=1..4", "expected a server of this scenario, found 'wrok' (did you mean 'work'?)"),
        ("mian.rate=1..4", "expected a job of this scenario, found 'mian' (did you mean 'main'?)"),
        ("strange.workers=1..4", "expected strange.instances: whether strange is a parallel server"),
        ("work.workers=4..1", "4..1 holds no value: the first is after the last"),
        ("work.workers=", "expected 1..16, 1..16:5 or 1,2,4,8 (whole numbers from 1), found ''"),
        ("work.workers=0..3", "expected 1..16"),
        ("work.workers=1..3:0", "expected 1..16"),
        ("work.workers=a,b", "expected 1..16"),
        ("main.window=1..1000", "holds 1000 values, 200 are the most: take a step, as 1..1000:5"),
        ("work.workers=20000", "expected at most 1024, found 20000"),
    ],
)
def test_what_cannot_be_varied_is_refused(scenario: Scenario, text: str, said: str) -> None:
    """File, option, what was expected, and what was found."""
    with pytest.raises(ScenarioError) as refused:
        parse_vary(text, scenario, "f.yaml")
    assert str(refused.value).startswith("f.yaml: --vary: ") and said in str(refused.value)


def test_a_value_is_put_where_it_belongs(scenario: Scenario) -> None:
    """Workers have a leader beside them; an open load becomes a closed one, and the other way round."""
    assert len(varied(scenario, "workers", "work", 3).world.servers["work"].places) == 4
    assert len(varied(scenario, "workers", "plain", 3).world.servers["plain"].places) == 3
    assert len(varied(scenario, "instances", "plain", 3).world.servers["plain"].places) == 3
    main, other = varied(scenario, "window", "other", 5).load
    assert (main.window, other.window, other.rate) == (32, 5, None)
    main, other = varied(scenario, "rate", "main", 50).load
    assert main.window is None and main.rate is not None and main.rate.due_ns(50) == 1000 * MS


def test_more_workers_do_more_until_the_cores_are_used_up(path: str) -> None:
    """Three cores: one worker of 2 ms does 500 a second, three do three times that, and five no more; that is the
    knee. Medians over seeds, in several processes or one."""
    vary = Vary(key="workers", of="work", values=(1, 2, 3, 4, 5))
    points = tuple(plan(path, vary, [1], job="main"))
    rates = [point.throughput for point in points]
    assert rates[0] == pytest.approx(500, rel=0.05)
    assert rates[2] == pytest.approx(1500, rel=0.15)
    assert max(rates[3:]) < 1.1 * rates[2]
    assert Plan(vary=vary, points=points).knee == 3
    two = Vary(key="workers", of="work", values=(1, 2))
    assert list(plan(path, two, [1], job="main", jobs=2)) == list(points[:2])


def test_throughput_is_from_the_first_sent_to_the_last_delivered() -> None:
    """And times under way from one to the other; what was lost counts for neither."""
    entries = [Entry(100 * MS, EntryKind.SENT, "main", 0), Entry(200 * MS, EntryKind.SENT, "main", 1)]
    entries += [Entry(250 * MS, EntryKind.SENT, "other", 0), Entry(300 * MS, EntryKind.DELIVERED, "main", 1)]
    entries += [Entry(600 * MS, EntryKind.DELIVERED, "main", 0), Entry(900 * MS, EntryKind.SENT, "main", 2)]
    point = measured(History(entries=entries, end_ns=10**9), 4, "main", Verdict.HOLDS, 3)
    assert (point.value, point.delivered, point.throughput) == (4, 2, pytest.approx(4.0))
    assert not point.is_whole
    assert (point.p50, point.p99) == (100 * MS, 500 * MS)
    with pytest.raises(HarnessError, match=r"at 4 no message was delivered in 1 s .* \(raise clock.limit"):
        measured(History(entries=entries, end_ns=10**9), 4, "other", Verdict.HOLDS, 1)


def test_messages_of_a_reduction_count_when_a_partial_result_has_them() -> None:
    """They are delivered only all together, at the end."""
    entries = [Entry(n * MS, EntryKind.SENT, "main", n) for n in range(4)]
    entries += [Entry((10 + n) * MS, EntryKind.ABSORBED, "main", n) for n in range(4)]
    point = measured(History(entries=entries, end_ns=10**9), 1, "", Verdict.HOLDS, 4)
    assert (point.delivered, point.p99, point.is_whole) == (4, 10 * MS, True)


def points_of(rates: list[float], verdict: Verdict = Verdict.HOLDS) -> Plan:
    points = tuple(
        Point(value=n, throughput=rate, p50=MS * n, p99=3 * MS * n, delivered=9, asked=9, verdict=verdict)
        for n, rate in enumerate(rates, 1)
    )
    return Plan(vary=Vary(key="workers", of="work", values=tuple(range(1, len(rates) + 1))), points=points)


@pytest.mark.parametrize("rates", [[5.0], [5.0, 9.0], [100.0, 200.0, 300.0, 310.0, 312.0], [0.001] * 40])
def test_a_picture_is_well_formed_and_holds_every_point(rates: list[float]) -> None:
    """One circle for each point of each line, within the picture, whatever the values are."""
    drawn = ElementTree.fromstring(as_svg(points_of(rates), "a < b & c"))
    circles = [one for one in drawn.iter() if one.tag.endswith("circle")]
    assert len(circles) == 3 * len(rates)
    assert all(0 < float(one.attrib["cx"]) < 760 and 0 < float(one.attrib["cy"]) < 560 for one in circles)
    text = "".join(drawn.itertext())
    assert "a < b & c" in text and "workers of work" in text
    assert ("knee: 3" in text) == (len(rates) == 5)


def test_a_picture_says_which_runs_did_not_hold() -> None:
    """A figure from a broken run is no promise."""
    assert as_svg(points_of([1.0, 2.0], Verdict.BROKEN), "t").count(">broken<") == 2
