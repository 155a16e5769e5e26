"""Server files of a scenario: what they import beside them, and two versions of one of them in one world."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pool

from palm.errors import ScenarioError
from palm.sim import sandbox
from palm.sim.server_files import load_class, load_function

UPGRADE = Path(__file__).parents[2] / "examples" / "upgrade"


def make(path: Path, name: str) -> Any:
    with sandbox.installed():
        return load_class(path, name, 7)()


def test_two_versions_of_one_schema_work_side_by_side() -> None:
    """What the old version does not know passes through it; in either order of loading, and again."""
    for first, second in (("old", "new"), ("new", "old"), ("old", "new")):
        shops = {version: make(UPGRADE / version / "shop.py", "Desk") for version in (first, second)}
        order = sys.modules[type(shops["new"]).__module__].Order(item="item-12", count=6, note="note 12")
        assert "note" in type(order).DESCRIPTOR.fields_by_name
        seen = sys.modules[type(shops["old"]).__module__].Order.FromString(order.SerializeToString())
        assert "note" not in type(seen).DESCRIPTOR.fields_by_name
        again = type(order).FromString(seen.SerializeToString())
        assert shops["new"].tell(again) == "6 x item-12: 0 cents, note 12"


def test_nothing_of_it_is_left_behind() -> None:
    """Neither the folder on the path, nor another way to make schemas."""
    before, pool = list(sys.path), descriptor_pool.Default
    make(UPGRADE / "old" / "shop.py", "Desk")
    assert sys.path == before and descriptor_pool.Default is pool


def test_what_stands_beside_a_server_file_is_its_own(tmp_path: Path) -> None:
    """Two folders with a module of one name; each server has that of its folder, loaded anew for each run."""
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "spoken_here.py").write_text(f"word = '{folder}'\ncalls = []\n")
        (tmp_path / folder / "server.py").write_text(
            "import spoken_here\nclass Server:\n    def say(self):\n"
            "        spoken_here.calls.append(1)\n        return spoken_here.word, len(spoken_here.calls)\n"
        )
    one, two = (make(tmp_path / folder / "server.py", "Server") for folder in ("one", "two"))
    assert [one.say(), two.say(), one.say()] == [("one", 1), ("two", 1), ("one", 2)]
    assert make(tmp_path / "one" / "server.py", "Server").say() == ("one", 1)


def test_a_module_that_the_process_has_is_not_touched(tmp_path: Path) -> None:
    """A test may have imported another one of that name."""
    (tmp_path / "spoken_elsewhere.py").write_text("word = 'mine'\n")
    (tmp_path / "server.py").write_text("import spoken_elsewhere\nclass Server:\n    word = spoken_elsewhere.word\n")
    theirs = type(sys)("spoken_elsewhere")
    theirs.__file__ = "/elsewhere/spoken_elsewhere.py"
    sys.modules["spoken_elsewhere"] = theirs
    try:
        assert make(tmp_path / "server.py", "Server").word == "mine"
        assert sys.modules["spoken_elsewhere"] is theirs
    finally:
        del sys.modules["spoken_elsewhere"]


@pytest.mark.parametrize("line", ["1 / 0", "raise SystemExit(3)", "import nowhere_to_be_found", "def ("])
def test_a_file_that_does_not_load_says_where(line: str, tmp_path: Path) -> None:
    """With its line."""
    path = tmp_path / "server.py"
    path.write_text(f"x = 1\n{line}\n")
    with pytest.raises(ScenarioError, match=r"server\.py does not load: .*server\.py:2\)"):
        load_class(path, "Server", 7)
    with pytest.raises(ScenarioError, match="cannot be read: No such file"):
        load_function(tmp_path / "none.py", "check")
