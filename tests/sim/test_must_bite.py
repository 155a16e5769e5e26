"""Every action of the vocabulary says what it touched; one that touched nothing makes its run inconclusive."""

from __future__ import annotations

from pathlib import Path

import pytest

from palm.sim.checkers import Verdict
from palm.sim.scenario.actions import ACTIONS
from palm.sim.scenario.chaos import MENU
from palm.sim.scenario.scenario import parse
from palm.sim.simulation import Result, run

SERVER = """
from palm import RegisteredServer

class Marked(RegisteredServer):
    def work(self, message):
        self.mark("half")
        return message
"""
WORLD = """
palm: scenario/1
name: small
about: A short job and a store under one fault.
clock: {limit: 30s, settle: 14s}
world:
  registry: {members: 3, auth: {token: 300s}}
  hosts: {edge: {zone: a}, one: {zone: a}, two: {zone: b}, idle: {zone: c}, spare: {zone: c}}
  servers:
    marked: {run: "marked.py:Marked", hosts: [one, two], functions: [work], memory: durable, service: 5ms, start: LATE}
load:
  - {id: main, client: edge, route: [marked.work], messages: {count: 80, payload: words}, rate: 40/s, start: LATE}
STORES
script:
  - {id: it, STEP}
MORE
"""
STORES = "stores: [{id: kv, server: marked, clients: [edge, edge], operations: 40, pause: 50ms}]"

BITES: dict[str, list[tuple[str, str]]] = {
    "cut": [('link: "edge <-> one", for: 400ms', "")],
    "heal": [("", 'at: 1s, do: cut, link: "edge -> one"')],
    "crash": [
        ("who: that, memory: lost", "at: 9s, do: restart, who: marked"),
        ("who: zone:b, memory: kept", 'at: 2s, do: restart, who: "step:it"'),
        ("who: registry", "at: 2s, do: restart, who: registry"),
        ("who: registry.leader", ""),
        ('who: "registry[1]"', 'at: 4s, do: restart, who: "registry[1]"'),
    ],
    "drain": [('who: "marked[0]"', "")],
    "restart": [("who: half(marked)", "")],
    "freeze": [
        ("who: one(marked), for: 400ms", ""),
        ("who: registry, for: 2s", ""),
        ("who: registry.leader, for: 2s", ""),
    ],
    "cancel": [("job: main", "")],
    "hold": [('link: "edge -> *", for: 400ms', "")],
    "slow": [('link: "zone:a <-> zone:b", by: 3ms, for: 400ms', "")],
    "lose": [('link: "edge <-> *", chance: 40%, for: 400ms', "")],
    "twice": [('link: "edge <-> *", chance: 40%, for: 400ms', "")],
    "shuffle": [('link: "edge <-> *", chance: 40%, for: 400ms', "")],
    "throttle": [('link: "edge <-> *", rate: 20KB/s, for: 400ms', "")],
    "reset": [('link: "* <-> *"', "")],
    "busy": [("who: marked, by: 3ms, for: 400ms", "")],
    "drift": [("who: half(hosts), ppm: 300, for: 400ms", ""), ("who: marked, ppm: -300", "")],
    "jump-clock": [("who: leader(marked), by: -1h", "")],
    "disk-full": [
        ("who: one, for: 400ms", ""),
        ("who: marked, for: 400ms", ""),
        ("for: 2s", 'at: 1200ms, do: restart, who: "marked[1]"'),
    ],
    "upgrade": [('who: "marked[1]", to: "marked.py:Marked"', "")],
    "scale": [("server: marked, to: 3", ""), ("server: marked, to: 1", "")],
    "point": [("name: half, effect: fail, times: 2", ""), ("name: half, effect: wait, by: 9ms, for: 1s", "")],
    "registry.down": [("for: 400ms", "")],
    "registry.lose-quorum": [("for: 400ms", "")],
    "registry.change-leader": [("", "")],
    "registry.expire": [("who: one(marked)", "")],
    "registry.compact": [("", "")],
    "registry.lag-watch": [("by: 200ms, for: 2s", 'at: 1200ms, do: restart, who: "marked[1]"')],
    "registry.drop-watch": [("", "")],
    "registry.refuse": [("for: 2s", 'at: 1200ms, do: restart, who: "marked[1]"')],
    "registry.unsure": [("writes: 1", 'at: 1200ms, do: restart, who: "marked[1]"')],
}
"""By action: its keys, and another step of the script. All at 1.1 s, in the middle of the job."""

MISSES: dict[str, str] = {
    "restart": "do: restart, who: idle",
    "upgrade": 'do: upgrade, who: idle, to: "marked.py:Marked"',
    "scale": "do: scale, server: marked, to: 2",
    "point": "do: point, name: half, effect: fail, for: 1s",
    "registry.unsure": "do: registry.unsure, writes: 3",
    "registry.compact": "do: registry.compact",
}
"""What touches nothing although somebody is there to be touched. All other actions are done before anybody is."""


def under(step: str, more: str, folder: Path, *, late: str = "0s") -> Result:
    (folder / "marked.py").write_text(SERVER)
    text = WORLD.replace("LATE", late).replace("STEP", step)
    text = text.replace("STORES", "" if late != "0s" else STORES)
    text = text.replace("MORE", f"  - {{id: also, {more}}}" if more else "")
    return run(parse(text, str(folder / "small.yaml")), 7)


def why_not(result: Result) -> list[str]:
    return [f"{check.check}: {check.why}" for check in result.checks if check.verdict is not Verdict.HOLDS]


def test_every_action_is_in_the_table() -> None:
    """An action that is added is added here; so everything that chaos may draw is here, too."""
    assert set(BITES) == set(ACTIONS) >= set(MENU)


@pytest.mark.parametrize(
    ("action", "keys", "more"),
    [(action, keys, more) for action, rows in BITES.items() for keys, more in rows],
    ids=[f"{action} {keys}"[:50] for action, rows in BITES.items() for keys, _ in rows],
)
def test_what_bites_says_so(action: str, keys: str, more: str, tmp_path: Path) -> None:
    """On a running job: it is counted, nothing is lost from the ledger, and the run holds."""
    when = "when: {event: handling, nth: 30}" if "that" in keys else "at: 1100ms"
    result = under(f"{when}, do: {action}" + (f", {keys}" if keys else ""), more, tmp_path)
    assert result.history.touched["it"] > 0
    assert why_not(result) == [] and result.ledger.adds_up and result.ledger.in_flight == 0


@pytest.mark.parametrize("action", ACTIONS)
def test_what_touches_nothing_makes_the_run_inconclusive(action: str, tmp_path: Path) -> None:
    """It was done, and nobody was there yet; or there was nothing left for it to change."""
    keys = BITES[action][0][0].replace("that", "marked")
    at = "12s" if action in MISSES else "1s"
    step = MISSES.get(action) or f"do: {action}" + (f", {keys}" if keys else "")
    more = f"at: {at}, do: registry.compact" if action == "registry.compact" else ""
    result = under(f"at: {at}, {step}", more, tmp_path, late="0s" if action in MISSES else "5s")
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "it" in result.history.active
    assert any("it touched nothing" in why or "also touched nothing" in why for why in why_not(result)), why_not(result)


def test_a_step_that_never_comes_makes_the_run_inconclusive(tmp_path: Path) -> None:
    """Its trigger waits for what did not happen."""
    result = under("when: {event: handling, nth: 5000}, do: crash, who: that", "", tmp_path)
    assert why_not(result) == ["faults must-bite: it was never done"]
