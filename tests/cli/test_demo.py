"""`palm demo`: the whole of it, and that nothing is left of it."""

from __future__ import annotations

import json
import signal
import subprocess

import psutil
import pytest

from palm.demo import work
from palm.gateway.children import command, environment
from tests.support.cluster import palm, wait_until


def demo() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command("demo", "--json"), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


@pytest.mark.timeout(180)
def test_the_demo_does_its_work_and_checks_it() -> None:
    """Every file of the standard library goes through two servers; the totals are those of one process."""
    done = palm("demo", "--json", within_s=170)
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    assert list(value) == ["messages", "seconds", "messages_per_s", "totals_match", "ledger"]
    ledger = value["ledger"]
    assert value["totals_match"] is True and value["messages"] == len(list(work.standard_library())) > 500
    assert ledger["sent"] == value["messages"] == ledger["delivered"] + ledger["failed"]
    assert ledger["expired"] == ledger["dead_lettered"] == ledger["in_flight"] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_no_process_behind(number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM, in the middle: its three children are gone when it is."""
    with demo() as process:
        children = _children_of(process)
        process.send_signal(number)
        assert process.wait(30) == 130
        assert process.stderr is not None and process.stderr.read() == b""
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]


def test_a_killed_demo_leaves_no_process_behind() -> None:
    """SIGKILL runs no code of ours: the kernel tells the children."""
    with demo() as process:
        children = _children_of(process)
        process.kill()
        process.wait(30)
    assert psutil.wait_procs(children, timeout=30)[1] == []


def test_a_demo_whose_server_dies_says_so_and_cleans_up() -> None:
    """One line, exit code 1, nobody left."""
    with demo() as process:
        children = _children_of(process)
        server = next(child for child in children if any("score.py" in word for word in child.cmdline()))
        server.kill()
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said.startswith(b"palm demo: ") and said.count(b"\n") == 1, said
    assert psutil.wait_procs(children, timeout=5)[1] == []


def test_outline_and_score_know_python() -> None:
    """Functions, branches and the longest function, methods and nested ones included."""
    source = b"""
class C:
    async def first(self):
        if self:
            for x in self:
                pass
        elif x:
            pass

def second():
    try:
        def third(): pass
    except ValueError:
        match x:
            case 1: pass
            case _: pass
"""
    assert json.loads(work.score(work.outline(source))) == {
        "functions": 3, "branches": 6, "longest": "second", "longest_lines": 7,
    }  # fmt: skip


def test_what_does_not_parse_is_an_outcome_too() -> None:
    """The error's type stands for the file, as it does when a server raised it."""
    totals = work.in_one_process({"good": b"x = 1", "bad": b"print 'old'"})
    assert list(totals.scores) == ["good"] and totals.unparsed == {"bad": "SyntaxError"}


def _children_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """A registry and two servers, once all run what they are to run: a fork is no server before its exec."""
    parent = psutil.Process(process.pid)
    wait_until(
        lambda: _runs(parent) == WANTED, 30, lambda: f"the demo has {parent.children()}, which run {_runs(parent)}"
    )
    return parent.children()


WANTED = {"registry", "parse.py", "score.py"}


def _runs(parent: psutil.Process) -> set[str]:
    words = [word for child in parent.children() for word in child.cmdline()]
    return {wanted for wanted in WANTED if any(word.endswith(wanted) or f"{wanted}:" in word for word in words)}
