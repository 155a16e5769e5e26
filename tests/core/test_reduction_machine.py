"""A reduction over a network and a registry that do as they like: always the serial fold, whoever ran what how often.

The system machine's cluster, with reducers for its second stage: two of them at once, as when a leader does not know
yet that it is none. They fold what they happen to have, answer it late, twice or never, die, and are restarted.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule, run_state_machine_as_test

from palm.core import chain
from palm.core.client import ClientNode
from palm.core.effect import Invoke
from palm.core.event import Finished, InstanceUp, Opened, SourceEnded, Taken
from palm.core.folding import REDUCE, Folding, Span, fold_tables
from palm.core.message import Form, Frame, Payload, Peer, Status
from palm.core.server import ServerNode
from palm.observe.ledger import Ledger
from palm.wire.fold import decode_tables, encode_parts, encode_table
from tests.core.cast import CLIENT, instance_of
from tests.core.test_system_machine import MESSAGES, ROUTE, SERVERS, WINDOW, Place, System
from tests.support.twin import twin


def key_of(payload: bytes) -> bytes:
    """Of f(12): its last digit is even or odd."""
    return b"odd" if payload[-2] % 2 else b"even"


def joined(one: bytes, other: bytes) -> bytes:
    return one + other


def serial(every: int) -> list[bytes]:
    """What is to come: of each group one result for each key, by the first message of it."""
    results = []
    for start in range(0, MESSAGES, every):
        numbers = range(start, min(MESSAGES, start + every))
        for parity in (start % 2, 1 - start % 2):
            results.append(b"".join(b"f(%d)" % number for number in numbers if number % 2 == parity))
    return results


class Reductions(System):
    every = 0

    def __init__(self) -> None:
        super().__init__()
        self.folded: list[bytes] = []
        self.late: list[tuple[Peer, Frame]] = []
        self.places[CLIENT] = Place(ClientNode(peer=CLIENT, incarnation=7, unfold=decode_tables), 0)

    @initialize(every=st.sampled_from([0, 7]))
    def begin(self, every: int) -> None:  # type: ignore[override]  # another draw
        self.every = every
        for server in SERVERS * 2:
            self.start(server)
        opened = Opened(
            number=1, route=ROUTE, window=WINDOW, window_bytes=1 << 20, deadline=None, at_most_once=False
        )
        self.post(CLIENT, opened)

    def start(self, server: str) -> None:
        if server == "one":
            super().start(server)
            return
        self.lives += 1
        instance = replace(instance_of(server, self.lives), kind=REDUCE, every=self.every)
        node = ServerNode(
            peer=instance.peer, server=server, functions=("g",), max_in_flight=8, pack=encode_parts, now=self.now
        )
        self.alive[instance.peer] = instance
        self.places[instance.peer] = Place(node, self.now)
        self.tell(server, InstanceUp(instance))

    def run(self, at: Peer, invoke: Invoke, only: list[int]) -> None:
        header, place = invoke.batch.header, self.places[at]
        if header.target.server == "one":
            super().run(at, invoke, only)
            return
        together = [other for other in place.running if other.batch.header == header]
        rows = {
            sequence: payload
            for other in together
            for sequence, payload in zip(other.batch.sequences, other.batch.payloads, strict=True)
            if len(only) == len(invoke.batch) or sequence in only
        }
        place.running = [other for other in place.running if other not in together]
        outcomes = self.fold(rows, header.form == Form.TABLES)
        for other in together:
            items = list(zip(other.batch.sequences, other.batch.payloads, strict=True))
            here = [outcomes[sequence] for sequence, _ in items if sequence in rows]
            rest = [(sequence, payload) for sequence, payload in items if sequence not in rows]
            if header.job in place.abandoned:
                here = [(sequence, b"", Status.CANCELLED) for sequence, _, _ in here]
            if rest:
                other.batch.sequences, other.batch.payloads = [one for one, _ in rest], [one for _, one in rest]
                place.running.append(other)
            if here:
                columns = [one for one, _, _ in here], [one for _, one, _ in here], [one for *_, one in here]
                self.post(at, Finished(other.ticket, *columns))

    def fold(self, rows: dict[int, Payload], tables: bool) -> dict[int, tuple[int, Payload, int]]:
        """All that a reducer has at hand, whoever it came with; the outcome of each message."""
        outcomes: dict[int, tuple[int, Payload, int]] = {}
        folding = Folding(joined, key_of, every=self.every, limit_bytes=1 << 20)
        for sequence in sorted(rows):
            payload = rows[sequence]
            assert isinstance(payload, bytes)
            if tables:
                table = encode_table(fold_tables(decode_tables(payload), joined, lambda blame, key: b""))
                outcomes[sequence] = (Span(sequence, 1), table, Status.FOLDED)
            else:
                folding.add(sequence, [payload])
        for run in folding.runs:
            outcomes.update((sequence, (sequence, b"", Status.WITHIN)) for sequence in run.span.sequences)
            outcomes[run.first] = (run.span, encode_table(run.table()), Status.FOLDED)
        return outcomes

    def deliver(self, sequences: list[int], payloads: list[Payload], statuses: list[int]) -> None:
        assert not any(statuses), f"ended as {statuses}"
        self.folded += [payload for payload in payloads if isinstance(payload, bytes)]
        self.post(CLIENT, Taken(1, len(sequences), len(sequences), sum(map(len, self.folded[-len(sequences) :]))))

    @invariant()
    def the_ledger_adds_up(self) -> None:
        node = self.places[CLIENT].harness.node
        assert isinstance(node, ClientNode)
        if 1 in node.jobs:
            job = node.jobs[1]
            counts = Ledger(job.sent, job.ends.delivered, 0, 0, 0, job.in_flight)
            assert counts.adds_up and job.sent == self.offered, counts
            assert len(job.rows) + job.demanded <= WINDOW

    @rule(data=st.data())
    def answer_late(self, data: st.DataObject) -> None:
        """What reducers have answered is on its way for so long that the client asks again, and gets other tables for
        some of it meanwhile."""
        if self.demanded:
            self.offer(4)
        for _ in range(4):
            self.hear()
            for wire in sorted(wire for wire in self.wires if wire[0].startswith("two") and wire[1] == CLIENT):
                self.late += [(wire[0], frame) for frame in self.wires[wire]]
                self.wires[wire] = []
            self.carry()
            self.work()
        self.wait(6.0)
        self.carry()
        self.carry()
        self.carry()
        for at, place in list(self.places.items()):
            for invoke in list(place.running):
                if invoke in place.running:
                    self.run(at, invoke, data.draw(st.lists(st.sampled_from(invoke.batch.sequences), min_size=1)))
        self.carry()

    @precondition(lambda self: self.late)
    @rule(data=st.data())
    def come_late(self, data: st.DataObject) -> None:
        """Also of one that is dead by now."""
        src, frame = self.late.pop(data.draw(st.integers(0, len(self.late) - 1)))
        self.arrive(src, CLIENT, frame)

    @rule()
    def source_ends(self) -> None:
        if self.offered == MESSAGES:
            self.post(CLIENT, SourceEnded(1))

    def teardown(self) -> None:
        """Everybody is back, nothing more is lost: the serial fold came, and nothing is left behind."""
        if not self.alive:
            return  # it never began
        for server in SERVERS:
            if not any(instance.server == server for instance in self.alive.values()):
                self.start(server)
        for src, frame in self.late:
            self.arrive(src, CLIENT, frame)
        for _ in range(400):
            for _ in range(4):
                self.quiet(1)
                if self.demanded and self.offered < MESSAGES:
                    self.offer(WINDOW)
                self.source_ends()
            if self.ended:
                break
            self.wait(0.5)
        assert self.folded == serial(self.every or MESSAGES)
        assert self.ended and self.offered == MESSAGES
        client = self.places[CLIENT].harness.node
        assert isinstance(client, ClientNode)
        assert list(client.jobs) == [1] and client.jobs[1].ends.delivered == MESSAGES
        for _ in range(4):
            self.wait(0.5)
            self.quiet(2)
        for peer in self.alive:
            node = self.places[peer].harness.node
            assert isinstance(node, ServerNode)
            assert node.held() == [] and node.in_flight == 0, f"{peer} {node.held()}"


TestReductions = Reductions.TestCase
TestReductions.settings = settings(
    max_examples=60, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)


def test_a_client_that_takes_any_table_is_found_out() -> None:
    """The rule that all messages of a table must be open is what keeps the fold right: without it, it is not."""
    quick = settings(TestReductions.settings, phases=[Phase.generate], print_blob=False, max_examples=300)
    with twin(chain, "len(open_) < span.count or", "not open_ or"):
        with pytest.raises(AssertionError):
            run_state_machine_as_test(Reductions, settings=quick)
