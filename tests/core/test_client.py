"""The node of a client, one behaviour at a time."""

from __future__ import annotations

import pytest

from palm.core.client import MAX_ATTEMPTS, MAX_DEATHS, SPAN
from palm.core.effect import Deliver, Demand, Dial, Ended, Follow, Ready, Send
from palm.core.event import Bounced, Cancelled, Heard, InstanceUp, Listed, Received, SourceEnded, Taken
from palm.core.message import Buried, Exposed, Failure, Over, Ping, Pong, Refused, Status
from palm.core.window import LEAST
from palm.errors import NoSuchFunction
from palm.observe.ledger import Ledger
from palm.testing.harness import NS, Item
from tests.core.cast import Client, batch_of, instance_of, peer_of

ONE, TWO = peer_of("one"), peer_of("two")
S = NS


def ready(*, instances: int = 1, **job: object) -> Client:
    """A client with a job on `one.f`, whose instances are up."""
    client = Client()
    for index in range(instances):
        client.up("one", index)
    client.open(**job)  # type: ignore[arg-type]
    client.forget()
    return client


def sent_by_peer(client: Client) -> dict[str, list[int]]:
    sent: dict[str, list[int]] = {}
    for send in client.of(Send):
        sent.setdefault(send.peer, []).extend(send.batch.sequences)
    return sent


# -- opening ----------------------------------------------------------------------------------------------------------


def test_a_job_follows_the_servers_of_its_route_and_waits_for_all() -> None:
    """Follow each once; Ready and Demand come with the last missing server."""
    client = Client()
    client.open(["one.f", "two.g", "one.f"])
    assert client.of(Follow) == [Follow("one"), Follow("two")]
    client.up("one")
    assert client.of(Ready) == [] and client.node.missing(1) == ["two"]
    client.up("two")
    assert client.of(Ready) == [Ready(1)] and len(client.of(Demand)) == 1 and client.node.missing(1) == []
    assert {dial.peer for dial in client.of(Dial)} == {ONE, TWO}


def test_a_job_for_an_unknown_function_is_refused_with_the_nearest_name() -> None:
    """Before its first message, saying what exists."""
    client = Client()
    client.up("one", functions=("resize", "thumb"))
    client.open("one.resise")
    [ended] = client.of(Ended)
    assert isinstance(ended.error, NoSuchFunction)
    assert "did you mean 'resize'?" in str(ended.error) and "resize, thumb" in str(ended.error)
    assert client.of(Demand) == [] and client.node.jobs == {}


def test_a_job_is_not_refused_before_the_registry_has_told_all_it_holds() -> None:
    """The instance that has the function may be the second on the list."""
    client = Client()
    client.open("one.new")
    client.post(InstanceUp(instance_of("one", 0, functions=("old",))))
    assert client.of(Ended) == []
    client.post(InstanceUp(instance_of("one", 1, functions=("old", "new"))), Listed("one"))
    assert client.of(Ready) == [Ready(1)] and client.of(Ended) == []


def test_only_instances_that_list_the_function_are_sent_to() -> None:
    """While a new release rolls in, instances differ."""
    client = Client()
    client.up("one", 0, functions=("g",))
    other = client.up("one", 1, functions=("f", "g"))
    client.open()
    client.offer(b"a", b"b")
    assert sent_by_peer(client) == {other: [0, 1]}


# -- the window -------------------------------------------------------------------------------------------------------


def test_demand_never_exceeds_the_window() -> None:
    """Asked for, in flight and not taken together are the window; taking frees it."""
    client = ready(window=8)
    client.open(number=2, window=8)
    assert client.demanded(2) == 8
    client.offer(*[b"x"] * 8, number=2)
    client.answer(*range(8), number=2)
    assert client.demanded(2) == 8, "answered and not taken still counts"
    client.post(Taken(2, 5, 5, 10))
    assert client.demanded(2) == 13


def test_one_stuck_message_holds_the_others_back_in_time() -> None:
    """What servers remember is what is above the watermark, which it pins: the job waits for it, and then goes on."""
    client = ready(window=LEAST)
    job = client.node.jobs[1]
    client.offer(*[b"x"] * LEAST)
    client.answer(*range(1, LEAST))
    client.post(Taken(1, LEAST - 1, LEAST - 1, 0))
    while job.demanded:
        first, wanted = job.sent, job.demanded
        client.offer(*[b"x"] * wanted)
        client.answer(*range(first, first + wanted))
        client.post(Taken(1, wanted, wanted, 0))
    assert (SPAN - 1) * LEAST < job.sent <= SPAN * LEAST and job.watermark == 0
    client.answer(0)
    assert job.demanded > 0


def test_a_slow_caller_holds_back_bytes_too() -> None:
    """Payloads and untaken results count against the window's bytes."""
    client = ready(window=64, window_bytes=1_000)
    client.offer(b"x" * 100)
    client.forget()
    client.answer(0, payloads=[b"y" * 950])
    assert client.demanded() == 0 and client.node.jobs[1].held_bytes == 950
    client.post(Taken(1, 1, 1, 950))
    assert client.node.jobs[1].held_bytes == 0


def test_a_slow_source_of_large_payloads_is_not_asked_for_more_than_fits() -> None:
    """What was asked for and has not come is counted, however often the clock ticks meanwhile."""
    client = Client()
    client.up()
    client.open(window=64, window_bytes=1_000)
    client.offer(b"x" * 100)
    client.answer(0)
    client.post(Taken(1, 1, 1, 2))
    client.alive(10, ONE)
    job = client.node.jobs[1]
    assert job.demanded * 100 <= 1_600, "the first few are asked for unseen"
    client.offer(*[b"x" * 100] * job.demanded)
    assert client.node.jobs[1].demanded == 0


# -- sending ----------------------------------------------------------------------------------------------------------


def test_messages_are_shared_out_among_instances() -> None:
    """Equal shares, the least loaded first."""
    client = ready(instances=2)
    client.offer(*[b"x"] * 10)
    assert sorted(map(len, sent_by_peer(client).values())) == [5, 5]


def test_the_deadline_is_sent_as_remaining_time() -> None:
    """A message that waits for an instance has less of it left when it goes."""
    client = Client()
    client.up()
    client.open(deadline_s=10)
    client.advance(3)
    client.forget()
    client.offer(b"x")
    assert client.sent() == []
    client.advance(4)
    client.post(Heard(ONE, Pong(1)))
    [send] = client.of(Send)
    assert send.batch.remaining == 6 * S


def test_every_batch_carries_the_watermark() -> None:
    """Below it everything has ended."""
    client = ready()
    client.offer(b"a", b"b", b"c")
    client.answer(0, 2)
    client.forget()
    client.offer(b"d")
    assert client.of(Send)[0].batch.watermark == 1
    client.answer(1)
    client.offer(b"e")
    assert client.of(Send)[1].batch.watermark == 3


# -- answers ----------------------------------------------------------------------------------------------------------


def test_results_are_delivered_once() -> None:
    """A late answer of another attempt is dropped and counted, also within one batch."""
    client = ready()
    client.offer(b"a", b"b")
    client.answer(0, 0)
    client.answer(0, 1)
    client.answer(0)
    assert client.delivered() == [Item(0, b"r0"), Item(1, b"r1")]
    assert client.node.jobs[1].duplicates == 3


def test_an_answer_nobody_asked_for_is_dropped() -> None:
    """Of a job that is not there, of another life, or of a sequence that was never sent."""
    client = ready()
    client.offer(b"a")
    job = client.node.jobs[1]
    client.answer(7)
    job.id = job.id._replace(incarnation=8)
    client.answer(0)
    assert client.delivered() == [] and client.node.stale == 1 and job.duplicates == 1


def test_failures_and_expiries_are_delivered_as_such() -> None:
    """Each ends its message, in its own column of the ledger."""
    client = ready()
    client.offer(b"a", b"b", b"c")
    client.answer(0, 1, 2, statuses=[Status.OK, Status.FAILED, Status.EXPIRED], payloads=[b"r", b"why", b""])
    assert [(item.sequence, item.status) for item in client.delivered()] == [(0, 0), (1, 1), (2, 2)]
    assert client.ledger() == Ledger(sent=3, failed=1, expired=1, in_flight=1)
    client.post(Taken(1, 3, 1, 1))
    assert client.ledger() == Ledger(sent=3, delivered=1, failed=1, expired=1) and client.ledger().adds_up


def test_a_job_ends_once_its_source_has_and_every_message() -> None:
    """Ended comes after the last outcome, once, and every instance of the route is told."""
    client = Client()
    client.up("one"), client.up("two")
    client.open(["one.f", "two.g"])
    client.offer(b"a", b"b")
    client.answer(0)
    client.post(SourceEnded(1))
    assert client.of(Ended) == []
    client.answer(1)
    assert isinstance(client.effects[-1], Ended) and client.of(Ended) == [Ended(1)]
    assert client.told(ONE)[-1] == client.told(TWO)[-1] == Over(7, 1)
    client.answer(1)
    assert len(client.of(Ended)) == 1


def test_an_empty_job_ends_at_once() -> None:
    """A source without payloads is no error."""
    client = ready()
    client.post(SourceEnded(1))
    assert client.of(Ended) == [Ended(1)]


# -- retries ----------------------------------------------------------------------------------------------------------


def test_without_an_answer_a_message_is_sent_again_after_5_10_and_20_seconds() -> None:
    """Same id and payload, next attempt; not a moment early."""
    client = ready()
    client.offer(b"a")
    seen = []
    for _ in range(160):
        client.alive(0.5, ONE)
    for step in client.steps:
        seen += [(step.now / S, effect.batch.attempts) for effect in step.effects if isinstance(effect, Send)]
    assert seen == [(0, None), (5, [2]), (15, [3]), (35, [4]), (55, [5]), (75, [6])]
    assert set(client.sent()) == {Item(0, b"a", 0, attempt) for attempt in range(1, 7)}
    assert client.node.jobs[1].retries == 5


def test_a_retry_goes_to_the_same_instance_while_that_is_usable() -> None:
    """That is where the memory of it is; a suspected one is passed by."""
    client = ready(instances=3)
    client.offer(b"a", b"b", b"c")
    at = {sequence: peer for peer, sequences in sent_by_peer(client).items() for sequence in sequences}
    peers = [peer_of("one", index) for index in range(3)]
    client.forget()
    client.alive(5, *peers)
    assert {sequence: peer for peer, (sequence,) in sent_by_peer(client).items()} == at
    client.forget()
    client.alive(10, *(peer for peer in peers if peer != at[0]))
    again = {sequence: peer for peer, sequences in sent_by_peer(client).items() for sequence in sequences}
    assert again[1] == at[1] and again[2] == at[2] and again[0] != at[0]


def test_a_message_that_idle_instances_never_answer_is_dead_lettered() -> None:
    """After so many attempts, and only while nobody on its route works."""
    client = ready()
    client.offer(b"a")
    client.alive(400, ONE, in_flight=1)
    assert client.delivered() == []
    client.alive(60, ONE)
    [(sequence, failure, status, _)] = client.delivered()
    assert (sequence, status) == (0, Status.DEAD_LETTERED)
    assert isinstance(failure, Buried) and failure.payload == b"a"
    assert isinstance(failure.failure, Failure) and "no answer to 12 sendings" in failure.failure.text
    assert client.ledger() == Ledger(sent=1, dead_lettered=1)


def test_dead_letters_take_all_their_attempts() -> None:
    """Not one fewer."""
    client = ready()
    client.offer(b"a")
    client.alive(300, ONE)
    assert client.sent()[-1].attempt == MAX_ATTEMPTS and len(client.sent()) == MAX_ATTEMPTS


def test_nothing_is_sent_to_a_suspect_until_it_is_heard() -> None:
    """What is offered meanwhile waits, and goes with the first sign of life."""
    client = ready()
    client.advance(3)
    client.offer(b"a")
    assert client.sent() == []
    client.post(Heard(ONE, Pong(1)))
    assert client.sent_to(ONE) == [Item(0, b"a")]


def test_a_refusing_instance_is_not_used() -> None:
    """Another life holds its address: its messages go elsewhere."""
    client = ready(instances=2)
    client.post(Heard(ONE, Refused("NOT_ME", "this is another")))
    client.offer(b"a", b"b", b"c")
    assert sent_by_peer(client) == {peer_of("one", 1): [0, 1, 2]}
    assert "refuses us: this is another" in client.node.describe(1, client.now)


def test_a_stranger_to_a_server_greets_it_again() -> None:
    """The server forgot us: Hello, and the messages follow."""
    client = ready()
    client.post(Heard(ONE, Refused("STRANGER", "")))
    assert [type(word).__name__ for word in client.told(ONE)] == ["Hello"]


# -- loss -------------------------------------------------------------------------------------------------------------


def test_what_a_lost_instance_held_is_sent_to_another_at_once() -> None:
    """Not after the retry time: the registry says that it is gone."""
    client = ready(instances=2)
    client.offer(b"a", b"b")
    lost = sent_by_peer(client)[ONE]
    client.forget()
    client.down("one", 0)
    assert sent_by_peer(client) == {peer_of("one", 1): lost} and client.sent()[0].attempt == 2


def test_after_a_death_its_messages_go_one_at_a_time() -> None:
    """One of them may have killed it: the others must not die with the next."""
    client = ready()
    client.offer(b"a", b"b", b"c")
    client.down()
    client.forget()
    client.up("one", 1)
    assert client.sent() == [Item(0, b"a", 0, 2)]
    client.answer(0, peer=peer_of("one", 1))
    assert client.sent() == [Item(0, b"a", 0, 2), Item(1, b"b", 0, 2)]


def test_suspects_use_every_instance() -> None:
    """One at each, so that the rest does not wait for the slowest."""
    client = ready()
    client.offer(b"a", b"b", b"c")
    client.down()
    client.forget()
    client.up("one", 1), client.up("one", 2)
    assert sorted(map(len, sent_by_peer(client).values())) == [1, 1]


def test_a_message_that_kills_three_instances_is_dead_lettered_and_the_others_flow() -> None:
    """Poison: the deaths are counted by message, and only the killer has them all."""
    client = ready()
    client.offer(b"b", b"poison", b"c")
    client.down()
    deaths, index = 1, 0
    while client.node.jobs[1].rows:
        index += 1
        here = client.up("one", index)
        while client.sent_to(here) and client.sent_to(here)[-1].payload != b"poison":
            client.answer(client.sent_to(here)[-1].sequence, peer=here)
            if not client.node.jobs[1].rows:
                break
        if client.sent_to(here) and client.sent_to(here)[-1].payload == b"poison":
            client.down("one", index)
            deaths += 1
    assert deaths == MAX_DEATHS
    first, (_, failure, status, _), last = sorted(client.delivered())
    assert (first, status, last) == (Item(0, b"r0"), Status.DEAD_LETTERED, Item(2, b"r2"))
    assert isinstance(failure, Buried) and failure.payload == b"poison" and isinstance(failure.failure, Failure)
    assert failure.failure.text.startswith("3 instances of one died while they had this")
    assert client.ledger() == Ledger(sent=3, dead_lettered=1, in_flight=2)


def test_instances_that_lose_their_leases_together_are_no_deaths() -> None:
    """The registry forgot them all, and they were heard of a moment ago: a message that is sent from one to the next
    kills nobody, so it is no poison."""
    client = ready()
    client.offer(b"a")
    for index in range(2 * MAX_DEATHS):
        client.up("one", index + 1)
        client.down("one", index, silent=False)
    assert client.ledger() == Ledger(sent=1, in_flight=1) and not client.node.jobs[1].suspects


def test_who_leaves_cleanly_is_no_death() -> None:
    """A drained instance that deregisters takes nothing with it; its messages go on together."""
    client = ready()
    client.offer(b"a", b"b")
    client.up("one", 0, draining=True)
    for index in range(5):
        client.down("one", index)
        client.up("one", index + 1)
        client.post(InstanceUp(instance_of("one", index + 1, draining=True)))
    assert client.delivered() == []
    assert [item.sequence for item in client.sent_to(peer_of("one", 3))] == [0, 1]


def two_stages(*payloads: bytes, **job: object) -> Client:
    """A client with a job through `one` and `two`, and its messages on their way."""
    client = Client()
    client.up("one", 0), client.up("one", 1), client.up("two")
    client.open(["one.f", "two.g"], **job)  # type: ignore[arg-type]
    client.offer(*payloads)
    return client


def exposed(client: Client, *sequences: int, instance: int = 0, suspect: bool = True) -> None:
    """The first stage says that these were with an instance of the second that is gone."""
    client.post(Heard(ONE, Exposed(7, 1, "two", peer_of("two", instance), sequences, suspect)))


def test_what_was_with_a_lost_later_stage_is_asked_for_again_at_once() -> None:
    """Of the same instance of the first stage, which answers from memory; what has ended is not."""
    client = two_stages(b"a", b"b", b"c")
    before = sent_by_peer(client)
    client.answer(1, peer=TWO)
    client.forget()
    client.down("two")
    assert client.sent() == []
    exposed(client, 0, 1)
    [(peer, sequences)] = sent_by_peer(client).items()
    assert sequences == [0] and 0 in before[peer]


def test_what_a_drained_first_stage_has_handed_on_is_not_asked_for_again() -> None:
    """It is with the next stage; where it is not after all, the retry time finds out. Nothing has an unknown fate."""
    client = two_stages(b"a", b"b", at_most_once=True)
    for index in (0, 1):
        client.post(InstanceUp(instance_of("one", index, draining=True)))
        client.down("one", index)
    client.up("one", 2)
    assert client.delivered() == [] and len(client.node.jobs[1].rows) == 2
    client.answer(0, 1, peer=TWO)
    assert client.ledger().failed == 0 and len(client.delivered()) == 2


def test_what_a_lost_leader_had_is_asked_for_again_and_not_suspected() -> None:
    """It ran nothing itself: all together, and no death is counted."""
    client = two_stages(*[b"x"] * 40)
    client.forget()
    exposed(client, *range(40), suspect=False)
    assert len(client.sent()) == 40 and not client.node.jobs[1].deaths


def test_suspects_of_a_later_stage_go_few_at_a_time_and_then_alone() -> None:
    """Sixteen with one death, each with two for itself; others are sent meanwhile as ever."""
    client = two_stages(*[b"x"] * 40)
    client.forget()
    exposed(client, *range(40))
    assert [item.sequence for item in client.sent()] == list(range(16))
    client.forget()
    exposed(client, *range(16), instance=1)
    assert [item.sequence for item in client.sent()] == [0]
    client.offer(b"new")
    assert [item.sequence for item in client.sent()] == [0, 40]


def test_one_death_is_counted_once_however_many_say_so() -> None:
    """Two instances of the first stage had the message, and one word came twice."""
    client = two_stages(b"a")
    for _ in range(MAX_DEATHS):
        exposed(client, 0)
    assert client.delivered() == [] and len(client.node.jobs[1].deaths[0]["two"]) == 1


def test_a_message_that_kills_three_instances_of_a_later_stage_is_dead_lettered_with_their_names() -> None:
    """And no other, though all were there the first time and some the second."""
    client = two_stages(*[b"x"] * 40)
    client.forget()
    exposed(client, *range(40))
    for instance in (1, 2):
        under_way = [item.sequence for item in client.sent() if item.sequence in client.node.jobs[1].rows]
        client.forget()
        while 7 not in under_way:
            client.answer(*under_way, peer=TWO)
            under_way = [item.sequence for item in client.sent()]
            client.forget()
        exposed(client, *under_way, instance=instance)
    for _ in range(40):
        client.answer(*[item.sequence for item in client.sent()], peer=TWO)
    ends = {item.sequence: item for item in client.delivered()}
    assert [sequence for sequence, item in ends.items() if item.status] == [7] and not client.node.jobs[1].rows
    buried = ends[7].payload
    assert isinstance(buried, Buried) and isinstance(buried.failure, Failure)
    assert all(peer_of("two", each) in buried.failure.text for each in range(3))


def test_what_bounces_goes_elsewhere_at_once() -> None:
    """It certainly did not arrive, and it is no death and no attempt."""
    client = ready(instances=2)
    client.offer(b"a")
    [send] = client.of(Send)
    client.forget()
    client.post(Bounced(send.peer, send.batch, "unreachable"))
    [again] = client.of(Send)
    assert again.peer != send.peer and client.sent() == [Item(0, b"a")]


def test_what_bounces_off_the_only_instance_waits_for_it() -> None:
    """No hot loop: it is suspected until it is heard."""
    client = ready()
    client.offer(b"a")
    [send] = client.of(Send)
    client.forget()
    client.post(Bounced(ONE, send.batch, "full"))
    assert client.sent() == []
    client.post(Heard(ONE, Pong(1)))
    assert client.sent() == [Item(0, b"a")]


# -- at most once -----------------------------------------------------------------------------------------------------


def test_an_at_most_once_message_is_never_sent_again() -> None:
    """Whose instance is lost has an unknown fate: said, not guessed."""
    client = ready(at_most_once=True)
    client.offer(b"a", b"b")
    client.answer(0)
    client.down()
    client.up("one", 1)
    client.alive(60, peer_of("one", 1))
    assert client.delivered() == [Item(0, b"r0"), Item(1, b"", Status.UNKNOWN_FATE)]
    assert [item.sequence for item in client.sent()] == [0, 1]
    assert client.ledger().failed == 1


def test_a_silent_end_of_an_at_most_once_message_has_a_bound() -> None:
    """No answer from idle instances: in the end its fate is unknown; while they work, it waits."""
    client = ready(at_most_once=True)
    client.offer(b"a")
    client.alive(400, ONE, in_flight=1)
    assert client.delivered() == []
    client.alive(300, ONE)
    assert client.delivered() == [Item(0, b"", Status.UNKNOWN_FATE)] and len(client.sent()) == 1


def test_an_at_most_once_message_that_was_not_taken_may_go_elsewhere() -> None:
    """AWAY and a bounce are definite: it was not run."""
    client = ready(instances=2, at_most_once=True)
    client.offer(b"a")
    [send] = client.of(Send)
    client.answer(0, peer=send.peer, statuses=[Status.AWAY], payloads=[b""])
    assert [other.peer for other in client.of(Send)[1:]] == [peer_of("one", 1 if send.peer == ONE else 0)]


def test_at_most_once_with_a_lost_later_stage_has_an_unknown_fate() -> None:
    """Of what went there; the rest goes on."""
    client = Client()
    client.up("one"), client.up("two")
    client.open(["one.f", "two.g"], at_most_once=True)
    client.offer(b"a", b"b")
    client.down("two")
    exposed(client, 0)
    assert client.delivered() == [Item(0, b"", Status.UNKNOWN_FATE)]


def test_a_function_of_the_route_makes_the_job_at_most_once() -> None:
    """Of any stage, as the registry shows it: also of an instance that comes when the job runs."""
    client = Client()
    client.up("one"), client.up("two", once=("g",))
    client.open(["one.f", "two.g"])
    client.offer(b"a")
    [send] = client.of(Send)
    assert send.batch.header.at_most_once
    client.down()
    client.up("one", 1)
    assert client.delivered() == [Item(0, b"", Status.UNKNOWN_FATE)]

    client = ready()
    client.offer(b"a")
    client.up("one", 1, once=("f",))
    client.down()
    assert client.delivered() == [Item(0, b"", Status.UNKNOWN_FATE)]


def test_a_second_copy_of_an_answer_that_turned_it_away_is_not_heeded() -> None:
    """An at-most-once message went to another instance since, which may run it: the attempt tells."""
    client = ready(instances=3, at_most_once=True)
    client.offer(b"a")
    [first] = client.of(Send)
    client.answer(0, peer=first.peer, statuses=[Status.AWAY], payloads=[b""])
    client.answer(0, peer=first.peer, statuses=[Status.AWAY], payloads=[b""])
    assert [item.attempt for item in client.sent()] == [1, 2]


def test_an_at_most_once_message_turned_away_by_a_later_stage_goes_only_where_it_was() -> None:
    """The first stage has run it, and answers from memory; another instance would run it again."""
    client = two_stages(b"a", at_most_once=True)
    [first] = client.of(Send)
    client.answer(0, peer=TWO, statuses=[Status.BUSY], payloads=[b""])
    client.alive(0.5, ONE, peer_of("one", 1), TWO)
    assert [send.peer for send in client.of(Send)] == [first.peer] * 2
    client.post(
        Received(TWO, batch_of(0, header=client.node.jobs[1].header.at(2), statuses=[Status.BUSY], attempts=[2]))
    )
    client.down("one", 0 if first.peer == ONE else 1)
    client.alive(2, TWO)
    assert client.delivered() == [Item(0, b"", Status.UNKNOWN_FATE)] and len(client.of(Send)) == 2


# -- turned away ------------------------------------------------------------------------------------------------------


def test_busy_shrinks_the_window_and_pauses() -> None:
    """Sent again after a pause, to the same instance, under the same attempt."""
    client = ready(window=64)
    client.offer(*[b"x"] * 16)
    client.forget()
    client.answer(3, 4, statuses=[Status.BUSY] * 2, payloads=[b""] * 2)
    assert client.node.jobs[1].window.size == 32 and client.sent() == [] and client.delivered() == []
    client.advance(0.049)
    assert client.sent() == []
    client.advance(0.001)
    assert [(item.sequence, item.attempt) for item in client.sent_to(ONE)] == [(3, 1), (4, 1)]


def test_one_overload_is_answered_by_one_step_back() -> None:
    """Many BUSY answers of one moment halve the window once, and the pause is the first one."""
    client = ready(window=256)
    client.offer(*[b"x"] * 16)
    client.forget()
    for sequence in range(8):
        client.answer(sequence, statuses=[Status.BUSY], payloads=[b""])
    assert client.node.jobs[1].window.size == 128
    client.advance(0.05)
    assert len(client.sent()) == 8


def test_pauses_double_while_it_stays_busy_and_begin_again_after_an_answer() -> None:
    """50 ms, 100 ms, ... 3.2 s; an answer puts them back."""
    client = ready()
    client.offer(b"a", b"b")
    pauses = []
    for _ in range(9):
        client.forget()
        client.answer(0, statuses=[Status.BUSY], payloads=[b""])
        begin = client.now
        while not client.sent():
            client.alive(0, ONE)
            client.advance(0.01)
            client.post(Heard(ONE, Pong(1, in_flight=1)))
        pauses.append(round((client.now - begin) / S, 2))
    assert pauses == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 3.2, 3.2]
    client.answer(1)
    client.forget()
    client.answer(0, statuses=[Status.BUSY], payloads=[b""])
    client.advance(0.05)
    assert [item.sequence for item in client.sent()] == [0]


def test_the_window_grows_again_while_answers_come() -> None:
    """Additive increase after the decrease."""
    client = ready(window=64)
    client.offer(b"a")
    client.answer(0, statuses=[Status.BUSY], payloads=[b""])
    client.advance(1)
    job = client.node.jobs[1]
    assert job.window.size == 32
    client.offer(*[b"x"] * 40)
    client.answer(*range(41))
    assert 32 < job.window.size <= 64


def test_away_goes_to_another_at_once() -> None:
    """The draining instance gets nothing new, whatever its record says."""
    client = ready(instances=2)
    client.offer(b"a")
    [send] = client.of(Send)
    other = peer_of("one", 1 if send.peer == ONE else 0)
    client.forget()
    client.answer(0, peer=send.peer, statuses=[Status.AWAY], payloads=[b""])
    assert sent_by_peer(client) == {other: [0]}
    client.forget()
    client.offer(b"b", b"c")
    assert sent_by_peer(client) == {other: [1, 2]}
    assert client.node.jobs[1].window.size == 64


def test_away_of_the_last_instance_waits_for_another() -> None:
    """Nobody to go to: it goes with whoever appears, after a pause."""
    client = ready()
    client.offer(b"a")
    client.forget()
    client.answer(0, statuses=[Status.AWAY], payloads=[b""])
    assert client.sent() == []
    other = client.up("one", 1)
    client.alive(0.5, other)
    assert client.sent_to(other) == [Item(0, b"a")]


def test_away_of_a_later_stage_is_no_hot_loop() -> None:
    """The stage before it has to hear of the draining first: the client gives it a moment."""
    client = Client()
    client.up("one"), client.up("two", 0), client.up("two", 1)
    client.open(["one.f", "two.g"])
    client.offer(b"a")
    client.forget()
    client.answer(0, peer=TWO, statuses=[Status.AWAY], payloads=[b""])
    assert client.sent() == []
    client.advance(0.05)
    assert client.sent_to(ONE) == [Item(0, b"a")]


# -- deadlines and cancelling -----------------------------------------------------------------------------------------


def test_a_deadline_ends_what_is_in_flight() -> None:
    """At its time, as expired; the answer that comes later is dropped."""
    client = ready(deadline_s=3)
    client.offer(b"a", b"b")
    client.answer(0)
    client.advance(2.999)
    assert client.delivered() == [Item(0, b"r0")]
    client.advance(0.001)
    assert client.delivered() == [Item(0, b"r0"), Item(1, b"", Status.EXPIRED)]
    client.answer(1)
    assert len(client.delivered()) == 2 and client.ledger() == Ledger(sent=2, expired=1, in_flight=1)


def test_a_deadline_ends_what_waits_for_an_instance() -> None:
    """And it is not sent when one appears at last."""
    client = ready(deadline_s=3)
    client.down()
    client.offer(b"a")
    client.advance(3)
    assert client.delivered() == [Item(0, b"", Status.EXPIRED)]
    client.forget()
    client.up("one", 1)
    assert client.sent() == []


def test_cancelling_ends_everything_that_has_not() -> None:
    """What is in flight has failed, Ended follows, the servers are told, late answers are dropped."""
    client = ready()
    client.offer(b"a", b"b", b"c")
    client.answer(1)
    client.post(Cancelled(1))
    assert [(item.sequence, item.status) for item in client.delivered()] == [
        (1, Status.OK),
        (0, Status.CANCELLED),
        (2, Status.CANCELLED),
    ]
    assert client.of(Ended) == [Ended(1)] and client.told(ONE)[-1] == Over(7, 1)
    client.answer(0)
    client.offer(b"late")
    client.post(Cancelled(1))
    assert len(client.delivered()) == 3 and len(client.of(Ended)) == 1
    assert client.ledger() == Ledger(sent=3, failed=2, in_flight=1)


def test_a_job_that_still_waits_for_its_servers_can_be_cancelled() -> None:
    """Nothing was sent: it just ends."""
    client = Client()
    client.open()
    client.post(Cancelled(1))
    assert client.of(Ended) == [Ended(1)]
    client.up()
    assert client.of(Ready) == [] and client.of(Demand) == []


def test_a_cancelled_suspect_makes_room_for_the_next() -> None:
    """The quarantine of an instance ends with the message, whichever way that ends: also of another job."""
    client = ready()
    client.open(number=2)
    client.offer(b"a")
    client.offer(b"b", number=2)
    client.down()
    client.forget()
    other = client.up("one", 1)
    assert [item.payload for item in client.sent_to(other)] == [b"a"]
    client.post(Cancelled(1))
    client.alive(0.5, other)
    assert [item.payload for item in client.sent_to(other)] == [b"a", b"b"]


# -- hearts and words -------------------------------------------------------------------------------------------------


def test_heartbeats_name_the_open_jobs() -> None:
    """What is not among them is over, also where the word Over was lost."""
    client = ready()
    client.open(number=2)
    client.post(SourceEnded(1))
    client.forget()
    client.advance(0.5)
    assert client.told(ONE) == [Ping(1, open_jobs=(2,), next_job=3)]


def test_hostile_records_do_not_stop_a_client() -> None:
    """One peer under two names, leaving under each: the first stays, and its messages with it."""
    client = ready()
    client.offer(b"a")
    client.post(InstanceUp(type(instance_of("x"))(server="two", peer=ONE, address="sim://x:1", functions=("f",))))
    client.down("two", 0)
    client.node.handle(InstanceUp(instance_of("one")), client.now)
    from_two = [effect for effect in client.effects if isinstance(effect, Deliver)]
    assert from_two == []
    client.answer(0)
    assert client.delivered() == [Item(0, b"r0")]


@pytest.mark.parametrize(
    ("arrange", "said"),
    [
        (lambda client: client.down(), "no live instance of one"),
        (lambda client: client.alive(1, ONE, in_flight=2), "is idle, last heard"),
        (lambda client: client.advance(4), "was last heard 4.0 s ago"),
        (lambda client: client.post(Heard(ONE, Pong(1, 3, busy_us=2_000_000, busy_in="f"))), "is busy in f for 2.0 s"),
    ],
)
def test_a_wait_can_be_described(arrange: object, said: str) -> None:
    """Which stage, which instance, how long, and what to do."""
    client = ready()
    client.offer(b"a")
    assert callable(arrange)
    arrange(client)
    assert said in client.node.describe(1, client.now)


def test_the_window_starts_small_until_a_payload_was_seen() -> None:
    """The first few tell how large the others may be."""
    client = Client()
    client.up()
    client.open(window=1_000)
    assert client.of(Demand) == [Demand(1, LEAST)]
    client.offer(*[b"x"] * LEAST)
    assert client.demanded() == 1_000
