"""Batches to frames and back: every kind, every cap, and what failures become."""

from __future__ import annotations

from copy import deepcopy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palm.core.message import Batch, Control, Failure, Frame, Header, JobId, Payload, Peer, Status
from palm.core.route import LONGEST, Stage, parse_route
from palm.testing.harness import Item, items
from palm.wire.codec import (
    HEADERS_KEPT,
    LONGEST_TIME_US,
    MAX_ITEMS,
    MAX_TABLE_BYTES,
    TEXT_BYTES,
    TRACEBACK_BYTES,
    Codec,
    decode_failure,
    encode_failure,
)
from palm.wire.control import encode_control
from palm.wire.frame import Body, unpack
from palm.wire.palm_pb2 import Table
from tests.wire.shapes import CONTROLS, FAILURES, batches, headers

HEADER = Header(JobId(Peer("client-000000000"), 7, 1), parse_route(["one.f", "two.g"]), 0)


def plain(*payloads: bytes, first: int = 0, header: Header = HEADER) -> Batch:
    return Batch(header, 0, list(range(first, first + len(payloads))), list(payloads))


def decoded(frames: list[Frame]) -> list[Batch]:
    codec = Codec()
    found = []
    for frame in frames:
        said = codec.decode(frame)
        assert isinstance(said, list)
        found += said
    return found


Row = tuple[Header, int, int | None, int, Payload, int, int, object]


def encoded(given_batches: list[Batch], codec: Codec | None = None) -> list[Frame]:
    """As frames. The batches are the codec's from then on."""
    return list((codec or Codec()).encode(given_batches))


def rows(given_batches: list[Batch]) -> list[Row]:
    """Each item with all that it has, its failure as a value, so that batches that were cut compare."""
    found: list[Row] = []
    for batch in given_batches:
        for item in items(batch):
            payload = item.payload
            if item.status == Status.FAILED and isinstance(payload, bytes):
                payload = decode_failure(payload)
            shared = (batch.header, batch.watermark, batch.remaining)
            span = getattr(item.sequence, "count", 0)
            found.append((*shared, item.sequence, payload, item.status, item.attempt, span))
    return found


@settings(max_examples=300)
@given(st.lists(batches(), min_size=1, max_size=5))
def test_what_is_encoded_is_decoded(given_batches: list[Batch]) -> None:
    """Every column of every kind of batch, alone and merged with others, in order."""
    frames = encoded(deepcopy(given_batches))
    assert rows(decoded(frames)) == rows(given_batches)


@settings(max_examples=60)
@given(headers(), st.data())
def test_batches_of_one_header_share_it(header: Header, data: st.DataObject) -> None:
    """It is sent once for a frame, however many runs it has, and comes out as one object."""
    runs = [data.draw(batches(header)) for _ in range(3)]
    [frame] = encoded(deepcopy(runs))
    found = decoded([frame])
    assert rows(found) == rows(runs)
    assert len({id(batch.header) for batch in found}) == 1
    assert len(Table.FromString(unpack(frame[0])[1]).header) == 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([0, 1, 1_000, 30_000, 65_536, 65_537, 100_000]), min_size=1, max_size=40))
def test_frames_keep_their_caps(sizes: list[int]) -> None:
    """At most 128 items and 64 KiB of payloads in a table; a larger payload is a frame of its own, uncopied, in
    order."""
    payloads = [bytes(size) for size in sizes]
    batch = plain(*payloads)
    frames = encoded([batch])
    for frame in frames:
        found = decoded([frame])
        assert sum(map(len, found)) <= MAX_ITEMS
        if len(frame) == 2:
            assert len(frame[1]) > MAX_TABLE_BYTES and any(frame[1] is payload for payload in payloads)
        else:
            assert sum(len(payload) for each in found for payload in each.payloads) <= MAX_TABLE_BYTES
    assert rows(decoded(frames)) == rows([plain(*payloads)])


def test_many_small_messages_go_in_frames_of_128() -> None:
    """300 items: 128, 128 and 44, whichever batches they came in."""
    first, second = plain(*[b"x"] * 200), plain(*[b"y"] * 100, first=200)
    counts = [sum(map(len, decoded([frame]))) for frame in encoded([first, second])]
    assert counts == [128, 128, 44]


def test_one_message_goes_as_a_single_and_two_as_a_table() -> None:
    """The scalar form for what goes at once."""
    [single] = encoded([plain(b"x")])
    [table] = encoded([plain(b"x", b"y")])
    assert unpack(single[0])[0] == Body.SINGLE and unpack(table[0])[0] == Body.TABLE


def test_nothing_to_send_is_no_frame() -> None:
    """No batches, or batches that hold nothing."""
    assert encoded([]) == [] and encoded([plain()]) == []
    assert rows(decoded(encoded([plain(), plain(b"x"), plain()]))) == rows([plain(b"x")])


def test_a_deadline_is_rounded_down_and_never_lost() -> None:
    """Microseconds on the wire; zero left is not the same as none."""
    for remaining, seen in ((None, None), (0, 0), (999, 0), (1_000, 1_000), (-5, 0), (10**40, LONGEST_TIME_US * 1_000)):
        batch = plain(b"x", b"y")
        batch.remaining = remaining
        assert decoded(encoded([batch]))[0].remaining == seen


def test_merging_fills_in_columns_that_only_some_have() -> None:
    """Attempts and statuses of one batch do not leak into its neighbours."""
    retried = plain(b"b", first=1)
    retried.attempts = [3]
    busy = plain(b"", first=2)
    busy.statuses = [Status.BUSY]
    found = decoded(encoded([plain(b"a"), retried, busy]))
    assert [item for batch in found for item in items(batch)] == [
        Item(0, b"a"),
        Item(1, b"b", Status.OK, 3),
        Item(2, b"", Status.BUSY),
    ]


@given(FAILURES)
def test_failures_read_back(failure: Failure) -> None:
    """Reason, kind, text, traceback and place."""
    assert decode_failure(encode_failure(failure)) == failure


def test_long_texts_are_cut_in_the_middle() -> None:
    """Bounded in bytes, with the end kept: it says most."""
    failure = Failure("HANDLER_RAISED", "E" * 500, "t" * 20_000 + "end", "\u00e9" * 40_000 + "last line")
    back = decode_failure(encode_failure(failure))
    assert len(back.text.encode()) <= TEXT_BYTES and back.text.endswith("end") and back.text.startswith("t")
    assert len(back.remote_traceback.encode()) <= TRACEBACK_BYTES and back.remote_traceback.endswith("last line")
    assert len(back.kind) == 200


def test_texts_that_are_no_unicode_still_travel() -> None:
    """A lone surrogate in an error's text is replaced, not raised."""
    assert decode_failure(encode_failure(Failure("HANDLER_RAISED", "E", "a\ud800b"))).text == "a?b"


@given(st.binary(max_size=60))
def test_any_bytes_read_as_some_failure(payload: bytes) -> None:
    """A failure of another release, or garbage, is a failure that says so."""
    assert isinstance(decode_failure(payload), Failure)


@settings(max_examples=300)
@given(CONTROLS)
def test_control_words_read_back(word: Control) -> None:
    """Every kind, every field."""
    assert Codec().decode((encode_control(word),)) == word


def test_headers_are_interned_by_their_bytes() -> None:
    """The second frame of a job parses no header."""
    sender, receiver = Codec(), Codec()
    first, second = (receiver.decode(encoded([plain(b"x")], sender)[0]) for _ in range(2))
    assert isinstance(first, list) and isinstance(second, list)
    assert first[0].header is second[0].header


def test_interning_is_bounded() -> None:
    """However many jobs there are, and what is dropped is read anew."""
    sender, receiver = Codec(), Codec()
    for number in range(HEADERS_KEPT + 50):
        header = Header(JobId(HEADER.job.client, 7, number), HEADER.route, 0)
        said = receiver.decode(encoded([plain(b"x", header=header)], sender)[0])
        assert isinstance(said, list) and said[0].header == header
    assert len(sender._bytes_of) == len(receiver._header_of) == HEADERS_KEPT


@pytest.mark.parametrize("stages", [1, LONGEST])
def test_the_longest_route_travels(stages: int) -> None:
    """256 stages of the longest names, in a table as in a single."""
    route = (Stage("s" * 128, "f" * 128),) * stages
    header = Header(JobId(Peer("p" * 64), 2**64 - 1, 2**64 - 1), route, stages - 1, True, bytes(16))
    assert rows(decoded(encoded([plain(b"x", header=header)]))) == rows([plain(b"x", header=header)])
    two = plain(b"x", b"y", header=header)
    assert rows(decoded(encoded([two]))) == rows([plain(b"x", b"y", header=header)])
