"""The node of a server instance, one behaviour at a time."""

from __future__ import annotations

import pytest

from palm.core.effect import Abandon, Dial, Drained, Follow, HangUp, Invoke, Send
from palm.core.event import Bounced, DrainAsked, Finished, Heard, InstanceDown, Malformed, Received
from palm.core.message import (
    Batch,
    Control,
    Exposed,
    Failure,
    Header,
    Hello,
    JobId,
    Over,
    Ping,
    Pong,
    Refused,
    Status,
)
from palm.core.route import parse_route
from palm.testing.harness import NS, Item
from tests.core.cast import BOTH, CLIENT, FIRST, JOB, OTHER_CLIENT, Server, instance_of, peer_of

S = NS
CHAINED = Header(JOB, BOTH, 0)
TWO = peer_of("two")
MINUTE = 60


def talk(server: Server, seconds: int, *, silent: bool = False) -> None:
    """Let time pass, with a Ping of the client in every second."""
    for _ in range(seconds):
        server.advance(1)
        if not silent:
            server.post(Heard(CLIENT, Ping(1)))


# -- running ----------------------------------------------------------------------------------------------------------


def test_a_batch_is_run_and_its_results_go_to_the_client() -> None:
    """Invoke with the batch; what came of it goes back as a result, under the header of the end of the route."""
    server = Server()
    server.receive(0, 1)
    [invoke] = server.of(Invoke)
    assert invoke.batch.sequences == [0, 1] and server.node.in_flight == 2
    server.finish()
    assert server.sent_to(CLIENT) == [Item(0, b"<0>"), Item(1, b"<1>")]
    [send] = server.of(Send)
    assert send.batch.header.is_result and send.batch.header.job == JOB and server.node.in_flight == 0


def test_results_go_out_as_they_come() -> None:
    """A part of an invocation that has ended does not wait for the rest."""
    server = Server()
    server.receive(0, 1, 2)
    server.finish(1)
    assert server.sent_to(CLIENT) == [Item(1, b"<1>")] and server.node.in_flight == 2
    server.post(*[Finished(server.of(Invoke)[0].ticket, [0, 2], [b"a", b"b"], None)])
    assert server.node.in_flight == 0


def test_a_message_is_run_once_however_often_it_comes() -> None:
    """While it runs a copy is passed over; once it has ended a copy is answered from memory, and not run."""
    server = Server()
    server.receive(0)
    server.receive(0, attempts=[2])
    assert server.invoked() == [0] and server.sent() == []
    server.finish()
    server.forget()
    server.receive(0, attempts=[3])
    assert server.invoked() == [] and server.sent_to(CLIENT) == [Item(0, b"<0>")]
    assert server.node.counters.duplicates == 2


def test_a_copy_within_one_batch_is_run_once() -> None:
    """A batch that holds a sequence twice runs it once."""
    server = Server()
    server.receive(4, 4, 5)
    assert server.invoked() == [4, 5] and server.node.in_flight == 2


def test_fresh_messages_of_a_batch_run_beside_known_ones() -> None:
    """Known and new in one batch: each gets what it needs."""
    server = Server()
    server.receive(0)
    server.finish()
    server.forget()
    server.receive(0, 1)
    assert server.invoked() == [1] and server.sent_to(CLIENT) == [Item(0, b"<0>")]


def test_below_the_watermark_nothing_is_run_or_remembered() -> None:
    """What has ended for the client is gone here, and a late copy of it is dropped."""
    server = Server()
    server.receive(0, 1, 2)
    server.finish()
    server.forget()
    server.receive(3, watermark=3)
    assert server.node.held() == ["remembers 1 messages of job 1"]
    server.receive(1)
    assert server.invoked() == [3] and server.sent() == []


def test_one_job_does_not_see_another() -> None:
    """The same sequence of another number, or another life of the client, is another message."""
    server = Server()
    for job in (JOB, JOB._replace(number=2), JOB._replace(incarnation=8)):
        server.receive(0, header=Header(job, FIRST, 0))
    assert server.invoked() == [0, 0, 0]


def test_a_route_may_visit_a_server_twice() -> None:
    """Each stage has a memory of its own."""
    server = Server()
    route = parse_route(["one.f", "one.g"])
    server.receive(0, header=Header(JOB, route, 0))
    server.receive(0, header=Header(JOB, route, 1))
    assert server.invoked() == [0, 0]


# -- what is not run --------------------------------------------------------------------------------------------------


def test_failures_are_passed_along_without_running() -> None:
    """An item that has ended goes on to the next stage as it is; its neighbours are run."""
    server = Server()
    two = server.up("two")
    server.forget()
    failure = Failure("HANDLER_RAISED", "ValueError", "no")
    server.receive(0, 1, header=CHAINED, payloads=[failure, b"x"], statuses=[Status.FAILED, Status.OK])
    assert server.invoked() == [1]
    assert server.sent_to(two) == [Item(0, failure, Status.FAILED)]
    assert server.node.counters.failed == 0, "it failed elsewhere"


def test_an_unknown_function_is_a_definite_failure_that_lists_what_exists() -> None:
    """Nothing is looked up but the listed names."""
    server = Server()
    server.receive(0, header=Header(JOB, parse_route("one.__init__"), 0))
    [item] = server.sent_to(CLIENT)
    assert server.invoked() == [] and item.status == Status.FAILED
    assert isinstance(item.payload, Failure) and item.payload.reason == "NO_FUNCTION"
    assert "'__init__'" in item.payload.text and "f, g" in item.payload.text


def test_an_expired_message_is_not_run() -> None:
    """No time left on arrival: it comes back as expired."""
    server = Server()
    server.receive(0, 1, remaining=0)
    assert server.invoked() == []
    assert server.sent_to(CLIENT) == [Item(0, b"", Status.EXPIRED), Item(1, b"", Status.EXPIRED)]
    assert server.node.counters.expired == 2


def test_the_deadline_travels_as_what_is_left_of_it() -> None:
    """Ten seconds on arrival, three spent here: the next stage hears of seven."""
    server = Server()
    two = server.up("two")
    server.receive(0, header=CHAINED, remaining=10 * S)
    [invoke] = server.of(Invoke)
    assert invoke.expires == 10 * S
    server.alive_at(3, two)
    server.finish()
    assert server.of(Send)[-1].batch.remaining == 7 * S


def test_messages_for_another_server_or_results_are_dropped_and_counted() -> None:
    """What this server cannot mean to run is stale."""
    server = Server()
    server.receive(0, 1, header=Header(JOB, BOTH, 1))
    server.receive(2, header=Header(JOB, FIRST, 1))
    assert server.effects[1:] == [] and server.node.counters.stale == 3


def test_malformed_bytes_are_counted() -> None:
    """And cause nothing else."""
    server = Server()
    assert server.post(Malformed(CLIENT)) == [] and server.node.counters.bad_frames == 1


def test_a_result_that_the_client_no_longer_wants_goes_nowhere() -> None:
    """The watermark passed it while it ran."""
    server = Server()
    server.receive(0)
    server.receive(5, watermark=5)
    server.finish(0)
    assert server.sent() == [] and server.node.counters.stale == 1


# -- the bound --------------------------------------------------------------------------------------------------------


def test_over_its_bound_a_server_answers_busy() -> None:
    """What does not fit is not taken; it is new when it comes again."""
    server = Server(max_in_flight=3)
    server.receive(0, 1)
    server.receive(2, 3, 4)
    assert server.invoked() == [0, 1, 2] and server.node.in_flight == 3
    assert server.sent_to(CLIENT) == [Item(3, b"", Status.BUSY), Item(4, b"", Status.BUSY)]
    server.finish(0, 1)
    server.receive(3, 4)
    assert server.invoked() == [0, 1, 2, 3, 4] and server.node.counters.turned_away == 2


def test_a_batch_over_the_whole_bound_is_taken_piece_by_piece() -> None:
    """A bound smaller than what clients send at once slows them, and stops nobody."""
    server = Server(max_in_flight=2)
    for _ in range(3):
        server.forget()
        server.receive(0, 1, 2, 3, 4)
        server.finish(*server.invoked())
    done = {item.sequence for step in server.steps for effect in step.effects if isinstance(effect, Send)
            for item in [*map(Item, effect.batch.sequences)] if effect.batch.statuses is None}  # fmt: skip
    assert done == {0, 1, 2, 3, 4}


def test_what_is_built_in_is_taken_whatever_is_there() -> None:
    """Over the bound, and while it drains: who asks how it stands has to be told."""
    server = Server(max_in_flight=1)
    server.receive(0, 1)
    server.post(DrainAsked())
    server.receive(0, header=Header(JOB._replace(number=7), parse_route("one._stats"), 0))
    assert server.invoked() == [0, 0]
    assert [item.status for item in server.sent_to(CLIENT)] == [Status.BUSY]


def test_busy_is_said_to_the_client_by_a_later_stage_too() -> None:
    """The client owns the message and knows when to send it again: not the stage before."""
    server = Server(server="two", max_in_flight=1)
    server.greet(peer_of("one"))
    second = Header(JOB, BOTH, 1)
    server.receive(0, header=second, peer=peer_of("one"))
    server.receive(1, header=second, peer=peer_of("one"))
    assert server.sent_to(CLIENT) == [Item(1, b"", Status.BUSY)] and server.sent_to(peer_of("one")) == []


# -- draining ---------------------------------------------------------------------------------------------------------


def test_a_draining_server_turns_away_and_finishes_what_it_took() -> None:
    """AWAY for what comes, results for what is there, Drained once after the last."""
    server = Server()
    server.receive(0)
    server.post(DrainAsked())
    server.receive(1)
    assert server.sent_to(CLIENT) == [Item(1, b"", Status.AWAY)] and server.of(Drained) == []
    server.finish(0)
    assert isinstance(server.effects[-1], Drained)
    server.receive(2)
    assert len(server.of(Drained)) == 1


def test_a_draining_server_still_answers_from_memory() -> None:
    """A copy of what it has run is answered, not sent away to be run elsewhere."""
    server = Server()
    server.receive(0)
    server.finish()
    server.post(DrainAsked())
    server.forget()
    server.receive(0)
    assert server.sent_to(CLIENT) == [Item(0, b"<0>")]


def test_an_idle_server_is_drained_at_once() -> None:
    """Nothing was taken: nothing to wait for."""
    server = Server()
    assert server.post(DrainAsked()) == [Drained()]


def test_drained_is_not_said_before_parked_answers_have_gone() -> None:
    """An answer that waits for the next stage is not handed over yet."""
    server = Server()
    server.receive(0, header=CHAINED)
    server.post(DrainAsked())
    server.finish()
    assert server.of(Drained) == [] and server.of(Follow) == [Follow("two")]
    two = server.up("two")
    assert server.sent_to(two) == [Item(0, b"<0>")] and server.of(Drained) == [Drained()]


# -- links ------------------------------------------------------------------------------------------------------------


def test_a_stranger_is_told_to_greet_and_nothing_of_it_is_run() -> None:
    """Before Hello there is nobody to answer."""
    server = Server(linked=False)
    server.receive(0)
    server.post(Heard(CLIENT, Ping(1)))
    assert server.told(CLIENT) == [Refused("STRANGER", "say Hello first")] * 2 and server.invoked() == []


@pytest.mark.parametrize(
    ("hello", "why", "said"),
    [
        (Hello(1, peer_of("old"), "palm", "x"), "NOT_ME", "not 'old-0-0000000000'"),
        (Hello(2, peer_of("one"), "palm", "x"), "VERSION", "you speak 2"),
        (Hello(1, peer_of("one"), "other", "x"), "CLUSTER", "'palm', not 'other'"),
    ],
)
def test_who_cannot_be_served_gets_a_reason(hello: Control, why: str, said: str) -> None:
    """Another life's address, another version, another namespace: mine, yours, what to do."""
    server = Server(linked=False)
    server.post(Heard(CLIENT, hello))
    [refused] = server.told(CLIENT)
    assert isinstance(refused, Refused) and refused.why == why and said in refused.text
    server.receive(0)
    assert server.invoked() == []


def test_a_ping_is_answered_with_how_the_instance_stands() -> None:
    """What is in flight, how long the present call runs, what was handled and failed."""
    server = Server()
    server.receive(0, 1)
    server.advance(2)
    server.post(Heard(CLIENT, Ping(9)))
    pong = server.told(CLIENT)[-1]
    assert pong == Pong(9, in_flight=2, busy_us=2_000_000, busy_in="f", uptime_us=2_000_000)
    failure = Failure("HANDLER_RAISED", "E", "e")
    server.post(Finished(0, [0, 1], [b"", failure], [Status.OK, Status.FAILED]))
    server.receive(0)
    server.post(Heard(CLIENT, Ping(10)))
    assert server.told(CLIENT)[-1] == Pong(10, handled=2, failed=1, duplicates=1, uptime_us=2_000_000)


def test_what_was_never_run_is_not_counted_as_handled() -> None:
    """Expired and abandoned items end without user code."""
    server = Server()
    server.receive(0, 1, 2)
    server.post(Finished(0, [0, 1, 2], [b"", b"", b""], [Status.OK, Status.EXPIRED, Status.CANCELLED]))
    assert server.node.counters.handled == 1 and server.node.counters.expired == 1 and server.node.in_flight == 0
    assert server.sent_to(CLIENT) == [Item(0, b""), Item(1, b"", Status.EXPIRED)]


def test_the_next_server_is_followed_dialed_and_hung_up_on() -> None:
    """Follow once, Dial as instances appear, HangUp as they leave."""
    server = Server()
    server.receive(0, 1, header=CHAINED)
    server.finish(0)
    server.finish(1)
    assert server.of(Follow) == [Follow("two")]
    server.up("two")
    assert server.of(Dial) == [Dial(TWO, instance_of("two").address)]
    server.post(InstanceDown("two", TWO))
    assert server.of(HangUp) == [HangUp(TWO)]


# -- the next stage ---------------------------------------------------------------------------------------------------


def test_answers_wait_for_an_instance_of_the_next_server() -> None:
    """They are parked while there is none, and go with the first that appears."""
    server = Server()
    server.receive(0, header=CHAINED)
    server.finish()
    assert server.sent() == []
    two = server.up("two")
    assert server.sent_to(two) == [Item(0, b"<0>")]
    assert server.of(Send)[0].batch.header == CHAINED.at(1)


def test_answers_wait_while_every_next_instance_is_suspected() -> None:
    """Suspected: nothing is sent; heard again: what waited goes at once."""
    server = Server()
    two = server.up("two")
    server.advance(3)
    server.receive(0, header=CHAINED)
    server.finish()
    assert server.sent() == []
    server.post(Heard(two, Pong(1)))
    assert server.sent_to(two) == [Item(0, b"<0>")]


def test_a_parked_answer_has_less_time_left_when_it_goes() -> None:
    """The deadline runs on while it waits."""
    server = Server()
    server.receive(0, header=CHAINED, remaining=10 * S)
    server.finish()
    talk(server, 4)
    server.up("two")
    assert server.of(Send)[-1].batch.remaining == 6 * S


def test_answers_wait_for_a_client_that_is_not_linked_yet() -> None:
    """The last stage may be faster than the client's own link to it."""
    server = Server(server="two", linked=False)
    server.greet(peer_of("one"))
    server.receive(0, header=Header(JOB, BOTH, 1), peer=peer_of("one"))
    server.finish()
    assert server.sent() == []
    server.greet(CLIENT)
    assert server.sent_to(CLIENT) == [Item(0, b"<0>")]


def test_an_instance_without_the_function_gets_nothing() -> None:
    """While instances of one server differ, only those that list the function are sent to."""
    server = Server()
    server.up("two", 0, functions=("f",))
    server.receive(0, header=CHAINED)
    server.finish()
    assert server.sent() == []
    other = server.up("two", 1, functions=("f", "g"))
    assert server.sent_to(other) == [Item(0, b"<0>")]


def test_the_least_loaded_instance_is_next() -> None:
    """By its own last word, and what was sent since."""
    server = Server()
    busy, idle = server.up("two", 0), server.up("two", 1)
    server.post(Heard(busy, Pong(1, in_flight=3)), Heard(idle, Pong(1)))
    for sequence in range(4):
        server.receive(sequence, header=CHAINED)
        server.finish(sequence)
    assert [item.sequence for item in server.sent_to(idle)] == [0, 1, 2]
    assert [item.sequence for item in server.sent_to(busy)] == [3]


def test_a_repeat_goes_to_the_same_next_instance() -> None:
    """So that it finds its memory there: whatever the loads are by then."""
    server = Server()
    first, second = server.up("two", 0), server.up("two", 1)
    server.receive(0, header=CHAINED)
    server.finish()
    [took] = [peer for peer in (first, second) if server.sent_to(peer)]
    server.post(Heard(took, Pong(1, in_flight=100)))
    server.forget()
    server.receive(0, header=CHAINED, attempts=[2])
    assert server.sent_to(took) == [Item(0, b"<0>")] and server.invoked() == []


def test_a_repeat_goes_elsewhere_once_that_instance_is_gone() -> None:
    """Or suspected, or draining: to one that can take it."""
    server = Server()
    first, second = server.up("two", 0), server.up("two", 1)
    server.receive(0, header=CHAINED)
    server.finish()
    took, other = (first, second) if server.sent_to(first) else (second, first)
    server.post(InstanceDown("two", took))
    server.forget()
    server.receive(0, header=CHAINED, attempts=[2])
    assert server.sent_to(other) == [Item(0, b"<0>")]


def test_what_bounces_off_one_instance_goes_to_another() -> None:
    """It did not arrive: the bounced one is suspect until it is heard."""
    server = Server()
    first, second = server.up("two", 0), server.up("two", 1)
    server.receive(0, header=CHAINED)
    server.finish()
    [send] = server.of(Send)
    other = second if send.peer == first else first
    server.forget()
    server.post(Bounced(send.peer, send.batch, "unreachable"))
    assert server.sent_to(other) == [Item(0, b"<0>")]


def test_what_bounces_off_the_only_instance_waits_until_it_is_heard() -> None:
    """No hot loop against a peer that does not read."""
    server = Server()
    two = server.up("two")
    server.receive(0, header=CHAINED)
    server.finish()
    [send] = server.of(Send)
    server.forget()
    server.post(Bounced(two, send.batch, "full"))
    assert server.sent() == []
    server.post(Heard(two, Pong(1)))
    assert server.sent_to(two) == [Item(0, b"<0>")]


def test_what_bounces_off_the_client_waits_for_its_greeting() -> None:
    """Its link broke: it dials and greets again, and then gets it."""
    server = Server()
    server.receive(0)
    server.finish()
    [send] = server.of(Send)
    server.forget()
    server.post(Bounced(CLIENT, send.batch, "unreachable"))
    assert server.sent() == []
    server.greet(CLIENT)
    assert server.sent_to(CLIENT) == [Item(0, b"<0>")]


def test_after_a_bounce_further_results_wait_for_the_clients_greeting_too() -> None:
    """Its link is known to be broken: nothing more is thrown at it."""
    server = Server()
    server.receive(0, 1)
    server.finish(0)
    [send] = server.of(Send)
    server.post(Bounced(CLIENT, send.batch, "unreachable"))
    server.forget()
    server.finish(1)
    assert server.sent() == []
    server.greet(CLIENT)
    assert server.sent_to(CLIENT) == [Item(0, b"<0>"), Item(1, b"<1>")]


def test_what_is_parked_is_bounded_and_nothing_is_lost_by_it() -> None:
    """Over the bound an answer is kept in memory only: the client asks for it again."""
    server = Server(max_in_flight=2)
    for sequence in range(3):
        server.receive(sequence, header=CHAINED)
        server.finish(sequence)
    two = server.up("two")
    assert [item.sequence for item in server.sent_to(two)] == [0, 1]
    server.receive(2, header=CHAINED, attempts=[2])
    assert [item.sequence for item in server.sent_to(two)] == [0, 1, 2] and server.invoked() == [0, 1, 2]


# -- the end of a job -------------------------------------------------------------------------------------------------


def test_over_drops_the_jobs_memory_and_what_waits() -> None:
    """Nothing of the job is held, its queue is abandoned, other jobs stay."""
    server = Server()
    other = Header(JOB._replace(number=2), BOTH, 0)
    server.receive(0, 1, header=CHAINED)
    server.receive(0, header=other)
    server.finish(0)
    server.forget()
    server.post(Heard(CLIENT, Over(JOB.incarnation, JOB.number)))
    assert server.of(Abandon) == [Abandon(JOB)]
    assert server.node.held() == ["remembers 1 messages of job 2", "holds 1 answers back"]
    two = server.up("two")
    assert len(server.sent_to(two)) == 1


def test_a_late_copy_after_over_is_not_run() -> None:
    """The job is known to be over; its copy is stale."""
    server = Server()
    server.receive(0)
    server.finish()
    server.post(Heard(CLIENT, Over(JOB.incarnation, JOB.number)))
    server.forget()
    server.receive(0, 1, attempts=[2, 2])
    assert server.effects == [] and server.node.counters.stale == 2 and server.node.held() == []


def test_a_result_after_over_goes_nowhere() -> None:
    """What ran on ends here, and frees its place."""
    server = Server()
    server.receive(0)
    server.post(Heard(CLIENT, Over(JOB.incarnation, JOB.number)))
    server.finish()
    assert server.sent() == [] and server.node.in_flight == 0 and server.node.held() == []


def test_nobody_ends_the_job_of_another() -> None:
    """Over speaks for jobs of its sender only."""
    server = Server()
    server.greet(OTHER_CLIENT)
    server.receive(0)
    server.post(Heard(OTHER_CLIENT, Over(JOB.incarnation, JOB.number)))
    server.finish()
    assert server.sent_to(CLIENT) == [Item(0, b"<0>")]


# -- silence ----------------------------------------------------------------------------------------------------------


def test_a_caller_that_is_silent_for_30_seconds_is_forgotten_with_its_jobs() -> None:
    """Its memory and what waits for it go, what is queued is abandoned."""
    server = Server()
    server.receive(0, 1, header=CHAINED)
    server.finish(0)
    talk(server, 29, silent=True)
    assert len(server.node.held()) == 2
    talk(server, 32, silent=True)
    assert server.node.held() == [] and server.of(Abandon) == [Abandon(JOB)]
    server.post(Heard(CLIENT, Ping(1)))
    assert server.told(CLIENT)[-1] == Refused("STRANGER", "say Hello first")


def test_a_caller_that_beats_is_never_forgotten() -> None:
    """However long its messages take."""
    server = Server()
    server.receive(0)
    talk(server, 3 * MINUTE)
    server.finish()
    assert server.sent_to(CLIENT) == [Item(0, b"<0>")]


def test_a_client_that_comes_back_after_a_long_silence_is_served() -> None:
    """Forgotten is not over: a partition of a minute costs its messages a second run, and loses none."""
    server = Server()
    server.receive(0)
    talk(server, 2 * MINUTE, silent=True)
    server.forget()
    server.greet(CLIENT)
    server.receive(0, 1, attempts=[2, 1])
    assert server.invoked() == [0, 1]
    server.finish(0, 1)
    assert {item.sequence for item in server.sent_to(CLIENT)} == {0, 1} and server.node.in_flight == 0


def test_what_was_abandoned_in_a_silence_is_no_outcome_for_who_comes_back() -> None:
    """The items that were skipped meanwhile end nobody's message: their second copy is what counts."""
    server = Server()
    server.receive(0, 1)
    talk(server, 2 * MINUTE, silent=True)
    server.greet(CLIENT)
    server.receive(0, 1, attempts=[2, 2])
    server.forget()
    server.post(Finished(0, [0, 1], [b"late", b""], [Status.OK, Status.CANCELLED]))
    assert server.sent_to(CLIENT) == [Item(0, b"late")]
    server.post(Finished(1, [0, 1], [b"again", b"done"], None))
    assert server.sent_to(CLIENT) == [Item(0, b"late"), Item(1, b"done")] and server.node.in_flight == 0


def test_a_client_that_died_while_answers_went_to_it_is_forgotten_too() -> None:
    """Its answers bounced, it never greets again: nothing of it is held for ever."""
    server = Server()
    server.receive(0)
    server.finish()
    [send] = server.of(Send)
    server.post(Bounced(CLIENT, send.batch, "unreachable"))
    talk(server, 2 * MINUTE, silent=True)
    assert server.node.held() == []
    assert server.node.deadline is None, "nobody is left to be forgotten"


def test_a_client_that_never_linked_is_forgotten_too() -> None:
    """Its messages came by way of another stage, and it died before it said a word here."""
    server = Server(server="two", linked=False)
    server.greet(peer_of("one"))
    server.receive(0, header=Header(JOB, BOTH, 1), peer=peer_of("one"))
    server.finish()
    server.post(DrainAsked())
    for _ in range(2 * MINUTE):
        server.advance(1)
        server.post(Heard(peer_of("one"), Ping(1)))
    assert server.node.held() == [] and server.of(Drained) == [Drained()]


def test_a_server_with_hostile_records_in_its_registry_goes_on() -> None:
    """One peer under two server names, leaving under each: nothing raises, the first stays until its own end."""
    server = Server()
    two = server.up("two")
    server.post(
        *[InstanceDown("three", two), InstanceDown("two", peer_of("two", 5))],
    )
    server.up("three", 0)
    server.receive(0, header=CHAINED)
    server.finish()
    assert server.sent_to(two) == [Item(0, b"<0>")]


def test_a_finished_part_of_a_forgotten_job_frees_its_place() -> None:
    """in_flight counts what runs, also for clients that are gone."""
    server = Server()
    server.receive(0, 1)
    talk(server, 2 * MINUTE, silent=True)
    assert server.node.in_flight == 2
    server.finish()
    assert server.node.in_flight == 0 and server.sent() == []


def test_a_job_id_of_a_batch_is_the_clients_whoever_sends_it() -> None:
    """A stage sends for the client: the result goes to the client, not to the sender."""
    server = Server(server="two")
    server.greet(peer_of("one"))
    job = JobId(CLIENT, 7, 3)
    server.post(Received(peer_of("one"), Batch(Header(job, BOTH, 1), 0, [0], [b"x"])))
    server.finish()
    assert server.sent_to(CLIENT) == [Item(0, b"<x>")]


def test_a_heartbeat_that_no_longer_names_a_job_ends_it() -> None:
    """The word Over may be lost: the next Ping says the same, and jobs that it names stay."""
    server = Server()
    for number in (1, 2, 3):
        server.receive(0, header=Header(JOB._replace(number=number), FIRST, 0))
    server.post(Heard(CLIENT, Ping(1, open_jobs=(2,), next_job=3)))
    assert server.of(Abandon) == [Abandon(JOB)]
    assert server.node.held() == ["remembers 1 messages of job 2", "remembers 1 messages of job 3"]
    server.receive(0, attempts=[2])
    assert server.node.counters.stale == 1


# -- what went to the dead --------------------------------------------------------------------------------------------


def sent_on(*sequences: int) -> Server:
    """A server that has run these and sent them on to the only instance of the second stage."""
    server = Server()
    server.receive(*sequences, header=Header(JOB, BOTH, 0))
    server.finish()
    server.up("two")
    return server


def test_a_client_is_told_what_went_to_an_instance_that_died() -> None:
    """At or above the watermark, of its own jobs: it knows what of that has ended."""
    server = sent_on(0, 1, 2)
    server.receive(3, header=Header(JOB, BOTH, 0), watermark=1)
    server.post(Bounced(peer_of("two"), Batch(Header(JOB, BOTH, 1), 0, [], []), "unreachable"))
    server.post(InstanceDown("two", peer_of("two")))
    [word] = [word for word in server.told(CLIENT) if isinstance(word, Exposed)]
    assert word == Exposed(7, 1, "two", peer_of("two"), (1, 2), True)


def test_an_instance_that_lost_its_lease_and_not_its_life_is_no_death() -> None:
    """It was heard of a moment ago: what went to it is asked for again, and suspected of nothing."""
    server = sent_on(0)
    server.post(InstanceDown("two", peer_of("two")))
    [word] = [word for word in server.told(CLIENT) if isinstance(word, Exposed)]
    assert not word.suspect


def test_nobody_is_told_of_an_instance_that_drained() -> None:
    """It has handed over all that it had."""
    server = sent_on(0, 1, 2)
    server.up("two", draining=True)
    server.post(InstanceDown("two", peer_of("two")))
    assert not [word for word in server.told(CLIENT) if isinstance(word, Exposed)]


def test_what_went_elsewhere_since_is_no_longer_with_the_dead() -> None:
    """A repeat that was answered from memory went to another instance."""
    server = sent_on(0, 1)
    server.alive_at(3)
    other = server.up("two", 1)
    server.receive(0, header=Header(JOB, BOTH, 0), attempts=[2])
    assert [item.sequence for item in server.sent_to(other)] == [0]
    server.post(InstanceDown("two", peer_of("two")))
    [word] = [word for word in server.told(CLIENT) if isinstance(word, Exposed)]
    assert word.sequences == (1,)


# -- at most once -----------------------------------------------------------------------------------------------------

ONCE = Header(JOB, FIRST, 0, at_most_once=True)


def test_a_second_copy_of_what_was_turned_away_is_not_run() -> None:
    """There is room by now; but its client was told, and may have given it to another. The next attempt is."""
    server = Server(max_in_flight=1)
    server.receive(0, header=ONCE)
    server.receive(1, header=ONCE)
    server.finish(0)
    server.receive(1, header=ONCE)
    assert server.invoked() == [0]
    server.receive(1, header=ONCE, attempts=[2])
    assert server.invoked() == [0, 1]


def test_who_turns_away_says_which_attempt() -> None:
    """Of messages that must not run twice: a second copy of the answer is known by it."""
    server = Server(max_in_flight=1)
    server.receive(0, header=ONCE)
    server.receive(1, header=ONCE, attempts=[3])
    assert server.sent_to(CLIENT) == [Item(1, b"", Status.BUSY, 3)]


def test_a_repeat_keeps_its_attempt_on_the_way_to_the_next_stage() -> None:
    """Which has turned the first one away."""
    server = Server()
    two = server.up("two")
    server.receive(0, header=Header(JOB, BOTH, 0, at_most_once=True))
    server.finish()
    two = server.up("two")
    server.receive(0, header=Header(JOB, BOTH, 0, at_most_once=True), attempts=[2])
    assert [item.attempt for item in server.sent_to(two)] == [1, 2]
