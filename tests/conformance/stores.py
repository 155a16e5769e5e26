"""What a server's store promises: checks on any client, whose cluster has `plain` and `parallel` with three instances
each, of a server and of a butterfly."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import pytest

from palm import Client, StoreRefused, WaitTimeout, WatchGap
from palm.core.store import MAX_VALUE_BYTES
from palm.store import Version

Check = Callable[[Client], None]
SERVERS = ("plain", "parallel")


def a_key_has_what_was_written_last(client: Client) -> None:
    """Also where that is empty; a missing key is None."""
    for server in SERVERS:
        store = client.store(server).session("written")
        assert store.get("a") is None
        assert store.set(b"one", "a") == "a" and store.get("a") == b"one"
        assert store.set(b"", "a") == "a" and store.get("a") == b""
        assert store.delete("a") and not store.delete("a")
        assert store.get("a") is None


def appends_are_all_there_in_order(client: Client) -> None:
    """The length after each, and nothing twice."""
    store = client.store("plain").session("appended")
    assert [store.append(b"%d" % n, "log") for n in range(10)] == list(range(1, 11))
    assert store.get("log") == b"0123456789"


def the_store_makes_a_key_that_is_new(client: Client) -> None:
    """One for each value, inside of the session."""
    store = client.store("plain").session("made")
    keys = [store.set(b"%d" % n) for n in range(5)]
    assert len(set(keys)) == 5 and store.list() == sorted(keys)
    assert [store.get(key) for key in keys] == [b"%d" % n for n in range(5)]


def sessions_are_apart_and_dropped_whole(client: Client) -> None:
    """A session is a prefix: the whole store shows its keys with it."""
    store = client.store("parallel")
    one, two = store.session("one"), store.session("two")
    for session in (one, two):
        for key in ("a", "b"):
            session.set(b"x", key)
    assert [key for key in store.list() if key.startswith("one/")] == ["one/a", "one/b"]
    assert one.drop() == 2 and one.drop() == 0
    assert one.list() == [] and two.list() == ["a", "b"]
    two.drop()


def lists_of_thousands_come_whole(client: Client) -> None:
    """In order, past the page of 1,000 keys."""
    store = client.store("plain").session("many")
    for number in range(1, 1206):
        store.set(b"", f"{number:05d}")
    assert store.list() == [f"{number:05d}" for number in range(1, 1206)]
    assert len(store.list("010")) == 100
    assert store.drop() == 1205


def a_watch_sees_each_change_once_in_order(client: Client) -> None:
    """From where it is told to begin, and goes on from where another one was."""
    store = client.store("plain").session("watched")
    before = store.now()
    watch = store.watch("k/", timeout=20)
    store.set(b"1", "k/a")
    store.set(b"2", "other")
    store.append(b"2", "k/a")
    store.delete("k/a")
    store.set(b"3", "k/b")
    seen = [next(watch) for _ in range(2)]
    assert [(change.kind, change.key, change.value) for change in seen] == [("set", "k/a", b"1"), ("set", "k/a", b"12")]
    again = store.watch("k/", after=watch.version, timeout=20)
    assert [(change.kind, change.key) for change in islice(again, 2)] == [("delete", "k/a"), ("set", "k/b")]
    store.drop()
    assert [(change.kind, change.key) for change in islice(again, 1)] == [("drop", "")]
    whole = list(islice(store.watch(after=before, timeout=20), 6))
    assert [change.version.number for change in whole] == sorted({change.version.number for change in whole})
    quiet = store.watch("k/", timeout=0.2)
    with pytest.raises(WaitTimeout, match="no change under 'k/'"):
        next(quiet)


def a_watch_says_what_it_cannot_see(client: Client) -> None:
    """Changes of a store that began anew since."""
    store = client.store("plain").session("gap")
    epoch, number = store.now()
    with pytest.raises(WatchGap, match="began anew"):
        next(store.watch(after=Version(epoch + 1, number), timeout=20))


def a_large_value_comes_back_whole_and_one_over_the_limit_is_refused(client: Client) -> None:
    """The error names size, limit and a way out; nothing is written."""
    store = client.store("plain").session("large")
    value = bytes(range(256)) * (MAX_VALUE_BYTES // 256)
    store.set(value, "whole")
    assert store.get("whole") == value
    with pytest.raises(StoreRefused, match="16777217 bytes.*exceeds 16777216 .split it"):
        store.set(value + b"x", "over")
    with pytest.raises(StoreRefused, match="append to another key"):
        store.append(b"x", "whole")
    with pytest.raises(StoreRefused, match="key of 606 bytes exceeds 512"):
        store.get("k" * 600)
    with pytest.raises(StoreRefused, match="is empty"):
        store.get("")
    with pytest.raises(TypeError, match="is bytes, text .str. is needed: decode it"):
        store.set(b"value", key=b"k")  # type: ignore[arg-type]  # the point
    with pytest.raises(TypeError, match="is str, bytes are needed: encode it"):
        store.set("text", "a")  # type: ignore[arg-type]  # the mistake under test
    assert store.list() == ["whole"]
    store.drop()


CHECKS: list[Check] = [
    a_key_has_what_was_written_last,
    appends_are_all_there_in_order,
    the_store_makes_a_key_that_is_new,
    sessions_are_apart_and_dropped_whole,
    lists_of_thousands_come_whole,
    a_watch_sees_each_change_once_in_order,
    a_watch_says_what_it_cannot_see,
    a_large_value_comes_back_whole_and_one_over_the_limit_is_refused,
]
