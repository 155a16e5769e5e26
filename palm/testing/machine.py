"""`PalmMachine`: Hypothesis plays with a simulated cluster of your server, and shrinks what breaks it.

    class WordsUnderFire(PalmMachine):
        server, route, instances = WordServer, "words.count", 2

        def expected(self, payload):
            return b"%d" % len(payload.split())

    TestWords = WordsUnderFire.TestCase

Its rules send jobs, kill, freeze and start instances, cut and heal links, and let time pass; a subclass adds rules of
its own with `hypothesis.stateful.rule`. After every step the ledger must be exact. At the end everything heals, every
message must end, nothing may be left open, and `judge` looks at the results.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Callable, ClassVar

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from palm.sim.network import Rule
from palm.testing import rules
from palm.testing.simulate import Simulation, simulate
from palm.testing.strategies import payloads

SETTLE_S = 10.0
"""After the last result: the word that a job is over reaches everybody, also on links that have to come up first."""

SETTINGS = settings(
    deadline=None,
    stateful_step_count=12,
    # Not `explain`: it traces every line of the simulator, and makes shrinking ten times slower.
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.target, Phase.shrink],
)
"""What a machine's `TestCase.settings` are; `settings(SETTINGS, max_examples=1000)` changes one of them."""

_INDEX = st.integers(0, 63)
_SECONDS = st.sampled_from([0.1, 1.0, 5.0, 20.0])


class PalmMachine(RuleBasedStateMachine):
    """Subclass it and name the server and the route."""

    server: ClassVar[Callable[[], object]]
    route: ClassVar[str]
    instances: ClassVar[int] = 2
    service_s: ClassVar[float] = 0.05
    step_s: ClassVar[float] = 0.5
    """How much time passes with each rule: what is sent is often under way, or done, when something goes wrong."""

    def __init_subclass__(cls, **rest: Any) -> None:
        super().__init_subclass__(**rest)
        cls.TestCase.settings = SETTINGS

    def expected(self, payload: bytes) -> bytes | None:
        """What the route makes of a payload; None where that cannot be said beforehand."""
        return None

    def judge(self, sent: list[rules.Sent], results: list[list[bytes]]) -> None:
        """Look at the results of all jobs, after everything has ended. By default: each is one that was expected."""
        for one, found in zip(sent, results, strict=True):
            expected = [self.expected(payload) for payload in one.payloads]
            wanted = [payload for payload in expected if payload is not None]
            if len(wanted) == len(one.payloads):
                surplus = Counter(found) - Counter(wanted)
                assert not surplus, f"of {list(one.payloads)} came {found}, not {wanted}"

    def __init__(self) -> None:
        super().__init__()
        self.sim: Simulation | None = None
        self.sent: list[rules.Sent] = []
        self.cuts: list[Rule] = []

    # -- rules --------------------------------------------------------------------------------------------------------

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        name = self.route.partition(".")[0]
        kind = type(self).server
        self.sim = simulate(kind, name=name, instances=self.instances, service_s=self.service_s, seed=seed)
        self.sim.__enter__()
        self.client = self.sim.client()
        self.client.connect()
        self.names = [f"{name}[{index}]" for index in range(self.instances)]

    @rule(messages=payloads(most=10))
    def send(self, messages: list[bytes]) -> None:
        self.sent.append(rules.send(self.client, self.route, messages))
        self._step()

    @rule(index=_INDEX)
    def crash(self, index: int) -> None:
        rules.crash(self._sim, self._name(index))
        self._step()

    @rule(index=_INDEX)
    def restart(self, index: int) -> None:
        rules.restart(self._sim, self._name(index))
        self._step()

    @rule(index=_INDEX, seconds=_SECONDS)
    def freeze(self, index: int, seconds: float) -> None:
        rules.freeze(self._sim, self._name(index), seconds)
        self._step()

    @rule(index=_INDEX, link=st.sampled_from(["client -> {}", "{} -> client", "{} <-> registry"]))
    def cut(self, index: int, link: str) -> None:
        self.cuts.append(rules.cut(self._sim, link.format(self._name(index))))
        self._step()

    @precondition(lambda self: self.cuts)
    @rule()
    def heal(self) -> None:
        rules.heal(self._sim, self.cuts)
        self.cuts.clear()
        self._step()

    @rule(seconds=_SECONDS)
    def advance(self, seconds: float) -> None:
        rules.advance(self._sim, seconds)

    # -- what must hold -----------------------------------------------------------------------------------------------

    @invariant()
    def the_ledger_is_exact(self) -> None:
        rules.ledger_is_exact(self.sent)

    def teardown(self) -> None:
        """Heal everything, wait for every message, and check."""
        if self.sim is None:
            return
        sim, self.sim = self.sim, None
        try:
            rules.heal(sim, self.cuts)
            for name in self.names:
                if not sim.instance(name).is_up:
                    rules.restart(sim, name)
            results = rules.drain(sim, self.sent)
            rules.advance(sim, SETTLE_S)
            rules.ledger_is_exact(self.sent)
            rules.nothing_is_open(sim, self.sent)
            self.judge(self.sent, results)
        except BaseException as error:  # the simulation learns of it, and does not ask a broken world to end well
            sim.__exit__(type(error), error, error.__traceback__)
            raise
        sim.__exit__(None, None, None)

    def _step(self) -> None:
        rules.advance(self._sim, self.step_s)

    @property
    def _sim(self) -> Simulation:
        assert self.sim is not None, "rules run between `begin` and `teardown`"
        return self.sim

    def _name(self, index: int) -> str:
        return self.names[index % len(self.names)]


__all__ = ["SETTINGS", "PalmMachine"]
