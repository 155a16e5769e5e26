"""`palm dlq`: what killed three instances is found again, shown, replayed once they are mended, or purged."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from palm import Client, DeadLettered
from palm.letters import DeadLetter, Letters
from tests.support.cluster import Cluster, cluster, palm

FRAGILE = """
import os
from palm import RegisteredServer, run_server

class Sick(RegisteredServer):
    def measure(self, message):
        if not message and not os.path.exists("{mended}"):
            os._exit(70)
        if message == b"bad":
            raise ValueError("bad")
        return b"%d" % len(message)

run_server(Sick, "sick")
"""


CLEAN = str(Path(__file__).parents[2] / "examples" / "text" / "clean.py")


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path / "letters")


@pytest.fixture
def sick(tmp_path: Path) -> Iterator[Cluster]:
    script = tmp_path / "sick.py"
    script.write_text(FRAGILE.format(mended=tmp_path / "mended"))
    with cluster() as made:
        made.serve(script=CLEAN)
        for _ in range(4):
            made.serve(script=str(script))
        yield made


def dlq(made: Cluster, *words: str) -> subprocess.CompletedProcess[bytes]:
    return made.palm("dlq", *words)


def test_a_dead_letter_is_listed_shown_and_replayed(sick: Cluster, folder: str, tmp_path: Path) -> None:
    """From another process, after its client has ended, though a later stage died of it; once delivered it is gone."""
    with Client(sick.endpoint, timeout=60, dead_letters=folder) as client:
        job = client.job([b"one", b"", b"three"], ["clean.line", "sick.measure"], errors="yield")
        results = list(client.submit(job))
        assert sorted(r for r in results if isinstance(r, bytes)) == [b"3", b"5"]
        assert [type(r) for r in results if not isinstance(r, bytes)] == [DeadLettered]
        assert [letter.sequence for letter in job.dead_letters] == [1]
    offline = ["--dlq", folder]
    [entry] = json.loads(palm("dlq", "ls", "--json", *offline).stdout)
    assert entry["route"] == ["clean.line", "sick.measure"] and (entry["sequence"], entry["bytes"]) == (1, 0)
    assert "3 instances of sick died while they had this message" in entry["evidence"]
    shown = json.loads(palm("dlq", "show", str(entry["id"]), "--json", *offline).stdout)
    assert shown["payload"] == {"text": ""} and shown["evidence"] == entry["evidence"]
    (tmp_path / "mended").touch()
    replayed = dlq(sick, "replay", str(entry["id"]), *offline)
    assert (replayed.returncode, replayed.stdout) == (0, b"0\n"), replayed.stderr
    assert json.loads(palm("dlq", "ls", "--json", *offline).stdout) == []


def test_replay_keeps_what_failed(sick: Cluster, folder: str) -> None:
    """What was delivered goes; what user code refuses stays, and the exit code says so."""
    letters = Letters(folder, "palm")
    kept = [DeadLetter(n, payload, "sick.measure", "died") for n, payload in enumerate([b"good", b"bad"])]
    letters.keep("a-client", 1, kept)
    done = dlq(sick, "replay", "--all", "--json", "--dlq", folder)
    said = json.loads(done.stdout)
    good, bad = 1, 2
    assert done.returncode == 1 and said["delivered"] == [good] and said["results"] == [{"text": "4"}]
    assert "ValueError" in said["failed"][str(bad)]
    assert [one.id for one in letters.all()] == [bad]


def test_purge_removes_what_is_named(folder: str) -> None:
    """By id, or all; neither is an error that says how."""
    letters = Letters(folder, "palm")
    letters.keep("a-client", 1, [DeadLetter(n, b"x", ["a.f", "b.g"], "died") for n in range(3)])
    assert palm("dlq", "purge", "--dlq", folder).returncode == 1
    assert json.loads(palm("dlq", "purge", "2", "--json", "--dlq", folder).stdout) == {"removed": 1}
    assert b"a.f -> b.g  died" in palm("dlq", "ls", "--dlq", folder).stdout
    assert palm("dlq", "show", "3", "--payload", "--dlq", folder).stdout == b"x"
    assert b"no dead letter 2" in palm("dlq", "show", "2", "--dlq", folder).stderr
    assert palm("dlq", "purge", "--all", "--dlq", folder).returncode == 0
    assert b"no dead letters" in palm("dlq", "ls", "--dlq", folder).stderr
