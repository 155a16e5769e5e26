"""The node of a butterfly's instance, by hand: who may act, whose word is taken, and what becomes of the work."""

from __future__ import annotations

from dataclasses import replace

import pytest

from palm.core.butterfly import ButterflyNode
from palm.core.effect import Dial, Invoke, Send, Stand
from palm.core.event import Deposed, Elected, Finished, Heard, InstanceDown, InstanceUp, Received
from palm.core.message import Header, Hello, Instance, Leg, Over, Payload, Peer, Pull, Role, Split, Status, Task
from palm.core.route import parse_route
from palm.core.scatter import Policy
from palm.core.share import Part, Step
from palm.testing.harness import NS, Harness, finished
from tests.core.cast import CLIENT, FIRST, JOB, batch_of, instance_of, peer_of, upper

ME, LEADER, WORKER = peer_of("one", 0), peer_of("one", 1), peer_of("one", 2)
PLAIN = Header(JOB, FIRST, 0)
RESULT = PLAIN.at(1)


class Instanced(Harness):
    """A ButterflyNode of server `one` that the client is linked to."""

    node: ButterflyNode

    def __init__(self, scatter: Policy | None = None) -> None:
        super().__init__(ButterflyNode(peer=ME, server="one", functions=("f", "g"), scatter=scatter))
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


def test_a_leader_answers_itself_what_is_built_in():
    """It is the leader that is asked, and its workers may be busy; nothing of its credit is used up."""
    node = Instanced()
    node.elect(term=5)
    node.hire(credit=1)
    node.receive(0)
    node.forget()
    node.receive(0, header=Header(JOB._replace(number=7), parse_route("one._stats"), 0))
    assert node.legs() == [] and node.invoked() == [0]
    node.run()
    assert node.answers() == [(0, Status.OK)]


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
    node.advance(2)
    node.post(InstanceDown("one", WORKER))
    node.advance(9)
    assert node.invoked() == []
    node.advance(2)
    assert node.invoked() == [0]


@pytest.mark.parametrize("known", ["before", "after"])
def test_a_leader_waits_for_a_worker_that_is_registered(known: str):
    """Before the election or since: what kills who runs it should not kill one leader after another. Not for ever."""
    node = Instanced()
    if known == "before":
        node.mate(WORKER)
    node.elect(term=5)
    if known == "after":
        node.mate(WORKER)
    node.receive(0)
    node.advance(2)
    assert node.invoked() == []
    node.advance(2)
    assert node.invoked() == [0]


def test_a_worker_that_was_heard_a_moment_ago_has_lost_its_lease_and_not_its_life():
    """Nothing speaks against what it had."""
    node = Instanced()
    node.elect(term=5)
    node.hire(credit=1)
    node.receive(0)
    node.post(InstanceDown("one", WORKER))
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


def test_what_a_lone_leader_runs_has_another_number_in_each_term():
    """So that what two executions make of a message is never taken for one."""
    node = Instanced()
    for term in (5, 9):
        node.elect(term=term)
        node.receive(0)
        node.post(Deposed())
    first, second = node.of(Invoke)
    assert first.ticket != second.ticket


# -- scatter and gather -----------------------------------------------------------------------------------------------

MANY = Split(77, ((0, b"a"), (0, b"b")))
FIRST_PART, SECOND_PART = (Part(0, (Step(0, 77, place, 2),)) for place in (0, 1))


def told(node: Instanced, task: Task, *sequences: int, payloads: list[Payload], many: bool = False) -> None:
    """The worker answers a task."""
    header = PLAIN.doing(task, sequences[0]).on(Leg.FROM_WORKER, 5)
    statuses: list[int] | None = [Status.MANY] * len(sequences) if many else None
    node.post(Received(WORKER, batch_of(*sequences, header=header, payloads=payloads, statuses=statuses)))


def asked(node: Instanced) -> list[tuple[int, list[int]]]:
    """What the worker was asked to do."""
    return [(send.batch.header.task, send.batch.sequences) for send in node.of(Send) if send.peer == WORKER]


def scattering(policy: Policy = Policy()) -> Instanced:
    """A leader with a worker that has scattered message 0."""
    node = Instanced(policy)
    node.elect(term=5)
    node.hire(credit=4)
    node.receive(0)
    told(node, Task.SCATTER, 0, payloads=[MANY], many=True)
    return node


def test_a_leader_has_its_workers_scatter_run_parts_and_gather():
    """It runs no user code itself; the client gets what gather made."""
    node = scattering()
    told(node, Task.PART, SECOND_PART, payloads=[b"B"])
    told(node, Task.PART, FIRST_PART, payloads=[b"A"])
    told(node, Task.GATHER, 0, payloads=[b"AB"])
    assert asked(node) == [(Task.SCATTER, [0]), (Task.PART, [FIRST_PART, SECOND_PART]), (Task.GATHER, [0])]
    assert node.of(Send)[2].batch.payloads == [(b"A", b"B")]
    assert [(item.sequence, item.payload) for item in node.sent_to(CLIENT)] == [(0, b"AB")]
    assert (node.invoked(), node.node.in_flight) == ([], 0)


def test_a_lone_leader_scatters_and_gathers_by_itself():
    """One task after another, where its functions run."""
    node = Instanced(Policy())
    node.elect(term=5)
    node.receive(0)
    for outcome in (MANY, b"A", b"AB"):
        invoke = node.of(Invoke)[-1]
        many = isinstance(outcome, Split)
        items = invoke.batch.sequences
        statuses: list[int] | None = [Status.MANY] if many else None
        node.post(Finished(invoke.ticket, items, [outcome] * len(items), statuses))
    assert [invoke.batch.header.task for invoke in node.of(Invoke)] == [Task.SCATTER, Task.PART, Task.GATHER]
    assert node.answers() == [(0, Status.OK)]


def test_a_part_of_a_lost_worker_goes_to_another_one():
    """The message does not notice."""
    node = scattering()
    node.advance(2)
    node.post(InstanceDown("one", WORKER))
    node.hire(credit=4)
    told(node, Task.PART, FIRST_PART, payloads=[b"A"])
    told(node, Task.PART, SECOND_PART, payloads=[b"B"])
    assert asked(node)[-1] == (Task.GATHER, [0])


def test_the_parts_of_a_message_asked_for_again_are_asked_for_again():
    """Those that are missing, of the worker that has them."""
    node = scattering()
    told(node, Task.PART, FIRST_PART, payloads=[b"A"])
    node.forget()
    for _ in range(10):
        node.advance(0.5)
        node.post(Heard(WORKER, Pull(5, 4, 1)))
    node.receive(0)
    assert asked(node) == [(Task.PART, [SECOND_PART])]


def test_a_silent_part_costs_its_time_and_a_late_one_is_dropped():
    """Gather gets the other; what comes later is stale."""
    node = scattering(Policy(partial="skip", part_deadline=NS))
    told(node, Task.PART, FIRST_PART, payloads=[b"A"])
    node.advance(0.9)
    assert asked(node)[-1][0] == Task.PART
    node.advance(0.1)
    assert asked(node)[-1] == (Task.GATHER, [0])
    stale = node.node.server.counters.stale
    told(node, Task.PART, SECOND_PART, payloads=[b"B"])
    told(node, Task.GATHER, 0, payloads=[b"A"])
    assert node.node.server.counters.stale == stale + 1
    assert node.answers() == [(0, Status.OK)]


def test_a_worker_that_has_lost_what_is_needless_is_free_again():
    """Its own word says so: nobody asks for that part any more."""
    node = scattering(Policy(partial="skip", part_deadline=NS))
    node.post(Heard(WORKER, Pull(5, 1, 2)))
    told(node, Task.PART, FIRST_PART, payloads=[b"A"])
    node.advance(1)
    assert asked(node)[-1][0] == Task.PART, "the worker has its one message"
    for _ in range(4):
        node.advance(0.5)
        node.post(Heard(WORKER, Pull(5, 1, 0)))
    assert asked(node)[-1] == (Task.GATHER, [0])


def test_a_leader_that_steps_down_forgets_what_is_half_done():
    """It says nothing of it; what was not begun it gives back."""
    node = scattering()
    node.post(Heard(WORKER, Pull(5, 0, 0)))
    node.receive(1)
    node.forget()
    node.post(Deposed())
    assert node.answers() == [(1, Status.BUSY)]
    assert node.node.in_flight == 0
    node.elect(term=9)
    node.receive(0)
    assert node.node.in_flight == 1, "it is taken anew"


def test_a_worker_remembers_each_task_by_itself():
    """Of one message it may have scattered, run a part, and gathered; each is answered from memory when asked again."""
    node = Instanced()
    node.mate(LEADER, "leader", 5)
    for task, item in ((Task.SCATTER, 0), (Task.PART, FIRST_PART), (Task.GATHER, 0), (Task.RUN, 0)):
        header = PLAIN.doing(task, item).on(Leg.TO_WORKER, 5)
        node.forget()
        node.post(Received(LEADER, batch_of(item, header=header)))
        node.run()
        node.post(Received(LEADER, batch_of(item, header=header)))
        assert node.invoked() == [item]
        assert [(send.batch.header.task, send.batch.sequences) for send in node.of(Send)] == [(task, [item])] * 2


def test_a_job_that_is_over_leaves_nothing_open():
    """Whatever its messages waited for."""
    node = scattering()
    node.post(Heard(CLIENT, Over(JOB.incarnation, JOB.number)))
    assert node.node.in_flight == 0 and node.node.held() == []
    assert node.node.lead is not None and node.node.lead.scatter is not None
    assert len(node.node.lead.scatter) == 0 and not node.node.lead.dispatch.waiting
