"""The node of a butterfly's instance, by hand: who may act, whose word is taken, and what becomes of the work."""

from __future__ import annotations

from dataclasses import replace

from palm.core.butterfly import ButterflyNode
from palm.core.effect import Dial, Invoke, Send, Stand
from palm.core.event import Deposed, Elected, Finished, Heard, InstanceDown, InstanceUp, Received
from palm.core.message import Header, Hello, Instance, Leg, Peer, Pull, Role, Split, Status
from palm.core.share import Part, Step
from palm.testing.harness import NS, Harness, finished
from tests.core.cast import CLIENT, FIRST, JOB, batch_of, instance_of, peer_of, upper

ME, LEADER, WORKER = peer_of("one", 0), peer_of("one", 1), peer_of("one", 2)
PLAIN = Header(JOB, FIRST, 0)
RESULT = PLAIN.at(1)


class Instanced(Harness):
    """A ButterflyNode of server `one` that the client is linked to."""

    node: ButterflyNode

    def __init__(self) -> None:
        super().__init__(ButterflyNode(peer=ME, server="one", functions=("f", "g")))
        self.post(Heard(CLIENT, Hello(1, ME, "palm", "x")))

    def elect(self, term: int = 5, seconds: float = 1_000) -> None:
        self.post(Elected(term, self.now + round(seconds * NS)))

    def mate(self, peer: Peer, role: Role = "worker", term: int = 0) -> Instance:
        index = (ME, LEADER, WORKER).index(peer)
        mate = replace(instance_of("one", index), role=role, term=term)
        self.post(InstanceUp(mate))
        return mate

    def hire(self, credit: int = 2, term: int = 5) -> None:
        """A worker is there, and asks for messages."""
        self.mate(WORKER)
        self.post(Heard(WORKER, Hello(1, ME, "palm", "one")), Heard(WORKER, Pull(term, credit)))

    def receive(self, *sequences: int, header: Header = PLAIN, peer: Peer = CLIENT) -> None:
        self.post(Received(peer, batch_of(*sequences, header=header)))

    def run(self) -> None:
        """User code ends for all that was invoked and has not."""
        for invoke in self.of(Invoke):
            self.post(finished(invoke, upper))

    def legs(self) -> list[tuple[Peer, int, int, list[int]]]:
        return [
            (send.peer, send.batch.header.leg, send.batch.header.term, send.batch.sequences)
            for send in self.of(Send)
            if send.batch.header.leg
        ]

    def answers(self) -> list[tuple[int, int]]:
        """What went to the client, with its status."""
        return [(item.sequence, item.status) for item in self.sent_to(CLIENT)]


def test_who_does_not_lead_takes_nothing_from_clients():
    """It says BUSY: who leads will be known soon."""
    node = Instanced()
    node.receive(0, 1)
    assert node.answers() == [(0, Status.BUSY), (1, Status.BUSY)]
    assert node.invoked() == []


def test_a_leader_that_is_alone_works_itself():
    """And says in the registry what it is."""
    node = Instanced()
    node.elect(term=5)
    node.receive(0, 1)
    node.run()
    assert node.of(Stand) == [Stand("alone", 5)]
    assert node.answers() == [(0, Status.OK), (1, Status.OK)]


def test_a_leader_with_a_worker_hands_out_what_it_asks_for_and_runs_nothing():
    """Under its term; the worker's answer goes to the client."""
    node = Instanced()
    node.elect(term=5)
    node.hire(credit=2)
    node.receive(0, 1, 2)
    assert node.legs() == [(WORKER, Leg.TO_WORKER, 5, [0, 1])]
    assert node.invoked() == []
    node.receive(0, header=PLAIN.on(Leg.FROM_WORKER, 5), peer=WORKER)
    assert node.answers() == [(0, Status.OK)]
    assert node.legs()[1:] == [(WORKER, Leg.TO_WORKER, 5, [2])]


def test_an_answer_of_another_term_or_of_nobody_s_message_is_dropped():
    """Counted as stale."""
    node = Instanced()
    node.elect(term=5)
    node.hire()
    node.receive(0)
    node.receive(0, header=PLAIN.on(Leg.FROM_WORKER, 4), peer=WORKER)
    node.receive(7, header=PLAIN.on(Leg.FROM_WORKER, 5), peer=WORKER)
    node.receive(0, header=PLAIN.on(Leg.FROM_WORKER, 5), peer=LEADER)
    assert node.answers() == []
    assert node.node.server.counters.stale == 3


def test_a_leader_whose_time_is_over_does_nothing_more():
    """Whatever it hears first when it wakes: an answer is not passed on, and nothing is handed out."""
    node = Instanced()
    node.elect(term=5, seconds=3)
    node.hire(credit=1)
    node.receive(0, 1)
    node.forget()
    node.now += 3 * NS
    node.receive(0, header=PLAIN.on(Leg.FROM_WORKER, 5), peer=WORKER)
    assert (node.legs(), node.of(Stand)) == ([], [Stand("worker", 0)])
    assert node.answers() == [(1, Status.BUSY)], "what nobody had is given back, and no more"


def test_a_leader_s_tick_comes_when_its_time_is_over():
    """It need not be woken by anything else."""
    node = Instanced()
    node.elect(term=5, seconds=3)
    node.advance(3.5)
    assert node.of(Stand) == [Stand("alone", 5), Stand("worker", 0)]


def test_a_renewed_lease_lengthens_the_time():
    """The term stays."""
    node = Instanced()
    node.elect(term=5, seconds=3)
    node.advance(2)
    node.elect(term=5, seconds=3)
    node.advance(2)
    assert node.of(Stand) == [Stand("alone", 5)]


def test_a_leader_that_hears_of_a_later_one_steps_down_and_works_for_it():
    """As it does when the registry says that its key is gone."""
    node = Instanced()
    node.elect(term=5)
    mate = node.mate(LEADER, "leader", 9)
    assert Dial(LEADER, mate.address) in node.effects
    assert node.told(LEADER)[-1] == Pull(9, node.node.credit.size)
    other = Instanced()
    other.elect(term=5)
    other.post(Deposed())
    assert other.of(Stand)[-1] == Stand("worker", 0)


def test_a_worker_runs_what_its_leader_hands_it_and_answers_to_it():
    """Each message once, under the leader's term."""
    node = Instanced()
    node.mate(LEADER, "leader", 5)
    leg = PLAIN.on(Leg.TO_WORKER, 5)
    node.receive(0, 1, header=leg, peer=LEADER)
    node.receive(0, header=leg, peer=LEADER)
    assert node.invoked() == [0, 1]
    node.run()
    assert node.legs() == [(LEADER, Leg.FROM_WORKER, 5, [0, 1])]


def test_a_worker_refuses_an_older_term_and_strangers():
    """A leader that does not know that it is none is told nothing, and obeyed in nothing."""
    node = Instanced()
    node.mate(LEADER, "leader", 5)
    node.receive(0, header=PLAIN.on(Leg.TO_WORKER, 4), peer=LEADER)
    node.receive(0, header=PLAIN.on(Leg.TO_WORKER, 6), peer=WORKER)
    assert node.invoked() == []
    assert node.node.server.counters.stale == 2


def test_a_worker_answers_the_next_leader_from_memory():
    """What it has run under one leader it does not run for another one."""
    node = Instanced()
    node.mate(LEADER, "leader", 5)
    node.receive(0, header=PLAIN.on(Leg.TO_WORKER, 5), peer=LEADER)
    node.run()
    node.post(InstanceDown("one", LEADER))
    node.mate(WORKER, "leader", 9)
    node.forget()
    node.receive(0, header=PLAIN.on(Leg.TO_WORKER, 9), peer=WORKER)
    assert node.invoked() == []
    assert node.legs() == [(WORKER, Leg.FROM_WORKER, 9, [0])]


def test_a_worker_that_is_elected_answers_clients_from_memory():
    """One memory for both roles."""
    node = Instanced()
    node.mate(LEADER, "leader", 5)
    node.receive(0, header=PLAIN.on(Leg.TO_WORKER, 5), peer=LEADER)
    node.run()
    node.post(InstanceDown("one", LEADER))
    node.elect(term=9)
    node.forget()
    node.receive(0)
    assert node.invoked() == []
    assert node.answers() == [(0, Status.OK)]


def test_what_a_lost_worker_had_is_run_by_the_leader_when_there_is_nobody_else():
    """After a while only: it may be what killed the worker."""
    node = Instanced()
    node.elect(term=5)
    node.hire(credit=1)
    node.receive(0)
    node.post(InstanceDown("one", WORKER))
    node.advance(9)
    assert node.invoked() == []
    node.advance(2)
    assert node.invoked() == [0]


def test_a_message_asked_for_again_goes_to_its_worker_again():
    """It, or the answer, may have been lost on the way; the worker's memory knows."""
    node = Instanced()
    node.elect(term=5)
    node.hire()
    node.receive(0)
    node.forget()
    node.receive(0)
    assert node.legs() == [], "not at once: it may only have come twice"
    for _ in range(10):
        node.advance(0.5)
        node.post(Heard(WORKER, Pull(5, 2)))
    node.receive(0)
    assert node.legs() == [(WORKER, Leg.TO_WORKER, 5, [0])]


def test_work_of_an_earlier_term_comes_to_nothing():
    """A leader that was alone, stepped down and leads again does not answer for what it ran before."""
    node = Instanced()
    node.elect(term=5)
    node.receive(0)
    (invoke,) = node.of(Invoke)
    node.post(Deposed())
    node.elect(term=9)
    node.forget()
    node.post(Finished(invoke.ticket, [0], [b"late"], None))
    assert node.answers() == []
    node.receive(0)
    assert node.invoked() == [0]


def test_a_worker_answers_its_leader_also_for_what_the_client_has_ended():
    """Its memory has forgotten it, but the leader counts it as the worker's until it hears of it."""
    node = Instanced()
    node.mate(LEADER, "leader", 5)
    leg = PLAIN.on(Leg.TO_WORKER, 5)
    node.receive(0, header=leg, peer=LEADER)
    node.post(Received(LEADER, batch_of(1, header=leg, watermark=1)))
    node.run()
    assert [sequence for _, _, _, sequences in node.legs() for sequence in sequences] == [0, 1]


def test_many_results_of_a_worker_go_on_as_parts_of_the_message():
    """The leader makes the parts; the worker has said what execution they are of."""
    node = Instanced()
    node.elect(term=5)
    node.hire()
    node.receive(0)
    split = Split(77, ((1, b"a"), (1, b"b")))
    answer = batch_of(0, header=PLAIN.on(Leg.FROM_WORKER, 5), payloads=[split], statuses=[Status.MANY])
    node.forget()
    node.post(Received(WORKER, answer))
    assert [(item.sequence, item.payload) for item in node.sent_to(CLIENT)] == [
        (Part(0, (Step(0, 77, 0, 2),)), b"a"),
        (Part(0, (Step(0, 77, 1, 2),)), b"b"),
    ]


def test_a_worker_hands_many_results_to_its_leader_as_they_are():
    """Under the leader's term; once more from memory when it is asked again."""
    node = Instanced()
    node.mate(LEADER, "leader", 5)
    leg = PLAIN.on(Leg.TO_WORKER, 5)
    node.receive(0, header=leg, peer=LEADER)
    split = Split(77, ((1, b"a"), (1, b"b")))
    node.post(Finished(node.of(Invoke)[0].ticket, [0], [split], [Status.MANY]))
    node.receive(0, header=leg, peer=LEADER)
    assert [(item.payload, item.status) for item in node.sent_to(LEADER)] == [(split, Status.MANY)] * 2
