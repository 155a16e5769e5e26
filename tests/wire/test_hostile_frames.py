"""Whatever arrives: a BadFrame, or a batch that keeps its word."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from palm.core.message import (
    Batch,
    Control,
    Exposed,
    Frame,
    Hello,
    Leave,
    Over,
    Ping,
    Pong,
    Pull,
    Refused,
    Status,
    Welcome,
)
from palm.core.names import is_name
from palm.errors import BadFrame
from palm.wire import palm_pb2 as pb
from palm.wire.codec import LONGEST_TIME_US, MAX_ITEMS_TAKEN, Codec, is_peer
from palm.wire.control import encode_control
from palm.wire.frame import MAX_BODY_BYTES, VERSION, Body, pack, unpack
from tests.wire.shapes import CONTROLS, TRAVELLING, batches

GOOD = pb.Message(
    pipeline="1", client="client-000000000", stage=0, function="one.f", incarnation=7, route=["one.f", "two.g"]
)
HEADER = GOOD.SerializeToString()


def read(frame: Frame) -> list[Batch] | Control | None:
    """What a frame says; None for a BadFrame. Anything else that is raised fails the test."""
    try:
        return Codec().decode(frame)
    except BadFrame:
        return None


def check(said: list[Batch] | Control | None) -> None:
    """What a batch promises, and that it can go on to the next stage as it is."""
    if not isinstance(said, list):
        assert said is None or isinstance(said, Hello | Welcome | Refused | Ping | Pong | Over | Pull | Exposed | Leave)
        if said is not None:
            encode_control(said)
        return
    for batch in said:
        count = len(batch.sequences)
        assert 0 < count <= MAX_ITEMS_TAKEN and len(batch.payloads) == count
        attempts, statuses = batch.attempts or [1] * count, batch.statuses or [0] * count
        assert len(attempts) == len(statuses) == count
        assert all(1 <= attempt <= 1_000_000 for attempt in attempts) and set(statuses) <= set(TRAVELLING)
        assert all(isinstance(payload, bytes) for payload in batch.payloads)
        assert all(0 <= sequence < 2**64 for sequence in batch.sequences) and 0 <= batch.watermark < 2**64
        assert batch.remaining is None or 0 <= batch.remaining <= LONGEST_TIME_US * 1_000
        header = batch.header
        assert is_peer(header.job.client) and 0 <= header.stage <= len(header.route)
        assert header.route and all(is_name(stage.server) and is_name(stage.function) for stage in header.route)
        assert len(header.trace) in (0, 16)
    list(Codec().encode(said))


def table(**fields: Any) -> pb.Table:
    good: dict[str, Any] = {
        "header": [HEADER],
        "run_header": [0],
        "run_count": [2],
        "run_watermark": [0],
        "run_remaining_us": [0],
        "sequence": [0, 1],
        "payload": [b"a", b"b"],
    }
    return pb.Table(**(good | fields))


def single(**fields: Any) -> pb.Single:
    good: dict[str, Any] = {"header": HEADER, "sequence": 1, "attempt": 1, "payload": b"a"}
    return pb.Single(**(good | fields))


def header(**fields: Any) -> bytes:
    message = pb.Message.FromString(HEADER)
    for name, value in fields.items():
        if name == "route":
            del message.route[:]
            message.route.extend(value)
        else:
            setattr(message, name, value)
    return message.SerializeToString()


@settings(max_examples=2_000, deadline=None)
@given(st.sampled_from([1, 2, 3, 4, 0, 255]), st.binary(max_size=200), st.none() | st.binary(max_size=20))
def test_random_bodies_are_bad_frames_or_good_batches(kind: int, body: bytes, second: bytes | None) -> None:
    """Random bytes behind a valid prefix: protobuf takes many of them, the checks after it do not."""
    envelope = pack(kind, body)  # type: ignore[arg-type]
    check(read((envelope,) if second is None else (envelope, second)))


@settings(max_examples=1_000, deadline=None)
@given(st.binary(max_size=100))
@example(b"")
@example(b"PM")
@example(b"GET / HTTP/1.1\r\n\r\n")
def test_random_envelopes_are_bad_frames(envelope: bytes) -> None:
    """Nothing passes a magic, a version, a length and a checksum by chance."""
    with pytest.raises(BadFrame):
        Codec().decode((envelope,))


@settings(max_examples=400, deadline=None)
@given(st.lists(batches(), min_size=1, max_size=3), st.data())
def test_a_flipped_bit_is_a_bad_frame(given_batches: list[Batch], data: st.DataObject) -> None:
    """The checksum sees it, wherever it is."""
    envelope = bytearray(data.draw(st.sampled_from(list(Codec().encode(given_batches))))[0])
    bit = data.draw(st.integers(0, 8 * len(envelope) - 1))
    envelope[bit // 8] ^= 1 << bit % 8
    # The kind is outside the checksum: a flip there may make another kind of body of it.
    said = read((bytes(envelope),))
    assert said is None or bit // 8 == 3
    check(said)


@settings(max_examples=400, deadline=None)
@given(st.lists(batches(), min_size=1, max_size=3) | CONTROLS, st.data())
def test_a_cut_frame_is_a_bad_frame(said: list[Batch] | Control, data: st.DataObject) -> None:
    """Cut at any place, or with more behind it."""
    envelope = next(iter(Codec().encode(said)))[0] if isinstance(said, list) else encode_control(said)
    cut = data.draw(st.integers(0, len(envelope) - 1))
    assert read((envelope[:cut],)) is None and read((envelope + b"x",)) is None


@settings(max_examples=1_000, deadline=None)
@given(st.lists(batches(), min_size=1, max_size=3) | CONTROLS, st.data())
def test_a_changed_body_under_a_good_checksum_is_checked_field_by_field(
    said: list[Batch] | Control, data: st.DataObject
) -> None:
    """Who can compute a checksum can still not make a batch that breaks its promises."""
    envelope = next(iter(Codec().encode(said)))[0] if isinstance(said, list) else encode_control(said)
    kind, body = unpack(envelope)
    changed = bytearray(body)
    for _ in range(data.draw(st.integers(1, 3))):
        if changed:
            changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    check(read((pack(Body(kind), bytes(changed)),)))


@pytest.mark.parametrize(
    "body",
    [
        table(sequence=[0]),
        table(payload=[b"a"]),
        table(run_count=[1]),
        table(run_count=[3]),
        table(run_count=[2, 0], run_header=[0, 0], run_watermark=[0, 0], run_remaining_us=[0, 0]),
        table(run_count=[2**32 - 1]),
        table(run_header=[1]),
        table(run_header=[]),
        table(run_watermark=[]),
        table(run_remaining_us=[0, 0]),
        table(attempt=[1]),
        table(attempt=[1, 1_000_001]),
        table(attempt=[0, 1]),
        table(status=[0]),
        table(status=[0, 8]),
        table(status=[0, 16]),
        table(header=[b""]),
        table(header=[b"\xff\xff"]),
        table(
            sequence=range(MAX_ITEMS_TAKEN + 1), payload=[b""] * (MAX_ITEMS_TAKEN + 1), run_count=[MAX_ITEMS_TAKEN + 1]
        ),
        single(status=8),
        single(status=9),
        single(status=9, span=4_097),
        single(span=1),
        single(status=9, span=1, payload=b"\xff"),
        single(status=9, span=1, payload=pb.Fold(key=[b"a"], value=[b"b"]).SerializeToString()),
        single(status=9, span=1, payload=pb.Fold(failed_key=[b"a"], failed_first=[0]).SerializeToString()),
        table(status=[0, 9], payload=[b"a", b""]),
        table(status=[0, 9], payload=[b"a", b""], span=[1, 1]),
        table(status=[0, 9], payload=[b"a", b""], span=[0]),
        table(run_count=[129], sequence=range(129), payload=[b""] * 129, status=[9] * 129, span=[1] * 129),
        single(header=header(form=3)),
        single(header=header(form=1)),
        single(status=-1),
        single(status=2**31 - 1),
        single(attempt=1_000_001),
        single(frame_bytes=3),
        single(header=b""),
        single(header=header(client="short")),
        single(header=header(client="x" * 65)),
        single(header=header(client="client 000000000")),
        single(header=header(pipeline="")),
        single(header=header(pipeline="-1")),
        single(header=header(pipeline="1" * 21)),
        single(header=header(pipeline="\u0661")),
        single(header=header(stage=-1)),
        single(header=header(stage=3)),
        single(header=header(route=[])),
        single(header=header(route=["one.f"] * 257)),
        single(header=header(route=["one"])),
        single(header=header(route=["one.f.g"])),
        single(header=header(route=["../etc.f"])),
        single(header=header(trace=b"short")),
        single(header=header(payload=bytes(200_000))),
        pb.Control(),
        pb.Control(over=pb.Over(pipeline="x")),
        pb.Control(over=pb.Over(pipeline="1" * 21)),
        pb.Control(refused=pb.Refused(why=99)),  # type: ignore[arg-type]  # an open enum takes any number
    ],
)
def test_a_body_that_breaks_the_contract_is_a_bad_frame(body: pb.Table | pb.Single | pb.Control) -> None:
    """Columns that do not fit, figures out of range, headers that are none: each is refused before it is a batch."""
    kind = {pb.Table: Body.TABLE, pb.Single: Body.SINGLE, pb.Control: Body.CONTROL}[type(body)]
    with pytest.raises(BadFrame):
        Codec().decode((pack(kind, body.SerializeToString()),))


def test_the_good_bodies_of_these_tests_are_good() -> None:
    """So that what was refused was refused for the one field that was changed."""
    assert read((pack(Body.TABLE, table().SerializeToString()),)) is not None
    assert read((pack(Body.SINGLE, single().SerializeToString()),)) is not None
    whole = single(status=Status.UNKNOWN_FATE, attempt=1_000_000)
    assert read((pack(Body.SINGLE, whole.SerializeToString()),)) is not None
    assert read((pack(Body.TABLE, table(status=[0, 6], attempt=[1, 1_000_000]).SerializeToString()),)) is not None


def test_second_frames_belong_to_large_singles_only() -> None:
    """A control word, a table or a small single with a second frame is not ours."""
    assert read((encode_control(Ping(1)), b"more")) is None
    assert read((pack(Body.TABLE, table().SerializeToString()), b"more")) is None
    assert read((pack(Body.SINGLE, single().SerializeToString()), b"more")) is None


def test_a_large_payload_must_be_as_long_as_announced() -> None:
    """Missing, shorter, longer: none is taken."""
    envelope = pack(Body.SINGLE, single(payload=b"", frame_bytes=4).SerializeToString())
    assert read((envelope, b"abc")) is not None
    assert read((envelope,)) is None and read((envelope, b"ab")) is None and read((envelope, b"abcd")) is None


def test_long_headers_are_not_kept() -> None:
    """A hostile peer with headers as long as a frame may be does not fill the memory with them."""
    codec = Codec()
    for number in range(50):
        long = header(pipeline=str(number), route=["s" * 100 + ".f"] * 200)
        codec.decode((pack(Body.SINGLE, single(header=long).SerializeToString()),))
    assert sum(map(len, codec._header_of)) < 64 * 1024


def test_unknown_fields_are_passed_over() -> None:
    """A later release may say more; what is known of it is read."""
    more = single().SerializeToString() + b"\xfa\x7f\x03new"
    [batch] = Codec().decode((pack(Body.SINGLE, more),))  # type: ignore[misc]
    assert isinstance(batch, Batch) and batch.sequences == [1]


def test_prefixes_are_checked_before_the_body() -> None:
    """Magic, version, length and checksum, each with its own word; none quotes the bytes."""
    good = pack(Body.SINGLE, b"secret-bytes")
    for envelope, why in (
        (good[:5], "too few"),
        (b"XX" + good[2:], "not a PALM frame"),
        (good[:2] + bytes([VERSION + 1]) + good[3:], f"wire version {VERSION + 1}"),
        (good + b"x", "announces 12 bytes of body and has 13"),
        (good[:-1] + b"X", "checksum"),
    ):
        with pytest.raises(BadFrame, match=why) as caught:
            unpack(envelope)
        assert "secret" not in str(caught.value)
    assert unpack(good) == (Body.SINGLE, b"secret-bytes")


def test_a_body_over_the_limit_is_refused() -> None:
    """Far above what coalescing makes."""
    with pytest.raises(BadFrame, match="announces"):
        unpack(pack(Body.TABLE, bytes(MAX_BODY_BYTES + 1)))
