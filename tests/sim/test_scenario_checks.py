"""The checks in the box, on histories made by hand and on drawn ones."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.observe.ledger import Ledger
from palm.sim.checkers import (
    CheckResult,
    Verdict,
    bounded,
    conserved,
    drained,
    exactly_once,
    in_order,
    latency,
    must_bite,
    never,
    no_orphans,
    one_holder,
    registered,
    sometimes,
)
from palm.sim.checkers import results as results_check
from palm.sim.history import ENDS, Entry, EntryKind, History, Interval
from palm.sim.judge import judge, overall, run_check
from palm.sim.scenario import load
from palm.sim.scenario.expectations import CHECKS, Sighting
from palm.sim.scenario.sources import Run
from palm.sim.scenario.units import Rate

HOLDS, BROKEN, INCONCLUSIVE = Verdict.HOLDS, Verdict.BROKEN, Verdict.INCONCLUSIVE
SENT, DELIVERED, EXPIRED = EntryKind.SENT, EntryKind.DELIVERED, EntryKind.EXPIRED
REGISTERED, LEASE_EXPIRED, CRASHED = EntryKind.REGISTERED, EntryKind.LEASE_EXPIRED, EntryKind.CRASHED
S = 10**9
PARTITION = Path(__file__).parents[2] / "scenarios" / "partition.yaml"


def nothing_is_wrong(run: History) -> str:
    """A check of a scenario's own."""
    return ""


def message(at: int, kind: EntryKind, sequence: int) -> Entry:
    return Entry(at, kind, job="main", sequence=sequence)


def history(entries: Sequence[Entry], **more: object) -> History:
    end = more.pop("end_ns", entries[-1].at if entries else 0)
    return History(entries=entries, end_ns=end, **more)  # type: ignore[arg-type]


@st.composite
def sound_runs(draw: st.DrawFn) -> History:
    """Runs as PALM promises them: each message sent once and ended at most once, counted by the client as it was."""
    count = draw(st.integers(1, 30))
    fates = draw(st.lists(st.sampled_from([*ENDS, None]), min_size=count, max_size=count))
    events: list[Entry] = []
    for sequence, fate in enumerate(fates):
        sent = draw(st.integers(0, 1000))
        events.append(message(sent, SENT, sequence))
        if fate is not None:
            events.append(message(sent + draw(st.integers(1, 1000)), fate, sequence))
    names = [ENDS[fate] if fate is not None else "in_flight" for fate in fates]
    counted = Ledger(sent=count, **{name: names.count(name) for name in set(names)})
    return history(sorted(events, key=lambda entry: entry.at), counts={"main": counted}, end_ns=3000)


# -- messages ---------------------------------------------------------------------------------------------------------


@given(sound_runs())
def test_a_sound_run_is_conserved(run):
    """Whatever the ends, the ledger adds up."""
    assert conserved(run, jobs=["main"]).verdict is HOLDS


@given(sound_runs(), st.data())
def test_a_run_with_an_event_doubled_or_lost_is_not_conserved(run, data):
    """Take any message event out, or put any in twice: the check sees it, by the events or by the client's count."""
    place = data.draw(st.integers(0, len(run.entries) - 1))
    cut = history([*run.entries[:place], *run.entries[place + 1 :]], counts=run.counts)
    doubled = history([*run.entries[: place + 1], *run.entries[place:]], counts=run.counts)
    assert conserved(doubled, jobs=["main"]).verdict is BROKEN
    assert conserved(cut, jobs=["main"]).verdict is not HOLDS


def test_a_client_that_counts_otherwise_than_the_events_is_found():
    """A ledger that adds up is not enough: it must say what happened."""
    run = history([message(1, SENT, 0), message(2, DELIVERED, 0)], counts={"main": Ledger(sent=1, expired=1)})
    result = conserved(run, jobs=["main"])
    assert result.verdict is BROKEN and "the client counted" in result.why


def test_a_run_that_sent_nothing_proves_nothing():
    """Every check of messages is inconclusive about no messages, except where messages were expected."""
    run = history([], end_ns=S)
    assert conserved(run, jobs=["main"]).verdict is INCONCLUSIVE
    assert in_order(run, job="main").verdict is INCONCLUSIVE
    assert bounded(run, job="main", limit=1).verdict is INCONCLUSIVE
    assert drained(run, job="main", within_ns=None, after=None).verdict is INCONCLUSIVE
    assert exactly_once(run, job="main", count=1).verdict is BROKEN


@given(sound_runs())
def test_exactly_once_holds_only_where_every_message_was_delivered(run):
    """Expired, failed and dead-lettered messages were not."""
    tally = run.counts["main"]
    result = exactly_once(run, job="main", count=tally.sent)
    assert result.verdict is (HOLDS if tally.delivered == tally.sent else BROKEN)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([message(1, SENT, 0), message(2, DELIVERED, 0), message(3, DELIVERED, 0)], "delivered more than once: 0"),
        ([message(1, SENT, 0), message(2, DELIVERED, 0), message(3, DELIVERED, 9)], "delivered but never sent: 9"),
        ([message(1, SENT, 0)], "1 were not delivered (1 still in flight at the end): 0"),
        ([message(1, SENT, 0), message(2, EXPIRED, 0)], "1 were not delivered (1 expired): 0"),
        ([message(1, SENT, 0), message(2, DELIVERED, 0)], "1 of its 2 messages were sent when the run ended"),
    ],
)
def test_exactly_once_names_what_it_missed(entries, said):
    """Doubled, invented, lost, and never sent are four findings."""
    result = exactly_once(history(entries), job="main", count=2)
    assert result.verdict is BROKEN and said in result.why


@given(st.lists(st.integers(0, 20), min_size=2, max_size=10))
def test_in_order_is_strictly_rising(sequences):
    """Gaps are no disorder; repeats are."""
    run = history([message(at, DELIVERED, sequence) for at, sequence in enumerate(sequences)])
    rises = all(a < b for a, b in pairwise(sequences))
    assert in_order(run, job="main").verdict is (HOLDS if rises else BROKEN)


@given(sound_runs(), st.integers(1, 31))
def test_bounded_is_the_highest_level_of_messages_in_flight(run, limit):
    """The same as counting at every moment."""
    level, most = 0, 0
    for entry in run.entries:
        level += 1 if entry.kind is SENT else -1
        most = max(most, level)
    assert bounded(run, job="main", limit=limit).verdict is (HOLDS if most <= limit else BROKEN)


def test_bounded_names_the_highest_level_and_its_moment():
    """Where to look in the trace."""
    run = history([message(1 * S, SENT, 0), message(2 * S, SENT, 1), message(3 * S, DELIVERED, 0)])
    assert bounded(run, job="main", limit=1).why == "main: at most 2 in flight, at 2s; the limit is 1"


@given(sound_runs())
def test_drained_at_the_end_means_nothing_in_flight(run):
    """The end of the run is what counts, not a quiet moment before."""
    result = drained(run, job="main", within_ns=None, after=None)
    assert result.verdict is (HOLDS if run.counts["main"].in_flight == 0 else BROKEN)


def test_drained_within_a_time_needs_one_quiet_moment_in_it():
    """Not before the step is over, and not after the time."""
    entries = [message(1, SENT, 0), message(5, DELIVERED, 0), message(6, SENT, 1), message(20, DELIVERED, 1)]
    active = {"cut": (Interval(2, 7),)}
    run = history(entries, active=active, end_ns=30)
    assert drained(run, job="main", within_ns=10, after="cut").verdict is BROKEN
    assert drained(run, job="main", within_ns=13, after="cut").verdict is HOLDS
    assert drained(run, job="main", within_ns=13, after="other").verdict is INCONCLUSIVE


@given(st.lists(st.integers(1, 10**9), min_size=100, max_size=150), st.integers(1, 10**9))
def test_the_p99_is_at_least_as_large_as_99_of_100(times, limit):
    """The nearest rank: the least value with at least 99 % of all at or below it."""
    events = [message(0, SENT, n) for n in range(len(times))]
    events += [message(at, DELIVERED, n) for at, n in sorted((at, n) for n, at in enumerate(times))]
    within = sum(at <= limit for at in times) * 100 >= 99 * len(times)
    assert latency(history(events), job="main", p50_ns=None, p99_ns=limit).verdict is (HOLDS if within else BROKEN)


def test_latency_leaves_out_what_was_in_flight_during_a_fault():
    """A message counts only if no moment of its flight was in the fault."""
    events = [message(n, SENT, n) for n in range(200)] + [message(1000 + n, DELIVERED, n) for n in range(200)]
    slow = [message(5000, SENT, 200), message(9000, DELIVERED, 200)]
    run = history(events + slow, active={"cut": (Interval(6000, 7000),)})
    assert latency(run, job="main", p50_ns=None, p99_ns=1000, outside=["cut"]).verdict is HOLDS
    all_of_it = history(events + slow, active={"cut": (Interval(0, 9000),)})
    assert latency(all_of_it, job="main", p50_ns=None, p99_ns=1000, outside=["cut"]).verdict is INCONCLUSIVE


# -- instances --------------------------------------------------------------------------------------------------------


def instance(at: int, kind: EntryKind, index: int, life: str) -> Entry:
    return Entry(at, kind, server="count", instance=f"count[{index}]", detail=life)


def test_registered_counts_living_instances_and_not_their_remains():
    """A record that outlives its process does not stand for the next one."""
    entries = [
        instance(1, REGISTERED, 0, "a"),
        instance(1, REGISTERED, 1, "b"),
        instance(10, CRASHED, 1, "b"),
        instance(18, REGISTERED, 1, "c"),
        instance(19, LEASE_EXPIRED, 1, "b"),
    ]
    run = history(entries, active={"die": (Interval(10, 12),)}, end_ns=50)
    assert registered(run, sizes={"count": 2}, within_ns=5, after="die").verdict is BROKEN
    assert registered(run, sizes={"count": 2}, within_ns=6, after="die").verdict is HOLDS
    assert registered(run, sizes={"count": 2}, within_ns=5, after=None).verdict is HOLDS


def test_registered_says_who_is_missing():
    """And by when it should have been there."""
    run = history([instance(1, REGISTERED, 0, "a")], end_ns=100 * S)
    result = registered(run, sizes={"count": 2}, within_ns=5 * S, after=None)
    assert (result.verdict, result.why) == (BROKEN, "not registered: 1 of 2 of count, from 0ns to 5s")


def test_registered_is_inconclusive_where_the_run_ends_too_early():
    """What would have come later, nobody knows."""
    run = history([instance(1, REGISTERED, 0, "a")], end_ns=4)
    assert registered(run, sizes={"count": 2}, within_ns=5, after=None).verdict is INCONCLUSIVE


def test_a_fenced_role_has_no_worker_who_goes_back_to_an_earlier_leader():
    """Each worker by itself: one may hear of the new leader later than another."""

    def obeyed(*orders: tuple[int, str, str]) -> History:
        led = Entry(at=0, kind=EntryKind.LED, server="s", instance="s[0]", detail="4")
        return history(
            [led] + [Entry(at=at, kind=EntryKind.OBEYED, server="s", instance=who, detail=t) for at, who, t in orders]
        )

    good = obeyed((1, "s[1]", "4"), (2, "s[1]", "9"), (3, "s[2]", "4"), (4, "s[2]", "9"))
    assert one_holder(good, server="s", fenced=True).verdict is Verdict.HOLDS
    bad = obeyed((1, "s[1]", "9"), (2, "s[1]", "4"))
    assert one_holder(bad, server="s").verdict is Verdict.HOLDS
    found = one_holder(bad, server="s", fenced=True)
    assert found.verdict is Verdict.BROKEN and "s[1] obeyed a leader of term 4" in found.why


def test_orphans_need_somebody_who_looked():
    """Nothing found and nobody looked are not the same."""
    verdicts = [no_orphans(history([], left_open=left)).verdict for left in ([], ["a lease"], None)]
    assert verdicts == [HOLDS, BROKEN, INCONCLUSIVE]


# -- sightings and faults ---------------------------------------------------------------------------------------------


def test_sometimes_and_never_look_for_one_event_in_one_place():
    """Kind, server, job and the activity of a step all narrow it down."""
    run = history([instance(5, LEASE_EXPIRED, 0, "a")], active={"cut": (Interval(3, 6),), "late": (Interval(7, 9),)})
    seen = [{}, {"server": "count"}, {"during": "cut"}]
    unseen = [{"server": "clean"}, {"job": "main"}, {"during": "late"}, {"during": "none"}]
    for narrowed in seen:
        assert sometimes(Sighting(seen="lease-expired", **narrowed), run).verdict is HOLDS
        assert never(Sighting(seen="lease-expired", **narrowed), run).verdict is BROKEN
    for narrowed in unseen:
        assert sometimes(Sighting(seen="lease-expired", **narrowed), run).verdict is INCONCLUSIVE
        assert never(Sighting(seen="lease-expired", **narrowed), run).verdict is HOLDS


def test_a_fault_that_was_not_done_or_bit_nothing_makes_the_run_inconclusive():
    """Each by its name."""
    run = history([], active={"cut": (Interval(1, 2),), "die": (Interval(1, 1),)}, touched={"cut": 3})
    assert must_bite(["cut"], run).verdict is HOLDS
    result = must_bite(["cut", "die", "back"], run)
    assert (result.verdict, result.why) == (INCONCLUSIVE, "back was never done, die touched nothing")


# -- reductions -------------------------------------------------------------------------------------------------------


def reduced(absorbed: int, *settled: str) -> list[Entry]:
    """Ten messages are sent, the first of them absorbed, and some settled."""
    sent = [Entry(1, SENT, "main", sequence) for sequence in range(10)]
    return [
        *sent,
        *(Entry(2, EntryKind.ABSORBED, "main", sequence) for sequence in range(absorbed)),
        *(Entry(3, EntryKind.SETTLED, "main", detail=one) for one in settled),
    ]


def test_absorbed_messages_are_in_flight_until_they_are_settled():
    """And are delivered with the result that they are in; never more of them than were absorbed."""
    for entries, ledger in (
        (reduced(10), Ledger(sent=10, in_flight=10)),
        (reduced(10, "6 delivered"), Ledger(sent=10, delivered=6, in_flight=4)),
        (reduced(10, "6 delivered", "4 failed"), Ledger(sent=10, delivered=6, failed=4)),
    ):
        run = History(entries=entries, end_ns=S, counts={"main": ledger})
        assert conserved(run, jobs=["main"]).verdict is HOLDS, ledger
    assert conserved(history(reduced(3, "4 delivered")), jobs=["main"]).verdict is BROKEN
    assert exactly_once(history(reduced(10, "10 delivered")), job="main", count=10).verdict is HOLDS
    assert exactly_once(history(reduced(10, "9 delivered", "1 failed")), job="main", count=10).verdict is BROKEN
    assert exactly_once(history(reduced(9, "9 delivered")), job="main", count=10).verdict is BROKEN


def test_results_are_those_expected_however_they_are_ordered():
    """None missing, none beyond, none twice; where nobody kept them, nobody can tell."""
    run = History(entries=[], end_ns=S, results={"main": [b"2", b"1"]})
    assert results_check(run, job="main", expected=[b"1", b"2"]).verdict is HOLDS
    for expected, said in (([b"1"], "beyond"), ([b"1", b"2", b"2"], "missing"), ([b"1", b"3"], "missing b'3'")):
        result = results_check(run, job="main", expected=expected)
        assert result.verdict is BROKEN and said in result.why
    assert results_check(history([]), job="main", expected=[]).verdict is INCONCLUSIVE


# -- all together -----------------------------------------------------------------------------------------------------

PARTITION = Path(__file__).parents[2] / "scenarios" / "partition.yaml"


def test_judging_an_empty_run_of_the_first_scenario_is_no_pass():
    """Every expectation has its result, the ledger first, and nothing that did not happen holds."""
    scenario = load(PARTITION)
    results = judge(scenario, History(entries=[], end_ns=scenario.clock.limit_ns))
    expect = scenario.expect
    asked = len(expect.always) + len(expect.eventually) + len(expect.finally_) + len(expect.sometimes)
    assert len(results) == 1 + asked + 1
    assert results[0].check == "conserved"
    assert HOLDS not in [result.verdict for result in results]
    assert overall(results) is BROKEN


def test_every_check_of_the_table_is_judged():
    """A check that a file may ask for is one that `run_check` knows, under the same name."""
    run = history([], end_ns=S)
    own = Run(Path(__file__), "nothing_is_wrong", None)
    values: dict[str, object] = {"least": Rate(1, S), "run": own}
    values |= {"job": "main", "limit": 1, "server": "count", "servers": ("count",), "within_ns": 1, "p99_ns": 1}
    values["use"] = "kv"
    values["expected"] = (b"1",)
    job = load(PARTITION).load[0]
    for name, shape in CHECKS.items():
        check = shape(**{key: value for key, value in values.items() if key in shape.__dataclass_fields__})
        assert run_check(check, run, {"count": 1}, {"main": job}).check == name == shape.name


@given(st.lists(st.sampled_from(Verdict)))
def test_the_overall_verdict_is_the_worst_and_a_finding_beats_a_doubt(verdicts):
    """Its exit code is 0, 1 or 2."""
    results = [CheckResult(check="x", verdict=verdict, why="") for verdict in verdicts]
    worst = BROKEN if BROKEN in verdicts else INCONCLUSIVE if INCONCLUSIVE in verdicts else HOLDS
    assert overall(results) is worst
    assert worst.exit_code == {HOLDS: 0, BROKEN: 1, INCONCLUSIVE: 2}[worst]
