"""The reducer's side of a reduction: runs, keys, blame, and parts of one message."""

from __future__ import annotations

from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.core.folding import Blame, Entry, Folding, Span, Whole, asked_again, fold_tables, outward, spelled_out
from palm.core.memory import Memory
from palm.core.message import Batch, Form, Header, JobId, Payload, Peer, Status
from palm.core.route import parse_route
from palm.core.share import divide
from palm.wire.fold import decode_parts, decode_tables, encode_parts, encode_table

HEADER = Header(JobId(Peer("client-000000000"), 7, 1), parse_route(["one.f", "two.g"]), 1)


def joined(one: bytes, other: bytes) -> bytes:
    if b"!" in other:
        raise ValueError(other)
    return one + other


def folding(every: int = 0, limit_bytes: int = 1 << 20) -> Folding:
    return Folding(joined, lambda payload: payload[:1], every=every, limit_bytes=limit_bytes)


def spans(of: Folding) -> list[tuple[int, int]]:
    return [(run.first, run.count) for run in of.runs]


def test_what_is_consecutive_is_one_run() -> None:
    """A missing sequence ends it."""
    made = folding()
    for sequence in (3, 4, 5, 7):
        made.add(sequence, [b"a%d" % sequence])
    assert spans(made) == [(3, 3), (7, 1)]
    assert made.runs[0].table() == [Entry(b"a", b"a3a4a5", 3)]


def test_a_group_and_a_full_table_end_a_run() -> None:
    made = folding(every=4)
    for sequence in range(10):
        made.add(sequence, [b"a"])
    assert spans(made) == [(0, 4), (4, 4), (8, 2)]
    made = folding(limit_bytes=40)
    for sequence in range(6):
        made.add(sequence, [b"%d" % sequence])
    assert [run.count for run in made.runs] == [3, 3]


def test_a_message_that_cannot_be_folded_is_not_in_with_any_part() -> None:
    """Blame names the key, and what was folded before stays as it was."""
    made = folding()
    made.add(0, [b"a0"])
    with pytest.raises(Blame) as caught:
        made.add(1, [b"a1", b"b1", b"a!"])
    assert caught.value.key == b"a" and isinstance(caught.value.__cause__, ValueError)
    made.add(2, [b"b2"])
    assert spans(made) == [(0, 1), (2, 1)]
    assert made.runs[0].table() == [Entry(b"a", b"a0", 0)] and made.runs[1].table() == [Entry(b"b", b"b2", 2)]


@given(st.lists(st.lists(st.sampled_from([b"a", b"b", b"c"]), max_size=4), min_size=1, max_size=20), st.data())
def test_any_cut_into_runs_and_rounds_is_the_serial_fold(messages: list[list[bytes]], data: st.DataObject) -> None:
    """For each key, through tables in bytes."""
    numbered = [[part + b"%d" % sequence for part in parts] for sequence, parts in enumerate(messages)]
    cuts = data.draw(st.sets(st.integers(1, len(messages))))
    tables: list[bytes] = []
    made = folding()
    for sequence, parts in enumerate(numbered):
        if sequence in cuts:
            tables += [encode_table(run.table()) for run in made.runs]
            made = folding()
        made.add(sequence, parts)
    tables += [encode_table(run.table()) for run in made.runs]
    while len(tables) > 1:
        at = data.draw(st.integers(0, len(tables) - 2))
        tables[at : at + 2] = [encode_table(fold_tables(decode_tables(tables[at] + tables[at + 1]), joined, failed))]
    serial = {key: [part for parts in numbered for part in parts if part[:1] == key] for key in (b"a", b"b", b"c")}
    expected = {
        Entry(key, reduce(joined, parts), next(i for i, one in enumerate(numbered) if parts[0] in one))
        for key, parts in serial.items()
        if parts
    }
    assert set(decode_tables(tables[0])) == expected


def failed(blame: Blame, key: bytes) -> bytes:
    return b"cannot fold " + key


def test_in_a_round_a_key_fails_alone_and_stays_failed() -> None:
    """The others are folded; what comes later for the failed one changes nothing."""
    one = [Entry(b"a", b"1", 4), Entry(b"b", b"2", 1), Entry(b"a", b"!", 3)]
    table = [*one, Entry(b"a", b"5", 9), Entry(b"b", b"6", 5)]
    assert fold_tables(table, joined, failed) == [Entry(b"a", b"cannot fold a", 3, True), Entry(b"b", b"26", 1)]


def test_a_run_travels_once_and_is_spelled_out_again() -> None:
    """To a leader an item for each message, of which all but the first go nowhere."""
    payloads: list[Payload] = [b"table", b"", b"", b"why"]
    sequences, statuses = [Span(5, 3), 6, 7, 8], [Status.FOLDED, Status.WITHIN, Status.WITHIN, Status.FAILED]
    travelled = outward(sequences, payloads, statuses)
    assert travelled == ([5, 8], [b"table", b"why"], [Status.FOLDED, Status.FAILED])
    again = spelled_out(Batch(HEADER, 0, travelled[0], travelled[1], statuses=travelled[2]))
    assert (again.sequences, again.payloads, again.statuses) == (sequences, payloads, statuses)


def test_all_parts_of_a_message_are_one_payload() -> None:
    """Without those that have no result; and one that failed is the message's end."""
    whole, memory = Whole(encode_parts), Memory()
    header = HEADER.of(divide(4, 0, 9, 2)[0])
    parts = divide(4, 0, 9, 3)
    first = Batch(header, 0, parts[:1], [b"x"])
    rest = Batch(header, 0, parts[1:], [b"", b"z"], statuses=[Status.EMPTY, Status.OK])
    assert whole.take(header, memory, first, 0).ready == []
    [ready] = whole.take(header, memory, rest, 0).ready
    assert ready.sequences == [4] and ready.header == HEADER.formed(Form.PARTS)
    assert isinstance(ready.payloads[0], bytes) and decode_parts(ready.payloads[0]) == [b"x", b"z"]
    bad = divide(5, 0, 9, 2)
    [ready] = whole.take(header, memory, Batch(header, 0, bad, [b"x", b"why"], statuses=[0, Status.FAILED]), 0).ready
    assert (ready.sequences, ready.payloads, ready.statuses) == ([5], [b"why"], [Status.FAILED])
    assert asked_again(Batch(header, 0, parts, [b""] * 3), True) == (HEADER.formed(Form.PARTS), [4])
