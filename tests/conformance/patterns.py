"""What many results, branches, joins and reductions mean: checks on any client, whose cluster has `work`, `split`,
`crew`, `parts` and `folded` twice, `skipping`, `showing`, `hanging`, `zipped`, `ended`, `ordered` and `tens` once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from palm import Client, HandlerFailed, MessageFailed
from palm.errors import BadRequest

Check = Callable[[Client], None]
NUMBERS = [b"%d" % number for number in range(30)]


def many_results_come_in_the_order_of_their_paths(client: Client) -> None:
    """A generator, sync or async, through a stage behind it."""
    for function in ("count", "count_async"):
        job = client.job(NUMBERS[:12], [f"work.{function}", "work.tag"], ordered=True)
        expected = [b"%d.%dt" % (number, place) for number in range(12) for place in range(number)]
        assert list(client.submit()) == expected
        assert tuple(job.ledger) == (12, 12, 0, 0, 0, 0)


def results_without_order_are_all_there(client: Client) -> None:
    """Fan-out on fan-out, many times the window."""
    route = ["work.count", "work.odd", "split.copy", [["work.tag"], ["work.tag"]]]
    job = client.job(NUMBERS[:10] * 60, route, window=16)
    odd = [b"%d.%dt" % (number, place) for number in range(10) for place in range(number) if place % 2]
    assert sorted(client.submit()) == sorted(odd * 120)
    assert tuple(job.ledger) == (600, 600, 0, 0, 0, 0)


def a_message_may_end_without_a_result(client: Client) -> None:
    """None, a generator that yields nothing, and a sink that consumes: delivered, with no result."""
    for route in (["work.none"], ["work.none", "work.tag"], ["work.tag", "ended.end"]):
        for ordered in (False, True):
            job = client.job(NUMBERS, route, ordered=ordered)
            assert list(client.submit()) == []
            assert tuple(job.ledger) == (30, 30, 0, 0, 0, 0)
    assert list(client.map([b"0", b"1"], "work.count", ordered=True)) == [b"1.0"]


def a_part_that_fails_fails_its_message(client: Client) -> None:
    """Once all parts have ended, with that part's reason; the other messages are delivered."""
    job = client.job([b"2", b"3", b"1"], ["work.count", "work.fails_on_two"], ordered=True, errors="yield")
    results = list(client.submit())
    assert results[:2] == [b"2.0", b"2.1"] and results[3:] == [b"1.0"]
    assert isinstance(results[2], HandlerFailed) and results[2].text == "two"
    assert tuple(job.ledger) == (3, 2, 1, 0, 0, 0)


def a_generator_that_raises_fails_its_message(client: Client) -> None:
    """What it yielded before is not handed over."""
    with pytest.raises(HandlerFailed, match="in the middle"):
        client.call("work.breaks", b"x")


def a_call_takes_one_result(client: Client) -> None:
    """None and many are an error that says how many there were; a list says what to do instead."""
    assert client.call("work.count", b"1") == b"1.0"
    with pytest.raises(MessageFailed, match="3 results"):
        client.call("work.count", b"3")
    with pytest.raises(MessageFailed, match="0 results"):
        client.call("work.none", b"3")
    with pytest.raises(HandlerFailed, match="returned list.*yield each"):
        client.call("work.listed", b"3")


def branches_get_copies_and_are_zipped(client: Client) -> None:
    """One call for each message, the parts in the order of branches, None for what was filtered out."""
    route = ["split.copy", [["work.tag"], ["work.odd", "work.count"]], "zipped.all"]
    expected = [b"1t|1.0", b"2t|-", b"3t|3.0|3.1|3.2"]
    assert list(client.map([b"1", b"2", b"3"], route, ordered=True)) == expected


def named_outputs_choose_their_branch(client: Client) -> None:
    """By the names of the route's mapping; a name that no branch has is the message's error."""
    route = ["split.sort", {"odd": ["work.tag"], "even": ["work.count"]}]
    assert list(client.map([b"1", b"2", b"3"], route, ordered=True)) == [b"1t", b"2.0", b"2.1", b"3t"]
    with pytest.raises(HandlerFailed, match="named the output 'nowhere'; the route has 'odd', 'even'"):
        client.call(["split.wrong", {"odd": ["work.tag"], "even": ["work.count"]}], b"1")


def an_ordered_sink_sees_messages_in_order(client: Client) -> None:
    """Behind two instances of a stage that overtake each other."""
    job = client.job(NUMBERS * 10, ["work.tag", "split.copy", [["work.tag"], ["work.odd"]], "ordered.each"])
    assert len(list(client.submit())) == 300
    assert tuple(job.ledger) == (300, 300, 0, 0, 0, 0)


def coroutines_of_an_ordered_sink_run_one_after_another(client: Client) -> None:
    """Although those of other servers run beside each other, and would end in any order."""
    job = client.job(NUMBERS * 2, ["work.tag", "ordered.each_async"])
    assert len(list(client.submit())) == 60
    assert tuple(job.ledger) == (60, 60, 0, 0, 0, 0)


def a_route_that_cannot_work_is_refused_before_its_first_message(client: Client) -> None:
    """Branches behind what is no source, or that never join; an ordered sink in one; others than are declared."""
    for route, said in (
        (["work.tag", [["work.tag"], ["work.odd"]]], "branches begin behind work.tag, which is a RegisteredServer"),
        (["split.copy", [["work.tag"], ["work.odd"]], "work.tag"], "branches never join: they meet in work.tag"),
        (["split.copy", [["work.tag"], ["ordered.each", "work.tag"]]], "ordered.each joins in order, but stands in a"),
        (["split.sort", {"odd": ["work.tag"], "evn": ["work.tag"]}], "the route has a branch 'evn' .did you mean"),
        (["split.sort", {"odd": ["work.tag"], "x": ["work.tag"]}], "split.sort names its outputs odd, even"),
    ):
        job = client.job(NUMBERS, route)
        with pytest.raises(BadRequest, match=said):
            list(client.submit())
        assert job.ledger.sent == 0


def a_handler_sees_its_message(client: Client) -> None:
    """Place, part, stage, attempt, deadline, client; in plain functions and in coroutines."""
    for function in ("who", "who_async"):
        assert list(client.map([b"x", b"y"], f"work.{function}", ordered=True)) == [
            b"0 () 0 1 True True",
            b"1 () 0 1 True True",
        ]
        job = client.job([b"2"], ["work.count", f"work.{function}"], ordered=True, deadline=60)
        assert list(client.submit(job)) == [b"0 (0,) 1 1 False True", b"0 (1,) 1 1 False True"]


def workers_of_a_butterfly_may_have_many_results_or_none(client: Client) -> None:
    """Through their leader: generators, sync and async, None, and named outputs."""
    expected = [b"%d.%dt" % (number, place) for number in range(12) for place in range(number)]
    for function in ("count", "count_async"):
        job = client.job(NUMBERS[:12], [f"crew.{function}", "work.tag"], ordered=True)
        assert list(client.submit()) == expected
        assert tuple(job.ledger) == (12, 12, 0, 0, 0, 0)
    assert list(client.map(NUMBERS[:4], ["crew.odd", "crew.count"], ordered=True)) == [b"1.0", b"3.0", b"3.1", b"3.2"]
    route = ["crew.sort", {"odd": ["work.tag"], "even": ["crew.count"]}]
    assert list(client.map([b"1", b"2", b"3"], route, ordered=True)) == [b"1t", b"2.0", b"2.1", b"3t"]


def a_message_is_taken_apart_and_gathered_in_order(client: Client) -> None:
    """Its parts run on any worker; what gather makes of them goes on: one result, several, or none."""
    messages = [b" ".join(b"%d" % part for part in range(number + 1)) for number in range(40)]
    job = client.job(messages, ["work.tag", "parts.tag", "work.tag"], ordered=True)
    assert list(client.submit()) == [b"t ".join((one + b"t").split()) + b"tt" for one in messages]
    assert tuple(job.ledger) == (40, 40, 0, 0, 0, 0)
    results = list(client.map([b"many a b", b"c d", b"many e"], "parts.tag", ordered=True))
    assert results == [b"at", b"bt", b"ct dt", b"et"]
    assert list(client.map([b"2", b"3 4 5"], "parts.odd", ordered=True)) == [b"3 - 5"]


def parts_of_parts_are_gathered_each_by_itself(client: Client) -> None:
    """A message that was split before; a part sees its number, also where it is alone; branches behind gather."""
    job = client.job([b"2", b"3"], ["work.count", "parts.where"], ordered=True)
    assert list(client.submit(job)) == [b"0"] * 5
    assert list(client.map([b"a b c"], "parts.where")) == [b"0 1 2"]
    assert sorted(client.map([b"a b"], ["parts.tag", [["work.tag"], ["work.none"]]])) == [b"at btt"]


def a_part_that_fails_counts_as_the_server_says(client: Client) -> None:
    """It fails the message, naming its number; or it is skipped; or gather sees why it failed."""
    job = client.job([b"1 x 3", b"5"], "parts.odd", ordered=True, errors="yield")
    failed, delivered = list(client.submit(job))
    assert isinstance(failed, HandlerFailed) and failed.kind == "ValueError" and failed.text.startswith("part 1 of 3: ")
    assert (failed.function, delivered) == ("odd", b"5")
    assert list(client.map([b"1 x 3", b"2 x"], "skipping.odd", ordered=True)) == [b"1 3"]
    assert list(client.map([b"1 x 2", b"x"], "showing.odd", ordered=True)) == [b"1 <1 ValueError> -", b"<0 ValueError>"]
    with pytest.raises(HandlerFailed, match="part 0 of 2: "):
        client.call("skipping.odd", b"x y")


def parts_that_hang_cost_their_time_and_no_more(client: Client) -> None:
    """Gather goes on without them; more of them than run beside each other at one time leave room for others."""
    job = client.job([b"x hang"] * 300, "hanging.hang", window=300)
    assert set(client.submit(job)) <= {b"x <1 PartTimedOut>", b"<0 PartTimedOut> <1 PartTimedOut>"}
    assert tuple(job.ledger) == (300, 300, 0, 0, 0, 0)
    assert client.call("hanging.hang", b"a b") == b"a b"


def what_scatter_or_gather_does_wrong_fails_its_message(client: Client) -> None:
    """By name; the others are delivered."""
    messages = [b"ok", b"raise", b"", b"boom!", b"ok"]
    ok, raised, none, gather, other = client.map(messages, "parts.tag", ordered=True, errors="yield")
    assert (ok, other) == (b"okt", b"okt")
    assert (raised.function, raised.kind, raised.text) == ("scatter", "ValueError", "in scatter")
    assert none.function == "scatter" and "gave no parts for message 2 of job" in none.text
    assert (gather.function, gather.kind, gather.text) == ("gather", "ValueError", "in gather")
    with pytest.raises(HandlerFailed, match="part 0 of 1: .*gave 2 results for one part"):
        client.call("parts.many", b"x")


def a_reduction_is_the_serial_fold(client: Client) -> None:
    """One result for the whole job, of all messages in their order; for an empty job none."""
    job = client.job(NUMBERS * 20, ["work.tag", "folded.join"], window=64)
    assert list(client.submit()) == [b"".join(number + b"t" for number in NUMBERS * 20)]
    assert tuple(job.ledger) == (600, 600, 0, 0, 0, 0) and job.emitted == 1
    assert list(client.map([], "folded.join")) == []
    assert list(client.map([b"alone"], "folded.join")) == [b"alone"]


def each_key_has_a_result(client: Client) -> None:
    """In the order of the first message that had it; the parts of one message may have different keys."""
    payloads = [b"%s=%d" % (b"cab"[n % 3 : n % 3 + 1], n) for n in range(90)]
    sums = [b"c=1305", b"a=1335", b"b=1365"]
    assert list(client.map(payloads, "folded.add", ordered=True)) == sums
    route = ["split.copy", [["work.tag"], ["work.tag"]], "zipped.all", "folded.join"]
    assert list(client.map([b"0", b"1"], route)) == [b"0t|0t1t|1t"]
    assert list(client.map([b"0", b"1", b"2"], [*route[:2], "folded.join"])) == [b"0t0t1t1t2t2t"]
    assert list(client.map([b"2", b"0", b"3"], ["work.count", "folded.join"])) == [b"2.02.13.03.13.2"]


def results_may_come_each_so_many_messages(client: Client) -> None:
    """And go on to the next stage, as messages; which may reduce again."""
    job = client.job(NUMBERS + NUMBERS[:5], ["tens.join", "work.tag"], ordered=True)
    tens = [b"".join(NUMBERS[at : at + 10]) for at in (0, 10, 20)] + [b"01234"]
    assert list(client.submit()) == [ten + b"t" for ten in tens]
    assert tuple(job.ledger) == (35, 35, 0, 0, 0, 0)
    job = client.job(NUMBERS, ["tens.join", "work.tag", "folded.join", "work.tag"])
    assert list(client.submit()) == [b"".join(ten + b"t" for ten in tens[:3]) + b"t"]
    assert tuple(job.ledger) == (30, 30, 0, 0, 0, 0) and job.emitted == 4


def what_cannot_be_folded_fails_alone(client: Client) -> None:
    """A message without a key; and where the function raises, the later message, or the result of that key if both
    were in partial results before. Everything else goes on."""
    job = client.job([b"a", b"?", b"b"], ["folded.join"], errors="yield")
    first, second = sorted(client.submit(), key=lambda result: isinstance(result, bytes))
    assert isinstance(first, HandlerFailed) and (first.sequence, first.function) == (1, "key")
    assert "function 'key' of server 'folded' returned int, bytes or str are needed" in str(first)
    assert second == b"ab" and tuple(job.ledger) == (3, 2, 1, 0, 0, 0)
    for bad, kind in ((b"x", "ValueError"), (b"y", "TypeError")):
        job = client.job([b"a", bad, b"k=a", b"k=b"], ["folded.picky"], errors="yield")
        results = list(client.submit())
        [error] = [error for error in results if isinstance(error, HandlerFailed)]
        assert error.kind == kind and (error.sequence == 1) != ("key b''" in str(error)), error
        assert [one for one in results if one is not error and one != b"a"] == [b"k=ak=b"]
        assert tuple(job.ledger) == (4, 3, 1, 0, 0, 0)


def a_result_that_fails_behind_a_reduction_is_a_failure(client: Client) -> None:
    """One message for each such result has failed; the other results are there."""
    job = client.job(NUMBERS, ["tens.join", "work.fails_on_two"], errors="yield")
    assert len(list(client.submit())) == 3 and tuple(job.ledger) == (30, 30, 0, 0, 0, 0)
    job = client.job([b"a.2"], ["folded.join", "work.fails_on_two"], errors="yield")
    [error] = client.submit()
    assert isinstance(error, HandlerFailed) and error.text == "two (the result of a reduction for key b'')"
    assert error.function == "fails_on_two" and tuple(job.ledger) == (1, 0, 1, 0, 0, 0)


def a_reduction_in_a_wrong_place_is_refused(client: Client) -> None:
    """In a branch, in a job that must not run twice, and in a single call."""
    for job, said in (
        (client.job(NUMBERS, ["split.copy", [["folded.join"], ["work.tag"]]]), "stands in a branch"),
        (client.job(NUMBERS, ["folded.join"], at_most_once=True), "leave out at_most_once"),
    ):
        with pytest.raises(BadRequest, match=said):
            list(client.submit(job))
    with pytest.raises(BadRequest, match="use map or a job"):
        client.call("folded.join", b"x")


CHECKS: list[Check] = [
    many_results_come_in_the_order_of_their_paths,
    results_without_order_are_all_there,
    a_message_may_end_without_a_result,
    a_part_that_fails_fails_its_message,
    a_generator_that_raises_fails_its_message,
    a_call_takes_one_result,
    branches_get_copies_and_are_zipped,
    named_outputs_choose_their_branch,
    an_ordered_sink_sees_messages_in_order,
    coroutines_of_an_ordered_sink_run_one_after_another,
    a_route_that_cannot_work_is_refused_before_its_first_message,
    a_handler_sees_its_message,
    a_reduction_is_the_serial_fold,
    each_key_has_a_result,
    results_may_come_each_so_many_messages,
    what_cannot_be_folded_fails_alone,
    a_result_that_fails_behind_a_reduction_is_a_failure,
    a_reduction_in_a_wrong_place_is_refused,
    workers_of_a_butterfly_may_have_many_results_or_none,
    a_message_is_taken_apart_and_gathered_in_order,
    parts_of_parts_are_gathered_each_by_itself,
    a_part_that_fails_counts_as_the_server_says,
    parts_that_hang_cost_their_time_and_no_more,
    what_scatter_or_gather_does_wrong_fails_its_message,
]
