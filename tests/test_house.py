"""The house style is itself a test: layers, types, lint, and what no file may hold."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS_WITHOUT_A_WORLD = ("core", "ports", "runtime")
# A path of somebody's machine, and the hosts that packages are fetched from: both make a file true in one place only.
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:work|opt|tmp|root|home)/\w")
PACKAGE_HOST = re.compile(
    r"\b(?:pypi\.(?:org|io)|pythonhosted\.(?:org)|crates\.(?:io)|npmjs\.(?:org|com)|proxy\.golang\.(?:org)"
    r"|maven\.(?:apache\.)?(?:org)|deb\.debian\.(?:org))"
)
BUILT = re.compile(r"\..*|__pycache__|build|dist|found|.*\.egg-info")
UNFINISHED = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X|NotImplemented" + r"Error)\b")
WIDE_EXCEPT = re.compile(r"except(?:\s+\(?(?:.*\W)?(?:Base)?Exception\b[^#]*)?:\s*$")
UNREASONED = re.compile(r"#\s*(?:type:\s*ignore(?:\[[\w, -]+\])?|noqa(?::\s*[A-Z0-9, ]+)?)\s*$")


def own_files() -> Iterator[Path]:
    """What was written for PALM: no build output, no caches, no virtual environment, nothing of git's own."""
    for at, folders, names in os.walk(ROOT):
        folders[:] = sorted(name for name in folders if name == ".ci" or not BUILT.fullmatch(name))
        yield from (Path(at, name) for name in sorted(names) if not name.endswith(".pyc") and name != ".git")


def python_files(folder: str) -> list[Path]:
    return [path for path in own_files() if path.suffix == ".py" and path.is_relative_to(ROOT / folder)]


def written_by_hand(path: Path) -> bool:
    return not path.name.endswith("_pb2.py")


def places(pattern: re.Pattern[str], paths: Iterator[Path] | list[Path]) -> list[str]:
    """`file:line: text` of each line that `pattern` is found in; files that are not text are passed over."""
    found = []
    for path in paths:
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), start=1):
            if pattern.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    return found


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)


def test_imports_point_right_only() -> None:
    """Every contract of import-linter in pyproject.toml holds."""
    # In a process of its own: it sets logging up anew, which switches off every logger that there is.
    checked = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as main; main()", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout.partition("Broken contracts")[2] or checked.stderr


def test_rooms_without_a_world_know_randomness_as_a_type_only() -> None:
    """core, ports and runtime take the name `Random` from `random` and nothing else: draws come from the host."""
    wrong = []
    for path in (path for room in ROOMS_WITHOUT_A_WORLD for path in python_files(f"palm/{room}")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import) and any(alias.name == "random" for alias in node.names):
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}")
            if isinstance(node, ast.ImportFrom) and node.module == "random":
                wrong += [f"{path.relative_to(ROOT)}:{node.lineno}" for alias in node.names if alias.name != "Random"]
    assert wrong == []


def test_ruff_is_clean() -> None:
    """The linter, with the banned list of pyproject.toml, finds nothing."""
    checked = run("ruff", "check", "--output-format=concise", ".")
    assert checked.returncode == 0, checked.stdout


@pytest.mark.timeout(300)
def test_types_are_strict() -> None:
    """mypy --strict finds nothing."""
    checked = run("mypy")
    assert checked.returncode == 0, checked.stdout


def test_modules_begin_with_a_docstring() -> None:
    """Each module of palm that holds anything says its idea first."""
    silent = []
    for path in filter(written_by_hand, python_files("palm")):
        tree = ast.parse(path.read_text())
        if tree.body and ast.get_docstring(tree) is None:
            silent.append(str(path.relative_to(ROOT)))
    assert silent == []


def test_files_hold_no_machine_path_and_no_package_host() -> None:
    """What is true on one machine only is in no file."""
    paths = [path for path in own_files() if path.name != "LICENSE"]
    assert places(MACHINE_PATH, paths) + places(PACKAGE_HOST, paths) == []


def test_nothing_is_left_unfinished() -> None:
    """No reminder and no stub stands where code should."""
    assert places(UNFINISHED, python_files("palm")) == []


def test_silenced_warnings_carry_their_reason() -> None:
    """A `type: ignore` or `noqa` is followed by why."""
    assert places(UNREASONED, list(filter(written_by_hand, python_files("palm")))) == []


def test_wide_excepts_carry_their_reason() -> None:
    """A line that catches everything says why it may."""
    assert places(WIDE_EXCEPT, python_files("palm")) == []


def test_scenarios_say_what_they_prove() -> None:
    """Each scenario file begins with a comment."""
    scenarios = [path for path in own_files() if path.suffix == ".yaml" and path.is_relative_to(ROOT / "scenarios")]
    assert [path.name for path in scenarios if not path.read_text().startswith("# ")] == []


def test_ci_calls_the_readme_command() -> None:
    """The README's test command is the one that CI judges by."""
    command = "bash tools/test.sh"
    assert command in (ROOT / "README.md").read_text()
    assert (ROOT / ".ci/run").read_text().rstrip().endswith(f"\n{command}")
