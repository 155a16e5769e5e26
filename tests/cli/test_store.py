"""`palm store` on a real cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.support import keeping
from tests.support.cluster import Cluster, cluster


@pytest.fixture(scope="module")
def served() -> Iterator[Cluster]:
    with cluster() as made:
        made.serve("--name", "kv", script=f"{keeping.__file__}:Plain")
        yield made


def test_the_verbs_of_the_store(served: Cluster) -> None:
    """Values on stdout and nothing else; a missing key is exit code 1 and one line."""

    def store(*words: str, stdin: bytes = b"") -> tuple[int, bytes]:
        ran = served.palm("store", "kv", *words, stdin=stdin)
        return ran.returncode, ran.stdout

    assert store("set", "one", "a") == (0, b"a\n")
    assert store("get", "a") == (0, b"one")
    assert store("append", "-", "a", stdin=b" two") == (0, b"7\n")
    assert store("get", "a", "--json") == (0, b'{"text": "one two"}\n')
    assert store("set", "x", "k", "--session", "s") == (0, b"k\n")
    assert store("list") == (0, b"a\ns/k\n")
    assert store("list", "--json", "s/") == (0, b'["s/k"]\n')
    assert store("drop", "--session", "s") == (0, b"1\n")
    assert store("delete", "a") == (0, b"")
    missing = served.palm("store", "kv", "get", "a")
    assert (missing.returncode, missing.stdout) == (1, b"")
    assert missing.stderr == b"palm store: the store of kv has no key 'a'\n"


def test_watch_prints_changes_as_they_happen(served: Cluster) -> None:
    """One line for each, until it has shown as many as were asked for."""
    watch = served.start("store", "kv", "watch", "w", "--count", "2", "--json")
    for number in range(100):
        if watch.process.poll() is not None:
            break
        assert served.palm("store", "kv", "set", f"{number}", "w").returncode == 0
    assert watch.wait() == 0
    first, second = (json.loads(line) for line in watch.said.splitlines())
    assert (first["kind"], first["key"], int(second["text"])) == ("set", "w", int(first["text"]) + 1)


def test_mistakes_are_one_line_with_a_way_out(served: Cluster) -> None:
    """A key that is too long, a server that is not there, an operation that is none."""
    long = served.palm("store", "kv", "get", "k" * 600)
    assert long.returncode == 1 and b"exceeds 512" in long.stderr and long.stderr.count(b"\n") == 1
    nobody = served.palm("store", "kw", "list", "--wait", "1", "--timeout", "3")
    assert nobody.returncode == 1 and b"did you mean 'kv'?" in nobody.stderr
    assert served.palm("store", "kv", "drop").returncode == 2
