"""Strategies for what travels: headers, batches of every kind, and control words."""

from __future__ import annotations

from hypothesis import strategies as st

from palm.core.folding import MAX_SPAN, Entry, Span
from palm.core.message import (
    Batch,
    Control,
    Exposed,
    Failure,
    Form,
    Header,
    Hello,
    JobId,
    Leave,
    Leg,
    Over,
    Payload,
    Peer,
    Ping,
    Pong,
    Pull,
    Refused,
    Status,
    Task,
    Welcome,
)
from palm.core.route import Stage
from palm.wire.codec import LONGEST_TIME_US
from palm.wire.fold import encode_table

UINT64 = st.integers(0, 2**64 - 1)
NAMES = st.text("abcXYZ019_-", min_size=1, max_size=12)
PEERS = st.text("abcXYZ019_-", min_size=16, max_size=64).map(Peer)
TEXTS = st.text(max_size=30)
FAILURES = st.builds(
    Failure,
    st.sampled_from(["HANDLER_RAISED", "BAD_RESULT", "NO_FUNCTION", "TOO_LARGE", "BAD_REQUEST"]),
    TEXTS,
    TEXTS,
    TEXTS,
    NAMES,
    NAMES,
    PEERS,
    st.integers(1, 1000),
)


@st.composite
def headers(draw: st.DrawFn) -> Header:
    route = tuple(draw(st.lists(st.builds(Stage, NAMES, NAMES), min_size=1, max_size=4)))
    job = JobId(draw(PEERS), draw(UINT64), draw(UINT64))
    trace = draw(st.sampled_from([b"", bytes(range(16))]))
    header = Header(job, route, draw(st.integers(0, len(route))), draw(st.booleans()), trace)
    leg = Leg.NONE if header.is_result else draw(st.sampled_from(Leg))
    header = header.formed(draw(st.sampled_from(Form if leg else [Form.PLAIN, Form.TABLES])))
    task = draw(st.sampled_from([Task.RUN, Task.SCATTER])) if leg else Task.RUN
    return header.on(leg, draw(UINT64)).doing(task, 0) if leg else header


TABLES = st.lists(st.builds(Entry, st.binary(max_size=8), st.binary(max_size=20), UINT64, st.booleans()), max_size=4)
TRAVELLING = [*range(8), Status.FOLDED]


@st.composite
def batches(draw: st.DrawFn, header: Header | None = None, largest: int = 40) -> Batch:
    count = draw(st.integers(1, 6))
    statuses = draw(st.none() | st.lists(st.sampled_from(TRAVELLING), min_size=count, max_size=count))
    payloads: list[Payload] = []
    sequences = draw(st.lists(UINT64, min_size=count, max_size=count))
    for index in range(count):
        status = Status.OK if statuses is None else statuses[index]
        if status == Status.FOLDED:
            sequences[index] = Span(sequences[index], draw(st.integers(1, MAX_SPAN)))
            payloads.append(draw(TABLES.map(encode_table)))
        else:
            payloads.append(draw(FAILURES) if status == Status.FAILED else draw(st.binary(max_size=largest)))
    return Batch(
        draw(headers()) if header is None else header,
        draw(UINT64),
        sequences,
        payloads,
        draw(st.none() | st.integers(0, LONGEST_TIME_US).map(lambda us: us * 1_000)),
        draw(st.none() | st.lists(st.integers(1, 1_000_000), min_size=count, max_size=count)),
        statuses,
    )


COUNTS = st.integers(0, 2**63)
CONTROLS: st.SearchStrategy[Control] = st.one_of(
    st.builds(Hello, st.integers(0, 2**32 - 1), PEERS, NAMES, NAMES),
    st.builds(Welcome, st.integers(0, 2**32 - 1)),
    st.builds(Refused, st.sampled_from(["STRANGER", "NOT_ME", "VERSION", "CLUSTER"]), TEXTS),
    st.builds(Ping, UINT64, st.lists(UINT64, max_size=5).map(tuple), UINT64),
    st.builds(Pong, UINT64, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, st.just("") | NAMES, st.booleans(), COUNTS, COUNTS),
    st.builds(Over, UINT64, UINT64),
    st.builds(Pull, UINT64, st.integers(0, 4_096), st.integers(0, 2**32 - 1)),
    st.builds(Exposed, UINT64, UINT64, NAMES, PEERS, st.lists(UINT64, max_size=5).map(tuple), st.booleans()),
    st.just(Leave()),
)
