"""The words of a store: what is written is read, on the wire as on disk, and what nobody wrote is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.core.message import JobId, Peer
from palm.core.replica import Append, Ask, Fetch, Image, State
from palm.core.store import (
    Caller,
    Change,
    Code,
    Entry,
    Held,
    Item,
    Mark,
    Member,
    Op,
    Position,
    Reply,
    Request,
    Said,
    StoreRecord,
)
from palm.errors import BadFrame
from palm.wire import store as words

numbers = st.integers(0, (1 << 63) - 1)
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
data = st.binary(max_size=8)
names = st.text("abcdefghijklmnopqrstuvwxyz-_0", min_size=16, max_size=20).map(Peer)
positions = st.builds(Position, numbers, numbers)
jobs = st.builds(JobId, names, numbers, numbers)
requests = st.builds(Request, st.sampled_from(Op), texts, data, st.booleans(), texts, numbers, numbers)
changes = st.builds(Change, numbers, st.sampled_from(["set", "delete", "drop"]), texts, data)
replies = st.builds(
    Reply,
    st.sampled_from(Code),
    texts,
    texts,
    data,
    numbers,
    numbers,
    numbers,
    st.lists(texts, max_size=3).map(tuple),
    st.lists(changes, max_size=3).map(tuple),
    st.booleans(),
)
entries = st.builds(Entry, positions, requests, jobs, numbers, numbers)
rows = (
    st.builds(Held, texts, st.none() | st.builds(Item, data, numbers))
    | st.builds(Said, jobs, numbers, st.none() | replies)
    | st.builds(Caller, jobs, st.none(), numbers)
    | st.builds(Caller, jobs, numbers, numbers)
    | st.builds(Mark, numbers, positions)
)
images = st.builds(Image, numbers, st.integers(0, 1 << 40), st.booleans(), st.lists(rows, max_size=4).map(tuple))
fetches = st.builds(Fetch, numbers, st.integers(0, 1 << 40))
appends = st.builds(Append, numbers, positions, st.lists(entries, max_size=3).map(tuple))
states = st.builds(State, numbers, names, st.booleans(), positions, numbers, texts)


@given(requests, replies)
def test_what_clients_and_store_say_is_read_as_it_was_written(request: Request, reply: Reply) -> None:
    """Every field."""
    assert words.read_request(words.write_request(request)) == request
    assert words.read_reply(words.write_reply(reply)) == reply


@given(st.builds(Ask, numbers) | appends | images | fetches, images | states)
def test_what_copies_say_is_read_as_it_was_written(word: Ask | Append | Image | Fetch, answer: Image | State) -> None:
    """Every field."""
    assert words.read_word(words.write_word(word)) == word
    assert words.read_answer(words.write_answer(answer)) == answer


@given(st.lists(rows, max_size=6))
def test_rows_on_disk_are_the_rows_that_were_written(changed: list[Held | Said | Caller | Mark]) -> None:
    """The last one for each key, unless it is gone; keys are short enough for LMDB."""
    disk: dict[bytes, bytes] = {}
    for key, value in words.disk_changes(changed):
        assert 1 <= len(key) <= 511
        if value is None:
            disk.pop(key, None)
        else:
            disk[key] = value
    assert all(row in changed for row in words.disk_rows(list(disk.items())))


def test_long_keys_of_the_store_have_keys_of_their_own_on_disk() -> None:
    """512 bytes that differ in the last one."""
    held = [Held("k" * 511 + end, Item(b"", 1)) for end in "ab"]
    assert len({key for key, _ in words.disk_changes(held)}) == 2


@given(st.binary(max_size=40))
def test_random_bytes_are_words_or_bad_frames(payload: bytes) -> None:
    """Nothing else comes out."""
    for read in (words.read_request, words.read_reply, words.read_word, words.read_answer):
        try:
            read(payload)
        except BadFrame:
            pass


def test_words_without_what_they_need_are_bad_frames() -> None:
    """No operation, no word, a copy without a name."""
    for read in (words.read_request, words.read_word, words.read_answer):
        with pytest.raises(BadFrame):
            read(b"")
    with pytest.raises(BadFrame, match="without a name"):
        words.read_answer(words.write_answer(State(1, "short", False, Position(), 0)))


def test_a_record_that_is_not_to_be_believed_is_none() -> None:
    """Garbage, other types, names that are none."""
    record = StoreRecord(3, (Member("copy-of-a-test-00", True, "p", "h"),))
    assert words.decode_store(words.encode_store(record)) == record
    for value in (b"", b"[]", b"{}", b"x" * 70_000, words.encode_store(StoreRecord(3, (Member("x", True, "p", "h"),)))):
        assert words.decode_store(value) is None
