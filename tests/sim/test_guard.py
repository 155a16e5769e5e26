"""The determinism guard: two processes with as little in common as possible, and the first event that differs."""

from __future__ import annotations

from pathlib import Path

import pytest

from palm.cli.main import main
from palm.errors import HarnessError
from palm.sim.guard import guard
from palm.sim.witness import plain

SERVERS = '''
import ctypes
from palm import RegisteredServer


class Words(RegisteredServer):
    def sorted_set(self, line):
        return b" ".join(sorted(set(line.split())))

    def order_of_a_set(self, line):
        words = set(line.split())
        out = []
        for word in words:
            out.append(word)
        return b" ".join(out)

    def address(self, line):
        where = id(line)
        return b"%d" % where

    def real_time(self, line):
        moment = (ctypes.c_long * 2)()
        ctypes.CDLL(None).clock_gettime(1, moment)
        seconds, rest = list(moment)
        return b"%d" % rest

    def generated(self, line):
        for word in set(line.split()):
            yield word

    async def awaited(self, line):
        return b"%d" % id(line)
'''
SCENARIO = """
palm: scenario/1
name: guarded
about: A short job.
clock: {limit: 30s}
world:
  hosts: {edge: , one: }
  servers:
    words: {run: "words.py:Words", hosts: [one]}
load:
  - {id: main, client: edge, route: [words.FUNCTION], messages: {count: 20, payload: words}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "words.py").write_text(SERVERS)
    return tmp_path


def scenario(folder: Path, function: str) -> Path:
    path = folder / "guarded.yaml"
    path.write_text(SCENARIO.replace("FUNCTION", function))
    return path


@pytest.mark.parametrize(
    ("function", "line", "said"),
    [
        ("order_of_a_set", "for word in words:", "word is b'"),
        ("address", "where = id(line)", "where is "),
        ("real_time", "seconds, rest = list(moment)", "is "),
        ("generated", "for word in set(line.split()):", "word is b'"),
    ],
)
def test_what_is_not_deterministic_is_found_to_its_line(folder: Path, function: str, line: str, said: str) -> None:
    """The first event that differs is the function's first result, and the step that made it differ is named."""
    difference = guard(scenario(folder, function), 7).difference
    assert difference is not None
    assert difference.one != difference.other and f"words[0]: Words.{function}" in difference.one
    assert difference.where.startswith(str(folder / "words.py")) and difference.where.endswith(line)
    assert said in difference.step


def test_what_is_sorted_is_the_same(folder: Path) -> None:
    """The remedy that the guard names is one."""
    assert guard(scenario(folder, "sorted_set"), 7).difference is None


def test_an_async_function_is_found_by_its_place(folder: Path) -> None:
    """Its steps are not followed; where it stands and both its results are said."""
    difference = guard(scenario(folder, "awaited"), 7).difference
    assert difference is not None and difference.one != difference.other
    line = SERVERS.splitlines().index("    async def awaited(self, line):") + 1
    assert difference.where == f"{folder / 'words.py'}:{line}"


def test_the_command_exits_with_3_and_says_where(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`palm simulate --guard`: the replay line first, then both events, the place, and what to do."""
    path = scenario(folder, "address")
    assert main(["simulate", str(path), "--guard"]) == 3
    first, second, *rest = capsys.readouterr().out.splitlines()
    assert first.startswith(f"palm simulate {path} --seed ") and second.startswith("DIFFERS")
    assert any("words.py" in line and "id(line)" in line for line in rest) and rest[-1].startswith("  why ")


def test_a_file_that_cannot_run_is_an_error_and_no_agreement(folder: Path) -> None:
    """Two runs that fail in the same way prove nothing."""
    path = scenario(folder, "address")
    (folder / "words.py").write_text(f"{SERVERS}\nraise RuntimeError('broken')")
    with pytest.raises(HarnessError, match="both runs of seed 7 failed: .*broken"):
        guard(path, 7)


def test_values_are_shown_alike_whatever_process_shows_them() -> None:
    """Sets in order, objects without their address, long ones cut."""
    assert plain({b"b", b"a"}) == "{b'a', b'b'}"
    assert plain([object(), {"k": (1, 2.5)}]) == "[<object>, {'k': (1, 2.5)}]"
    assert "0x" not in plain(lambda: None) and len(plain("x" * 1000)) < 300
    assert plain(list(range(60))).endswith("... of 60]")
