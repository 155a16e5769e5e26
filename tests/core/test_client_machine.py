"""A client's node against a model of its messages, in any order of events."""

from __future__ import annotations

from collections import Counter

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from palm.core.effect import Deliver, Demand, Effect, Ended, Send
from palm.core.event import (
    Bounced,
    Cancelled,
    Event,
    Heard,
    InstanceDown,
    InstanceUp,
    Offered,
    Received,
    SourceEnded,
    Taken,
)
from palm.core.message import Batch, Header, Peer, Pong, Status, Welcome
from palm.testing.harness import items
from tests.core.cast import Client, instance_of

WINDOW = 10
ROUTE = ["one.f", "two.g"]
ANSWERS = (Status.OK, Status.OK, Status.OK, Status.FAILED, Status.EXPIRED, Status.BUSY, Status.AWAY)
SERVERS = st.sampled_from(["one", "two"])


class ClientMachine(RuleBasedStateMachine):
    """Job 1: with a deadline; job 2: at most once; job 3: neither. All on the route `one.f two.g`."""

    def __init__(self) -> None:
        super().__init__()
        self.client = Client()
        self.lives = Counter({"one": 0, "two": 0})
        self.up: dict[Peer, str] = {}
        self.sends: list[Send] = []
        self.sent = Counter[int]()
        self.allowed = Counter[int]()  # demanded and not offered
        self.ends: dict[int, dict[int, int]] = {1: {}, 2: {}, 3: {}}
        self.untaken: dict[int, list[tuple[int, int]]] = {1: [], 2: [], 3: []}  # (status, bytes)
        self.source_over: set[int] = set()
        self.over: set[int] = set()
        self.once: Counter[int] = Counter()  # of job 2: how often each may be sent
        for number, more in ((1, {"deadline_s": 40.0}), (2, {"at_most_once": True}), (3, {})):
            self.client.open(ROUTE, number=number, window=WINDOW, **more)

    def post(self, *events: Event) -> None:
        for event in events:
            self.take(self.client.post(event))

    def take(self, effects: list[Effect]) -> None:
        """What the node asks for, in order, against the model."""
        for effect in effects:
            if isinstance(effect, Send):
                number = effect.batch.header.job.number
                assert effect.peer in self.up, "sent to who is not there"
                assert len(set(effect.batch.sequences)) == len(effect.batch) > 0
                for item in items(effect.batch):
                    assert item.sequence not in self.ends[number], "sent after its end"
                    assert item.payload == b"%d" % item.sequence and item.sequence >= effect.batch.watermark
                    if number == 2:
                        self.once[item.sequence] -= 1
                        assert self.once[item.sequence] >= 0, "sent again, at most once"
                ended = self.ends[number]
                assert all(below in ended for below in range(effect.batch.watermark)), "the watermark is too high"
                self.sends.append(effect)
            elif isinstance(effect, Deliver):
                assert effect.number not in self.over
                statuses = effect.statuses or [0] * len(effect.sequences)
                for sequence, payload, status in zip(effect.sequences, effect.payloads, statuses, strict=True):
                    assert sequence not in self.ends[effect.number], "ended twice"
                    assert sequence < self.sent[effect.number]
                    self.ends[effect.number][sequence] = status
                    self.untaken[effect.number].append((status, len(payload) if status == 0 else 0))
            elif isinstance(effect, Demand):
                assert effect.count > 0 and effect.number not in self.source_over
                self.allowed[effect.number] += effect.count
            elif isinstance(effect, Ended):
                assert effect.error is None and effect.number not in self.over
                self.over.add(effect.number)

    # -- what happens -------------------------------------------------------------------------------------------------

    @rule(server=SERVERS)
    def instance_up(self, server: str) -> None:
        if sum(1 for each in self.up.values() if each == server) < 3:
            self.start(server)

    def start(self, server: str) -> None:
        self.lives[server] += 1
        instance = instance_of(server, self.lives[server])
        self.up[instance.peer] = server
        self.post(InstanceUp(instance), Heard(instance.peer, Welcome(1)))

    @precondition(lambda self: self.up)
    @rule(data=st.data(), clean=st.booleans())
    def instance_down(self, data: st.DataObject, clean: bool) -> None:
        peer = data.draw(st.sampled_from(sorted(self.up)))
        server = self.up.pop(peer)
        if clean:
            index = int(peer.split("-")[1])
            self.up[peer] = server
            self.post(InstanceUp(instance_of(server, index, draining=True)))
            del self.up[peer]
        self.post(InstanceDown(server, peer))

    @precondition(lambda self: self.up)
    @rule(data=st.data(), in_flight=st.integers(0, 1))
    def beat(self, data: st.DataObject, in_flight: int) -> None:
        self.post(Heard(data.draw(st.sampled_from(sorted(self.up))), Pong(1, in_flight=in_flight)))

    @rule(number=st.integers(1, 3), count=st.integers(1, WINDOW))
    def offer(self, number: int, count: int) -> None:
        count = min(count, self.allowed[number])
        if count and number not in self.source_over:
            first = self.sent[number]
            self.sent[number] += count
            self.allowed[number] -= count
            if number == 2:
                self.once.update(range(first, first + count))
            self.post(Offered(number, [b"%d" % sequence for sequence in range(first, first + count)]))

    @precondition(lambda self: self.sends)
    @rule(data=st.data(), statuses=st.lists(st.sampled_from(ANSWERS), min_size=8, max_size=8), twice=st.booleans())
    def answer(self, data: st.DataObject, statuses: list[Status], twice: bool) -> None:
        """Some of a batch that was sent at any time are answered, by the first stage or the last."""
        send = self.sends[data.draw(st.integers(0, len(self.sends) - 1))]
        some = data.draw(st.lists(st.sampled_from(send.batch.sequences), min_size=1, max_size=8, unique=True))
        job = send.batch.header.job
        if job.number == 2:
            twice = False
        drawn = [int(status) for status in statuses[: len(some)]]
        for sequence, status in zip(some, drawn, strict=True):
            if job.number == 2 and status in (Status.BUSY, Status.AWAY):
                self.once[sequence] += 1
        payloads = [b"r%d" % sequence for sequence in some]
        header = Header(job, send.batch.header.route, 2)
        for _ in range(1 + twice):
            self.post(Received(send.peer, Batch(header, 0, list(some), list(payloads), None, None, list(drawn))))

    @precondition(lambda self: self.sends)
    @rule(data=st.data())
    def bounce(self, data: st.DataObject) -> None:
        send = self.sends.pop(data.draw(st.integers(0, len(self.sends) - 1)))
        if send.batch.header.job.number == 2:
            self.once.update(send.batch.sequences)
        self.post(Bounced(send.peer, send.batch, "unreachable"))

    @rule(number=st.integers(1, 3), count=st.integers(1, WINDOW))
    def take_outcomes(self, number: int, count: int) -> None:
        taken, self.untaken[number] = self.untaken[number][:count], self.untaken[number][count:]
        if taken:
            self.post(Taken(number, len(taken), sum(1 for s, _ in taken if s == 0), sum(size for _, size in taken)))

    @rule(seconds=st.sampled_from([0.05, 0.5, 2.0, 6.0, 25.0]), beating=st.booleans())
    def wait(self, seconds: float, beating: bool) -> None:
        while seconds > 0:
            step = min(seconds, 0.5)
            seconds -= step
            self.take(self.client.advance(step))
            if beating:
                self.post(*(Heard(peer, Pong(1)) for peer in self.up))

    @rule(number=st.integers(1, 3), sure=st.integers(0, 5))
    def end_source(self, number: int, sure: int) -> None:
        if sure == 0:
            self.source_over.add(number)
            self.post(SourceEnded(number))

    @rule(number=st.integers(1, 3), sure=st.integers(0, 9))
    def cancel(self, number: int, sure: int) -> None:
        if sure == 0:
            self.source_over.add(number)
            self.post(Cancelled(number))
            assert len(self.ends[number]) == self.sent[number]

    # -- what holds ---------------------------------------------------------------------------------------------------

    @invariant()
    def the_ledger_adds_up(self) -> None:
        for number in (1, 2, 3):
            ledger = self.client.ledger(number)
            assert ledger.adds_up and ledger.sent == self.sent[number]
            ends = Counter(self.ends[number].values())
            waiting = sum(1 for status, _ in self.untaken[number] if status == 0)
            assert ledger.delivered == ends[0] - waiting
            assert ledger.expired == ends[Status.EXPIRED] and ledger.dead_lettered == ends[Status.DEAD_LETTERED]
            assert ledger.failed == ends[Status.FAILED] + ends[Status.CANCELLED] + ends[Status.UNKNOWN_FATE]

    @invariant()
    def the_window_is_kept(self) -> None:
        for number, job in self.client.node.jobs.items():
            unended = self.sent[number] - len(self.ends[number])
            demanded = 0 if number in self.source_over else self.allowed[number]
            assert unended + len(self.untaken[number]) + demanded <= WINDOW
            assert len(job.rows) == unended == len(job.payloads)

    @invariant()
    def what_is_held_is_counted(self) -> None:
        flying = Counter[Peer]()
        for number, job in self.client.node.jobs.items():
            results = sum(size for _, size in self.untaken[number])
            assert job.held_bytes == sum(map(len, job.payloads.values())) + results
            flying.update(f.link.instance.peer for f in job.rows.values() if f.link is not None)
        for link in self.client.node.instances():
            assert link.outstanding == flying[link.instance.peer]

    @invariant()
    def over_is_over(self) -> None:
        for number in (1, 2, 3):
            done = number in self.source_over and len(self.ends[number]) == self.sent[number]
            assert (number in self.over) == done

    def teardown(self) -> None:
        """Healed: whatever happened, every message ends, and every job."""
        for server in ("one", "two"):
            self.start(server)  # those that are there may have said that they drain
        self.source_over |= {1, 2, 3}
        self.post(*(SourceEnded(number) for number in (1, 2, 3)))
        # What is with an instance when it falls silent comes back after at most 20 s; what may not, after 12 of those.
        for _ in range(600):
            sends, self.sends = self.sends, []
            for send in sends:
                if send.peer in self.up:
                    header = send.batch.header.at(2)
                    answers = Batch(header, 0, list(send.batch.sequences), [b"r"] * len(send.batch))
                    self.post(Received(send.peer, answers))
            if self.over == {1, 2, 3}:
                break
            self.wait(0.5, True)
        assert self.over == {1, 2, 3}
        for number in (1, 2, 3):
            assert sorted(self.ends[number]) == list(range(self.sent[number]))
            self.take_outcomes(number, 1_000)
            assert self.client.ledger(number).in_flight == 0 and self.client.node.jobs[number].held_bytes == 0
        self.the_ledger_adds_up()


TestClientMachine = ClientMachine.TestCase
TestClientMachine.settings = settings(
    max_examples=80, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
