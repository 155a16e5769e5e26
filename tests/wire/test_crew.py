"""Many results and many parts between a worker and its leader."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.core.message import (
    Batch,
    Failure,
    Frame,
    Header,
    JobId,
    Joined,
    Leg,
    PartFailed,
    Payload,
    Peer,
    Split,
    Status,
    Task,
)
from palm.core.route import Stage
from palm.core.share import Part, Step
from palm.errors import BadFrame
from palm.wire import palm_pb2 as pb
from palm.wire.codec import Codec
from palm.wire.frame import Body, pack

JOB = JobId(Peer("client-000000000"), 7, 1)
ROUTE = tuple(Stage(name, "f") for name in "abcd")
PLAIN = Header(JOB, ROUTE, 1)
ANSWER = PLAIN.on(Leg.FROM_WORKER, 5)
GATHER = PLAIN.on(Leg.TO_WORKER, 5).doing(Task.GATHER, 0)
PART = Part(3, (Step(1, 9, 0, 1),))

forks = st.integers(0, 2**64 - 1)
payloads = st.binary(max_size=20)
splits = st.builds(Split, forks, st.lists(st.tuples(st.integers(2, 4), payloads), min_size=1, max_size=9).map(tuple))
reasons = st.sampled_from(["HANDLER_RAISED", "TIMED_OUT"])
words = st.text(max_size=200)  # longer ones are cut
failed = st.builds(PartFailed, st.integers(0, 65_535), reasons, words, words)
joined = st.lists(payloads | st.none() | failed, min_size=1, max_size=9).map(tuple)


def there_and_back(header: Header, payloads: list[Payload], statuses: list[int] | None) -> list[Payload]:
    receiver, found = Codec(), []
    for frame in Codec().encode([Batch(header, 0, list(range(len(payloads))), list(payloads), None, None, statuses)]):
        said = receiver.decode(frame)
        assert isinstance(said, list)
        found += [payload for batch in said for payload in batch.payloads]
    return found


@given(st.lists(splits, min_size=1, max_size=200))
def test_many_results_keep_their_stages_and_their_execution(results: list[Split]) -> None:
    """In tables and alone."""
    assert there_and_back(ANSWER, list(results), [Status.MANY] * len(results)) == results


@given(st.lists(joined, min_size=1, max_size=20))
def test_parts_keep_their_places_on_the_way_to_gather(messages: list[Joined]) -> None:
    """Results, parts without one, and parts that failed."""
    assert there_and_back(GATHER, list(messages), None) == messages


def test_a_large_message_of_many_parts_travels_too() -> None:
    """As a frame of its own."""
    large = Split(1, ((2, bytes(100_000)), (2, b"")))
    assert there_and_back(ANSWER, [large], [Status.MANY]) == [large]


def test_the_text_of_a_failed_part_is_cut() -> None:
    """There may be as many as there are parts."""
    (back,) = there_and_back(GATHER, [(PartFailed(0, "HANDLER_RAISED", "E", "x" * 9_999),)], None)
    assert back == (PartFailed(0, "HANDLER_RAISED", "E", "x" * 1_024),)


def test_a_leader_can_read_why_a_part_failed() -> None:
    """What fails a whole message stays bytes: only the client reads it."""
    failure = Failure("HANDLER_RAISED", "ValueError", "no", "", "a", "f", "i", 1)
    part = Header(JOB, ROUTE, 1, parts=True).on(Leg.FROM_WORKER, 5).doing(Task.PART, PART)
    (frame,) = Codec().encode([Batch(part, 0, [PART], [failure], None, None, [Status.FAILED])])
    (batch,) = Codec().decode(frame)  # type: ignore[misc]  # a frame of one batch
    assert batch.payloads == [failure]
    assert isinstance(there_and_back(ANSWER, [failure], [Status.FAILED])[0], bytes)


def raw(split: bytes | pb.Split, header: Header = ANSWER, status: int = Status.MANY) -> Frame:
    body = split if isinstance(split, bytes) else split.SerializeToString()
    (frame,) = Codec().encode([Batch(header, 0, [1], [body], None, None, [status] if status else None)])
    return frame


@pytest.mark.parametrize(
    "frame",
    [
        raw(b"\xff"),
        raw(pb.Split(fork=1)),
        raw(pb.Split(fork=1, stage=[2], result=[b"", b""])),
        raw(pb.Split(fork=1, stage=[2, 1], result=[b"", b""])),
        raw(pb.Split(fork=1, stage=[5], result=[b""])),
        raw(pb.Split(fork=1, stage=[2] * 65_537, result=[b""] * 65_537)),
        raw(pb.Split(fork=1, stage=[2], result=[b""]), ANSWER.doing(Task.SCATTER, 0)),
        raw(pb.Split(fork=1, stage=[2], result=[b""]), ANSWER.doing(Task.PART, 0)),
        raw(pb.Split(fork=1, stage=[2], result=[b""]), PLAIN),
        raw(pb.Split(fork=1, stage=[2], result=[b""]), PLAIN.on(Leg.TO_WORKER, 5)),
        raw(b"\xff", GATHER, 0),
        raw(b"", GATHER, 0),
        raw(pb.Joined(result=[b""] * 65_537).SerializeToString(), GATHER, 0),
        raw(pb.Joined(result=[b""], none=[1]).SerializeToString(), GATHER, 0),
        raw(pb.Joined(result=[b""], none=[0] * 2).SerializeToString(), GATHER, 0),
        raw(pb.Joined(result=[b""], failed=[pb.PartFailed(place=1)]).SerializeToString(), GATHER, 0),
        raw(pb.Joined(result=[b""], failed=[pb.PartFailed(part=65_536)]).SerializeToString(), GATHER, 0),
        raw(pb.Joined(result=[b""], failed=[pb.PartFailed(reason=99)]).SerializeToString(), GATHER, 0),  # type: ignore[arg-type]  # on purpose
        raw(pb.Joined(result=[b""], failed=[pb.PartFailed()] * 2).SerializeToString(), GATHER, 0),
        raw(pb.Joined(result=[b""]).SerializeToString(), GATHER, Status.EMPTY),
    ],
)
def test_what_no_worker_or_leader_would_say_is_a_bad_frame(frame: Frame) -> None:
    """Counts, stages and places that there are none of, forms that stand where they must not."""
    with pytest.raises(BadFrame):
        Codec().decode(frame)


@pytest.mark.parametrize("fields", [{"task": 4, "leg": 1}, {"task": 1}])
def test_a_task_that_is_none_or_not_for_a_worker_is_a_bad_frame(fields: dict[str, int]) -> None:
    """Clients' messages know no tasks."""
    good = {"pipeline": "1", "client": JOB.client, "incarnation": 7, "route": ["a.f"], "function": "a.f"}
    header = pb.Message(**(good | fields)).SerializeToString()  # type: ignore[arg-type]  # by name
    single = pb.Single(header=header, sequence=1, attempt=1)
    with pytest.raises(BadFrame):
        Codec().decode((pack(Body.SINGLE, single.SerializeToString()),))
