"""A server's node against a model of what it may run, in any order of events."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from palm.core.effect import Drained, Effect, Invoke, Send
from palm.core.event import Bounced, DrainAsked, Finished, Heard, InstanceDown, InstanceUp, Received
from palm.core.message import Batch, Header, JobId, Over, Ping, Pong, Status
from palm.testing.harness import items
from tests.core.cast import BOTH, CLIENT, JOB, Server, instance_of, peer_of, upper

BOUND = 12
NUMBERS = (1, 2)
OFFSETS = st.lists(st.integers(0, 5), min_size=1, max_size=6)


class ServerMachine(RuleBasedStateMachine):
    """Jobs 1 and 2 of one client on the route `one.f two.g`, seen by an instance of `one`."""

    def __init__(self) -> None:
        super().__init__()
        self.server = Server(max_in_flight=BOUND)
        self.invoked: dict[JobId, dict[int, None]] = {}
        self.floor = dict.fromkeys(NUMBERS, 0)
        self.ended: set[int] = set()
        self.running: dict[int, Invoke] = {}
        self.left: dict[int, set[int]] = {}
        self.sent: list[Send] = []
        self.draining = False
        self.linked = True

    def job(self, number: int) -> JobId:
        return JOB._replace(number=number)

    def take(self, effects: list[Effect]) -> None:
        """Look at what the node asks for, as the model allows it."""
        for effect in effects:
            if isinstance(effect, Invoke):
                self.take_invoke(effect)
            elif isinstance(effect, Send):
                self.take_send(effect)

    def take_invoke(self, invoke: Invoke) -> None:
        job = invoke.batch.header.job
        ran = self.invoked.setdefault(job, {})
        assert not self.draining and job.number not in self.ended
        for sequence in invoke.batch.sequences:
            assert sequence not in ran, f"message {sequence} is run twice"
            assert sequence >= self.floor[job.number], f"message {sequence} is run below the watermark"
            ran[sequence] = None
        self.running[invoke.ticket] = invoke
        self.left[invoke.ticket] = set(invoke.batch.sequences)

    def take_send(self, send: Send) -> None:
        self.sent.append(send)
        header = send.batch.header
        assert (send.peer == CLIENT) == header.is_result
        for item in items(send.batch):
            if item.status == Status.OK:
                assert item.payload == upper(b"%d" % item.sequence)
                assert item.sequence in self.invoked[header.job], "an answer to what was never run"
            else:
                assert item.status == (Status.AWAY if self.draining else Status.BUSY) and send.peer == CLIENT

    # -- what happens -------------------------------------------------------------------------------------------------

    @rule(number=st.sampled_from(NUMBERS), offsets=OFFSETS, advance=st.booleans())
    def receive(self, number: int, offsets: list[int], advance: bool) -> None:
        if not self.linked:
            return
        floor = self.floor[number]
        ran = self.invoked.get(self.job(number), {})
        answered = {s for s in ran if all(s not in left for t, left in self.left.items() if self.of(t) == number)}
        while advance and floor in answered:
            floor += 1
        self.floor[number] = floor
        self.send_in(number, [floor + offset for offset in offsets], floor)

    def of(self, ticket: int) -> int:
        return self.running[ticket].batch.header.job.number

    def send_in(self, number: int, sequences: list[int], floor: int) -> None:
        batch = Batch(Header(self.job(number), BOTH, 0), floor, list(sequences), [b"%d" % s for s in sequences])
        self.take(self.server.post(Received(CLIENT, batch)))

    @rule(number=st.sampled_from(NUMBERS), sequences=OFFSETS)
    def receive_a_late_copy(self, number: int, sequences: list[int]) -> None:
        """It carries a watermark of long ago."""
        if self.linked:
            self.send_in(number, sequences, 0)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(sorted(self.running)))
        some = data.draw(st.lists(st.sampled_from(sorted(self.left[ticket])), min_size=1, unique=True))
        self.finish_items(ticket, some)

    def finish_items(self, ticket: int, some: list[int]) -> None:
        self.left[ticket] -= set(some)
        if not self.left[ticket]:
            del self.left[ticket], self.running[ticket]
        self.take(self.server.post(Finished(ticket, some, [upper(b"%d" % s) for s in some], None)))

    @rule(index=st.integers(0, 1), up=st.booleans())
    def next_instance(self, index: int, up: bool) -> None:
        instance = instance_of("two", index)
        self.take(self.server.post(InstanceUp(instance) if up else InstanceDown("two", instance.peer)))

    @rule(index=st.integers(0, 1), in_flight=st.integers(0, 50))
    def next_instance_beats(self, index: int, in_flight: int) -> None:
        self.take(self.server.post(Heard(peer_of("two", index), Pong(1, in_flight=in_flight))))

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def bounce(self, data: st.DataObject) -> None:
        send = self.sent.pop(data.draw(st.integers(0, len(self.sent) - 1)))
        if send.peer == CLIENT:
            self.linked = False
        batch = send.batch
        copy = Batch(
            batch.header, batch.watermark, list(batch.sequences), list(batch.payloads), None, None, batch.statuses
        )
        self.take(self.server.post(Bounced(send.peer, copy, "unreachable")))

    @rule()
    def greet(self) -> None:
        seen = len(self.server.steps)
        self.server.greet(CLIENT)
        self.linked = True
        self.take([effect for step in self.server.steps[seen:] for effect in step.effects])

    @rule(seconds=st.floats(0.1, 3))
    def wait(self, seconds: float) -> None:
        self.take(self.server.advance(seconds))
        if self.linked:
            open_jobs = tuple(number for number in NUMBERS if number not in self.ended)
            self.take(self.server.post(Heard(CLIENT, Ping(1, open_jobs, 3))))

    @rule(number=st.sampled_from(NUMBERS), sure=st.integers(0, 4))
    def over(self, number: int, sure: int) -> None:
        if sure == 4:
            self.end(number)

    def end(self, number: int) -> None:
        self.ended.add(number)
        self.take(self.server.post(Heard(CLIENT, Over(JOB.incarnation, number))))

    @rule(sure=st.integers(0, 9))
    def drain(self, sure: int) -> None:
        if sure == 9:
            self.draining = True
            self.take(self.server.post(DrainAsked()))

    # -- what holds ---------------------------------------------------------------------------------------------------

    @invariant()
    def in_flight_is_what_runs(self) -> None:
        assert self.server.node.in_flight == sum(map(len, self.left.values())) <= BOUND

    @invariant()
    def memory_is_bounded_by_the_watermark(self) -> None:
        held = dict.fromkeys(NUMBERS, 0)
        for text in self.server.node.held():
            words = text.split()
            if words[0] == "remembers":
                held[int(words[-1])] += int(words[1])
            else:
                assert 0 < int(words[1]) <= BOUND, "parked answers have a bound of their own"
        for number in NUMBERS:
            ran = self.invoked.get(self.job(number), {})
            expected = 0 if number in self.ended else sum(1 for sequence in ran if sequence >= self.floor[number])
            assert held[number] == expected

    @invariant()
    def drained_is_said_once_and_in_time(self) -> None:
        drained = [effect for step in self.server.steps for effect in step.effects if isinstance(effect, Drained)]
        idle = self.server.node.in_flight == 0 and not any("holds" in text for text in self.server.node.held())
        assert len(drained) <= 1 and (not drained or self.draining)
        assert drained or not (self.draining and idle)

    def teardown(self) -> None:
        """Healed: what was taken is answered, and nothing is held once the jobs are over."""
        self.greet()
        self.next_instance(0, True)
        self.next_instance_beats(0, 0)
        for ticket in list(self.running):
            self.finish_items(ticket, sorted(self.left[ticket]))
        for number in NUMBERS:
            job, mark = self.job(number), len(self.sent)
            due = [s for s in self.invoked.get(job, {}) if s >= self.floor[number] and number not in self.ended]
            if due:
                self.send_in(number, due, 0)
            assert {s for send in self.sent[mark:] for s in send.batch.sequences} == set(due)
            self.end(number)
        assert self.server.node.in_flight == 0 and self.server.node.held() == []


TestServerMachine = ServerMachine.TestCase
TestServerMachine.settings = settings(
    max_examples=200, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
