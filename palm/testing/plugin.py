"""The pytest plugin, installed with PALM: the fixture `palm_sim`, and scenario files as tests.

    def test_every_line_is_counted(palm_sim):                   # pytest --palm-seeds 20: twenty courses of events
        sim = palm_sim(WordServer, name="words", instances=3)
        assert sorted(sim.client().map(lines, ["words.count"])) == expected

A test that fails prints the command that replays its seed. Files `*.yaml` that begin a scenario (`palm: scenario/1`)
and lie in a folder of the ini option `palm_scenarios` are collected where pytest looks (name that folder in
`testpaths`, too): a test for each pinned seed.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Generator, Iterable, Iterator

import pytest

if TYPE_CHECKING:
    from palm.sim.scenario.scenario import Scenario
    from palm.sim.simulation import Result
    from palm.testing.simulate import Simulation

_SCENARIO = re.compile(r"^palm:\s*scenario/", re.MULTILINE)
_LOOKED_AT = 4096
"""Characters of a file in which it must say that it is a scenario."""

_SIMULATIONS = pytest.StashKey[list["Simulation"]]()
_FAILED = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("palm", "PALM's simulator")
    group.addoption("--palm-seeds", type=int, default=1, metavar="N", help="run tests of palm_sim with N seeds, from 0")
    group.addoption("--palm-seed", type=int, metavar="N", help="run them, and scenarios, with this seed only")
    parser.addini("palm_scenarios", "folders whose scenario files are tests", type="paths", default=[])


# -- tests that ask for a simulation ----------------------------------------------------------------------------------


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "palm_seed" in metafunc.fixturenames:
        seeds = _seeds(metafunc.config, range(metafunc.config.getoption("--palm-seeds")))
        metafunc.parametrize("palm_seed", seeds, ids=[f"seed-{seed}" for seed in seeds])


def _seeds(config: pytest.Config, otherwise: Iterable[int]) -> list[int]:
    only = config.getoption("--palm-seed")
    return list(otherwise) if only is None else [only]


@pytest.fixture
def palm_sim(request: pytest.FixtureRequest, palm_seed: int) -> Iterator[Callable[..., Simulation]]:
    """Makes simulated clusters: `palm_sim(Server, name="server", instances=2)`, as `palm.testing.simulate` does, from
    the seed of this test. They end with it."""
    from palm.testing.simulate import simulate

    made: list[Simulation] = []
    request.node.stash[_SIMULATIONS] = made

    def make(server: Callable[[], object], *, name: str, **options: Any) -> Simulation:
        sim = simulate(server, name=name, seed=palm_seed, **options)
        made.append(sim.__enter__())
        return sim

    yield make
    # The clients of a world in which a test failed may never end well; its own error is the one to show.
    kind = AssertionError if request.node.stash.get(_FAILED, False) else None
    for sim in reversed(made):
        sim.__exit__(kind, None, None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    seed = getattr(getattr(item, "callspec", None), "params", {}).get("palm_seed")
    if report.failed and call.when == "call" and seed is not None:
        item.stash[_FAILED] = True
        lines = [f"replay: pytest {shlex.quote(item.nodeid)} --palm-seed {seed}"]
        for sim in item.stash.get(_SIMULATIONS, []):
            lines.append(f"simulated {sim.now:.6f} s, trace {sim.trace_hash}")
        report.sections.append(("palm", "\n".join(lines)))
    return report


# -- scenario files ---------------------------------------------------------------------------------------------------


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> ScenarioFile | None:
    folders = [Path(folder) for folder in parent.config.getini("palm_scenarios")]
    if file_path.suffix not in (".yaml", ".yml") or not any(map(file_path.is_relative_to, folders)):
        return None
    with open(file_path, encoding="utf-8", errors="replace") as file:
        if not _SCENARIO.search(file.read(_LOOKED_AT)):
            return None
    found: ScenarioFile = ScenarioFile.from_parent(parent, path=file_path)
    return found


class ScenarioFile(pytest.File):
    """One scenario; its seeds are its tests."""

    def collect(self) -> Iterator[ScenarioItem]:
        from palm.errors import ScenarioError
        from palm.sim.scenario.scenario import load

        try:
            scenario = load(self.path)
        except ScenarioError as error:
            raise self.CollectError(str(error)) from error
        for seed in _seeds(self.config, scenario.runs.seeds.pinned):
            yield ScenarioItem.from_parent(self, name=f"seed-{seed}", scenario=scenario, seed=seed)


class NotHeld(Exception):
    """The run came to another verdict than `holds`."""

    def __init__(self, result: Result) -> None:
        super().__init__(result.verdict.value)
        self.result = result


class ScenarioItem(pytest.Item):
    """One run. Fails unless everything that the scenario expects holds; inconclusive is no success."""

    def __init__(self, *, scenario: Scenario, seed: int, **rest: Any) -> None:
        super().__init__(**rest)
        self.scenario = scenario
        self.seed = seed

    def runtest(self) -> None:
        from palm.sim.checkers import Verdict
        from palm.sim.simulation import run

        result = run(self.scenario, self.seed)
        self.user_properties.append(("trace", result.trace_hash))
        if result.verdict is not Verdict.HOLDS:
            raise NotHeld(result)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        from palm.errors import PalmError

        lines = [f"palm simulate {shlex.quote(str(self.path))} --seed {self.seed}"]
        error = excinfo.value
        if isinstance(error, NotHeld):
            result = error.result
            lines.append(f"{result.verdict.value.upper()}  {result.scenario}, seed {self.seed}: {self.scenario.about}")
            lines += [f"  {one.verdict.value:>12}  {one.check}: {one.why}" for one in result.checks]
            lines += [f"ledger  {result.ledger}", f"trace   {result.trace_hash}"]
            return "\n".join(lines)
        if isinstance(error, PalmError):
            return "\n".join([*lines, f"{type(error).__name__}: {error}"])
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, f"{self.scenario.name}, seed {self.seed}"
