"""What a change must pass, by name; `pip install nox && nox` on a fresh machine runs the lot that CI judges.

`nox --no-venv -s NAME` uses the tools of the environment that is active, and installs nothing.
"""

from __future__ import annotations

from pathlib import Path

import nox

nox.options.sessions = ["lint", "types", "imports", "tests"]
nox.options.reuse_existing_virtualenvs = True

SYSTEM_CASES = "5000"
SWEEP_SEEDS = "0..199"


def prepare(session: nox.Session) -> None:
    if session.venv_backend != "none":
        session.install("--editable", ".[dev]")


@nox.session
def lint(session: nox.Session) -> None:
    prepare(session)
    session.run("ruff", "check", *session.posargs)


@nox.session
def types(session: nox.Session) -> None:
    prepare(session)
    session.run("mypy", *session.posargs)


@nox.session
def imports(session: nox.Session) -> None:
    """The layers of ARCHITECTURE.md."""
    prepare(session)
    session.run("lint-imports", "--no-cache")  # its cache misses a module that appears under an old import


@nox.session
def tests(session: nox.Session) -> None:
    prepare(session)
    session.run("pytest", *session.posargs)


@nox.session
def conformance(session: nox.Session) -> None:
    """The ports' suites on both worlds, in processes and in containers."""
    prepare(session)
    session.run("pytest", "tests/conformance", "tests/cluster", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Each workload at a size that only shows that it runs; figures come from `python -m bench NAME`."""
    prepare(session)
    session.run("python", "-m", "bench", "--smoke", *session.posargs)


@nox.session
def sweep(session: nox.Session) -> None:
    """Every scenario under many seeds, on all cores: what a night is for."""
    prepare(session)
    files = [str(path) for path in sorted(Path("scenarios").rglob("*.yaml"))]
    session.run("palm", "simulate", *files, "--seeds", SWEEP_SEEDS, "--keep-going", *session.posargs)


@nox.session
def whole(session: nox.Session) -> None:
    """Drawn clusters under drawn faults, thousands of fresh ones: `nox -s whole -- 20000`."""
    prepare(session)
    cases = session.posargs[0] if session.posargs else SYSTEM_CASES
    session.run("pytest", "tests/system/test_whole.py", env={"PALM_SYSTEM_CASES": cases})
