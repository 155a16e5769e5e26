"""What the actions of a script do to a small world, and that each tells what it has touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from palm.errors import ScenarioError
from palm.sim.checkers import Verdict
from palm.sim.draws import Fixed
from palm.sim.kernel import Kernel
from palm.sim.network import Ends, Link, Network
from palm.sim.scenario.scenario import parse
from palm.sim.simulation import Result, run

ROOT = Path(__file__).parents[2]
SMALL = """
palm: scenario/1
name: small
about: A short job under one fault.
clock: {limit: 60s, settle: 20s}
world:
  registry: {members: 3}
  hosts: {edge: {zone: a}, one: {zone: a}, two: {zone: b}}
  servers:
    count: {run: "examples/text/count.py:Count", hosts: [one, two], service: 5ms}
load:
  - {id: main, client: edge, route: [count.words], messages: {count: 200, payload: words}, rate: 50/s, deadline: 30s}
script:
  - {id: it, at: 1s, STEP}
expect:
  finally: [{check: exactly-once, job: main}, {check: no-orphans}]
"""


def under(step: str, **changes: str) -> Result:
    text = SMALL.replace("STEP", step)
    for old, new in changes.items():
        text = text.replace(old, new)
    return run(parse(text, str(ROOT / "scenarios" / "small.yaml")), 7)


@pytest.mark.parametrize(
    "step",
    [
        'do: reset, link: "* <-> *"',
        "do: busy, who: count, by: {uniform: {low: 1ms, high: 9ms}}, for: 1s",
        "do: drift, who: half(count), ppm: 300, for: 2s",
        "do: jump-clock, who: zone:b, by: -1h",
        "do: disk-full, who: registry, for: 1s",
        'do: upgrade, who: "count[1]", to: "examples/text/count.py:Count"',
        "do: scale, server: count, to: 4",
        "do: registry.lose-quorum, for: 2s",
        "do: registry.change-leader",
        "do: registry.expire, who: one(count)",
        "do: registry.compact",
        "do: registry.drop-watch",
        "do: crash, who: registry.leader",
        "do: freeze, who: registry.leader, for: 2s",
        'do: cut, link: "registry.leader <-> registry", for: 3s',
        'do: cut, link: "* <-> registry.leader", for: 3s',
        "do: freeze, who: registry, for: 2s",
    ],
)
def test_nothing_is_lost_under_one_fault_which_tells_what_it_touched(step: str) -> None:
    """Each action of the table on a running job: its effect is counted, and what PALM promises is kept."""
    may_miss = "faults: may-miss\n  finally:" if step.startswith("do: disk-full") else "finally:"
    result = under(step, **{"finally:": may_miss})
    assert result.verdict is Verdict.HOLDS, result.checks
    assert result.history.touched["it"] > 0 or step.startswith("do: disk-full")


def test_a_fault_that_touches_nothing_makes_the_run_inconclusive() -> None:
    """A watch that lags where nothing happens proves nothing; nor does a doubt about writes that nobody makes."""
    assert under("do: registry.lag-watch, by: 1s, for: 1ms").verdict is Verdict.INCONCLUSIVE
    assert under("do: registry.unsure, writes: 3").verdict is Verdict.INCONCLUSIVE


def test_a_busy_processor_makes_answers_late() -> None:
    """The time is added to each handling while it lasts."""
    begin = "do: busy, who: count, by: 100ms, for: 3s"
    slow = under(begin, **{"finally: [": "finally: [{check: latency, job: main, p50: 20ms}, "})
    [latency] = [check for check in slow.checks if check.check == "latency"]
    assert latency.verdict is Verdict.BROKEN


def test_the_registry_comes_back_after_a_crash() -> None:
    """Dead until it is restarted, as a process is."""
    result = under("do: crash, who: registry}\n  - {id: back, after: {step: it, plus: 3s}, do: restart, who: registry")
    assert (
        result.verdict is Verdict.HOLDS and result.history.active["it"][0].end == result.history.active["back"][0].end
    )


def test_a_load_of_several_clients_is_judged_for_each() -> None:
    """Their messages are named by client, and a check of the job is a check of all."""
    result = under("do: registry.compact", **{"client: edge": "client: edge, clients: 3, takes: 2ms, start: 500ms"})
    assert result.verdict is Verdict.HOLDS and result.ledger.delivered == 600
    assert {entry.job for entry in result.history.entries if entry.job} == {"main[0]", "main[1]", "main[2]"}
    [check] = [check for check in result.checks if check.check == "exactly-once"]
    assert check.why.endswith("(of 3 clients)")


def test_a_queue_overflows_and_what_is_on_top_is_lost() -> None:
    """Ten frames of 1,000 bytes at once into a link of 1,000 bytes/s with room for 3,000 waiting."""
    network = Network(Kernel(1))
    for name in ("a", "b"):
        network.add_host(name)
    network.link(Ends("a", "b"), Link(Fixed(0), rate=1000, queue=3000))
    arrived: list[int] = []
    pipe = network.pipe(("a", "a"), ("b", "b"), "wire", arrived.extend)
    sent = [pipe.send(number, (b"x" * 1000,)) for number in range(10)]
    network.kernel.run(20 * 10**9)
    assert arrived == [0, 1, 2, 3] and sent == [True] * 4 + [False] * 6


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("do: restart, who: registry.leader", "step:ID or registry[INDEX]"),
        ('do: crash, who: "registry[3]"', "an index from 0 to 2"),
        ('do: cut, link: "one <-> registry[3]", for: 1s', "an index from 0 to 2"),
        ('do: slow, link: "registry.leader <-> registry", by: 1ms, for: 1s', "between members of the registry nothing"),
        ("do: registry.refuse, for: 1s", "a registry that wants a password"),
        ("do: busy, who: registry, by: 1ms, for: 1s", "what can be done to it is crash, restart, freeze or disk-full"),
        ("do: scale, server: cuont, to: 3", "did you mean 'count'?"),
        ("do: drift, who: count, ppm: 900000", "a whole number from -100000 to 100000"),
        ("do: jump-clock, who: count, by: soon", "a time forward or back such as 1h or -90s"),
        ("do: disk-full, who: count, for: 1s", "only those keep anything on a disk; here: none"),
        ('do: upgrade, who: count, to: "examples/text/count.py:Conut"', "did you mean 'Count'?"),
    ],
)
def test_an_action_that_cannot_be_done_is_refused_where_it_stands(step: str, said: str) -> None:
    """File, line, key, and what would do."""
    with pytest.raises(ScenarioError) as refused:
        parse(SMALL.replace("STEP", step), str(ROOT / "scenarios" / "small.yaml"))
    assert said in str(refused.value) and "small.yaml:14: script[0]" in str(refused.value)


MARKED = """
from palm import RegisteredServer

class Marked(RegisteredServer):
    def work(self, message):
        self.mark("half")
        return message
"""


@pytest.mark.parametrize(
    ("effect", "handled", "failed"),
    [("effect: fail, times: 3", 200, 3), ("effect: crash", 201, 0), ("effect: wait, by: 3s", 200, 0)],
)
def test_a_point_acts_where_user_code_has_placed_a_mark(
    effect: str, handled: int, failed: int, tmp_path: Path
) -> None:
    """A function fails there, or its process dies and the message is run again, or it takes its time."""
    (tmp_path / "marked.py").write_text(MARKED)
    text = SMALL.replace("STEP", f"do: point, name: half, {effect}").replace("finally: [", "finally: [] # [")
    text = text.replace("examples/text/count.py:Count", "marked.py:Marked").replace("words]", "work]")
    text = text.replace("service: 5ms", "functions: [work], service: 5ms")
    result = run(parse(text, str(tmp_path / "point.yaml")), 7)
    runs = [entry for entry in result.history.entries if entry.kind.value == "handling"]
    assert result.verdict is Verdict.HOLDS and len(runs) == handled
    assert (result.ledger.delivered, result.ledger.failed) == (200 - failed, failed)
    assert result.history.touched["it"] == max(1, failed)
