"""The store's state machine: against a dictionary, with writes that come again, and with its rows taken elsewhere."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from palm.core import store as rules
from palm.core.message import JobId, Peer
from palm.core.replica import Copy
from palm.core.store import Code, Entry, Op, Position, Reply, Request, Store, objection
from tests.core.cast import peer_of

KEYS = st.sampled_from(["a", "b", "s/a", "s/b", "t/a"])
VALUES = st.binary(max_size=3)
CALLERS = [JobId(Peer(peer_of("client", n)), 5, 1) for n in range(2)]


def position(version: int) -> Position:
    return Position(9, version)


class StoreMachine(RuleBasedStateMachine):
    """Every write goes through a dictionary, too; some are asked for again; the copy moves house in between."""

    def __init__(self) -> None:
        super().__init__()
        self.store = Store.anew(9)
        self.model: dict[str, bytes] = {}
        self.sequences = [0, 0]
        self.said: dict[tuple[int, int], Reply] = {}

    def write(self, caller: int, request: Request) -> Reply:
        sequence = self.sequences[caller]
        self.sequences[caller] += 1
        entry = Entry(Position(9, self.store.version + 1), request, CALLERS[caller], sequence, max(0, sequence - 3))
        reply, rows, before = self.store.apply(entry)
        whole = sorted(map(repr, self.store.rows()))
        self.store.undo(before)
        again, _, _ = self.store.apply(entry)
        assert again == reply and sorted(map(repr, self.store.rows())) == whole
        assert rows, "every write moves the mark"
        self.said[caller, sequence] = reply
        return reply

    @rule(caller=st.integers(0, 1), key=KEYS, value=VALUES)
    def set(self, caller: int, key: str, value: bytes) -> None:
        assert self.write(caller, Request(Op.SET, key, value)).key == key
        self.model[key] = value

    @rule(caller=st.integers(0, 1), prefix=st.sampled_from(["", "s/"]), value=VALUES)
    def set_without_a_key(self, caller: int, prefix: str, value: bytes) -> None:
        key = self.write(caller, Request(Op.SET, prefix, value, made=True)).key
        assert key not in self.model and key.startswith(prefix)
        self.model[key] = value

    @rule(caller=st.integers(0, 1), key=KEYS, value=VALUES)
    def append(self, caller: int, key: str, value: bytes) -> None:
        self.model[key] = self.model.get(key, b"") + value
        assert self.write(caller, Request(Op.APPEND, key, value)).size == len(self.model[key])

    @rule(caller=st.integers(0, 1), key=KEYS)
    def delete(self, caller: int, key: str) -> None:
        reply = self.write(caller, Request(Op.DELETE, key))
        assert (reply.code == Code.OK) == (self.model.pop(key, None) is not None)

    @rule(caller=st.integers(0, 1), prefix=st.sampled_from(["s/", "t/", ""]))
    def drop(self, caller: int, prefix: str) -> None:
        gone = [key for key in self.model if key.startswith(prefix)]
        assert self.write(caller, Request(Op.DROP, prefix)).size == len(gone)
        for key in gone:
            del self.model[key]

    @rule(caller=st.integers(0, 1), back=st.integers(1, 6))
    def ask_again(self, caller: int, back: int) -> None:
        """A write that comes again has the answer that it had, or its caller is through with it."""
        sequence = self.sequences[caller] - back
        if sequence < 0:
            return
        answer = self.store.answered(CALLERS[caller], sequence)
        assert answer == ("through" if back > 4 else self.said[caller, sequence])

    @rule(moved=st.booleans())
    def move_house(self, moved: bool) -> None:
        """Its rows make the same store; only the past changes are not among them."""
        if moved:
            self.store = Store.of(list(self.store.rows()))

    @rule(prefix=st.sampled_from(["", "s/", "x"]))
    def list(self, prefix: str) -> None:
        assert self.store.read(Request(Op.LIST, prefix)).keys == tuple(
            sorted(key for key in self.model if key.startswith(prefix))
        )

    @rule(key=KEYS)
    def get(self, key: str) -> None:
        reply = self.store.read(Request(Op.GET, key))
        assert (reply.code == Code.OK, reply.value) == (key in self.model, self.model.get(key, b""))

    @rule(back=st.integers(0, 8), prefix=st.sampled_from(["", "s/"]))
    def watch(self, back: int, prefix: str) -> None:
        """What a watch saw, put on what was there, is what is there."""
        after = max(0, self.store.version - back)
        reply = self.store.read(Request(Op.WATCH, prefix, after=after, epoch=9))
        if reply.code == Code.OK:
            assert [change.version for change in reply.changes] == sorted({one.version for one in reply.changes})
            last = {change.key: change for change in reply.changes}
            for key, change in last.items():
                dropped = any(
                    one.kind == "drop" and one.version > change.version and key.startswith(one.key)
                    for one in reply.changes
                )
                if change.kind == "set" and not dropped:
                    assert self.model[key] == change.value

    @invariant()
    def it_counts_its_bytes(self) -> None:
        assert self.store.bytes == sum(len(key) + len(value) for key, value in self.model.items())
        assert len(self.store) == len(self.model)


StoreMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestStoreAgainstADictionary = StoreMachine.TestCase


def written(count: int) -> Store:
    store = Store.anew(9)
    for version in range(1, 1 + count):
        store.apply(Entry(position(version), Request(Op.SET, f"k{version}", b"v"), CALLERS[0], version, version - 1))
    return store


def test_a_missing_key_is_told_from_an_empty_value() -> None:
    """MISSING is an answer of its own."""
    store = Store.anew(9)
    store.apply(Entry(position(1), Request(Op.SET, "empty", b""), CALLERS[0], 0))
    assert store.read(Request(Op.GET, "empty")).code == Code.OK
    assert store.read(Request(Op.GET, "none")).code == Code.MISSING


def test_what_is_over_a_limit_is_named_with_the_limit_and_a_way_out() -> None:
    """Keys, values, what is appended, and the whole store."""
    assert "513 bytes exceeds 512" in objection(Request(Op.GET, "x" * 513))
    assert "is empty" in objection(Request(Op.GET, ""))
    assert "cannot be shown" in objection(Request(Op.SET, "a\nb", b""))
    big = bytes(rules.MAX_VALUE_BYTES + 1)
    assert "16777217 bytes for 'a' exceeds 16777216 (split it" in objection(Request(Op.SET, "a", big))
    store = Store.anew(9)
    store.apply(Entry(position(1), Request(Op.SET, "a", big[1:]), CALLERS[0], 0))
    assert "append to another key" in store.refusal(Request(Op.APPEND, "a", b"x"))
    store.bytes = rules.MAX_STORE_BYTES
    assert "drop sessions" in store.refusal(Request(Op.SET, "b", b"x"))
    assert store.refusal(Request(Op.DELETE, "a")) == ""


def test_a_watch_that_is_too_far_behind_learns_of_the_gap() -> None:
    """Also one from before the store began anew."""
    store = Store.of(list(written(5).rows()))
    assert store.read(Request(Op.WATCH, "", after=1, epoch=9)).code == Code.GAP
    assert store.read(Request(Op.WATCH, "", after=store.version, epoch=9)).code == Code.OK
    assert store.read(Request(Op.WATCH, "", after=0, epoch=8)).code == Code.GAP


def test_the_caller_that_wrote_longest_ago_is_forgotten_first() -> None:
    """The memory of answers is bounded."""
    store = Store.anew(9)
    jobs = [JobId(Peer(peer_of("client", n)), 5, n) for n in range(rules.CALLERS + 1)]
    for version, job in enumerate(jobs, start=1):
        store.apply(Entry(position(version), Request(Op.SET, "a", b""), job, 0))
    assert store.answered(jobs[0], 0) is None
    assert store.answered(jobs[1], 0) is not None and store.answered(jobs[-1], 0) is not None


def test_a_disk_that_refuses_leaves_the_copy_as_it_was() -> None:
    """What it had refused, and what came meanwhile, is taken back."""
    copy = Copy("copy-of-a-test-00", Store.anew(9), durable=True)
    copy.apply(Entry(position(1), Request(Op.SET, "a", b"1"), CALLERS[0], 0))
    [first] = copy.write()
    assert copy.written(first.ticket, "") and copy.kept == position(1) and copy.is_kept
    copy.apply(Entry(position(2), Request(Op.SET, "a", b"2"), CALLERS[0], 1))
    [second] = copy.write()
    copy.apply(Entry(position(3), Request(Op.DELETE, "a"), CALLERS[0], 2))
    assert copy.write() == []
    assert not copy.written(second.ticket, "disk full")
    item = copy.store.get("a")
    assert item is not None and item.value == b"1" and copy.store.position == copy.kept == position(1)
    assert copy.state(9).error == "disk full"
