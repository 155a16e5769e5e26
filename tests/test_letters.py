"""The store of dead letters: what is kept, for how long, and what happens where nothing can be."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from palm.errors import BadRequest
from palm.letters import DeadLetter, Letters, default_folder

ROUTE = ["a.split", {"even": ["b.f"], "odd": ["c.g", "d.h"]}, "e.join"]


def letter(sequence: int, payload: bytes = b"x") -> DeadLetter:
    return DeadLetter(sequence, payload, ROUTE, "three died")


def test_letters_come_back_as_they_were(tmp_path: Path) -> None:
    """Payload, route and evidence, the oldest first, from another store on the same file; for the owner's eyes only."""
    Letters(str(tmp_path / "new"), "palm").keep("me", 3, [letter(5, bytes(range(256))), letter(7)])
    store = Letters(str(tmp_path / "new"), "palm")
    first, second = store.all()
    assert first.letter == letter(5, bytes(range(256))) and second.letter == letter(7)
    assert (first.client, first.job, first.namespace) == ("me", 3, "palm") and first.at_s > 1e9
    assert store.get([second.id]) == [second] and store.path.stat().st_mode & 0o077 == 0


def test_what_is_removed_is_gone_and_ids_are_not_used_again(tmp_path: Path) -> None:
    """A replay removes what it has read, not what came since."""
    store = Letters(str(tmp_path), "palm")
    store.keep("me", 1, [letter(0)])
    [old] = store.all()
    assert store.remove([old.id, 99]) == 1 and store.all() == []
    store.keep("me", 1, [letter(1)])
    assert store.all()[0].id > old.id
    with pytest.raises(BadRequest, match=f"no dead letter {old.id} in namespace 'palm'"):
        store.get([old.id])


def test_the_oldest_make_room(tmp_path: Path) -> None:
    """By number, and by the bytes of their payloads."""
    few = Letters(str(tmp_path / "few"), "palm", most=3)
    few.keep("me", 1, [letter(n) for n in range(10)])
    assert [one.letter.sequence for one in few.all()] == [7, 8, 9]
    small = Letters(str(tmp_path / "small"), "palm", most_bytes=250)
    for n in range(4):
        small.keep("me", 1, [letter(n, bytes(100))])
    assert [one.letter.sequence for one in small.all()] == [2, 3]


def test_namespaces_do_not_see_each_other(tmp_path: Path) -> None:
    """One file, and several clusters."""
    one, two = Letters(str(tmp_path), "one"), Letters(str(tmp_path), "two")
    one.keep("me", 1, [letter(0)])
    assert two.all() == [] and two.remove([one.all()[0].id]) == 0 and len(one.all()) == 1


def test_a_store_that_cannot_be_written_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The job goes on; the line says how many, and where."""
    (tmp_path / "file").write_text("in the way")
    with caplog.at_level(logging.WARNING, "palm.client"):
        Letters(str(tmp_path / "file"), "palm").keep("me", 1, [letter(0)])
    assert "1 dead letters are not kept in" in caplog.text


def test_a_file_that_is_no_store_is_said(tmp_path: Path) -> None:
    """Its path, and the way out."""
    store = Letters(str(tmp_path), "palm")
    store.path.write_text("this is no database, however long it is" * 100)
    with pytest.raises(BadRequest, match="--dlq"):
        store.all()


def test_the_folder_is_the_named_one_or_that_of_the_users_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """PALM_DLQ, then XDG_STATE_HOME, then ~/.local/state."""
    monkeypatch.setenv("PALM_DLQ", "named")
    assert default_folder() == "named"
    monkeypatch.delenv("PALM_DLQ")
    monkeypatch.setenv("XDG_STATE_HOME", "state")
    assert default_folder() == "state/palm"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "mine")
    assert default_folder() == "mine/.local/state/palm"
