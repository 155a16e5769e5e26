"""The checks of runs, deadlines, rates, keys and routes, on histories made by hand."""

from __future__ import annotations

from palm.sim.checkers import Verdict
from palm.sim.history import Entry, EntryKind, History, Interval
from palm.sim.promises import at_most_once, converged, deadline_honest, goodput, per_key_order, stale_route
from palm.sim.scenario.units import Rate

HOLDS, BROKEN, INCONCLUSIVE = Verdict.HOLDS, Verdict.BROKEN, Verdict.INCONCLUSIVE
S = 10**9


def entry(at_s: float, kind: EntryKind, sequence: int = -1, instance: str = "", life: str = "") -> Entry:
    server = instance.partition("[")[0]
    return Entry(round(at_s * S), kind, "main" if sequence >= 0 else "", sequence, server, instance, 1, life)


def history(*entries: Entry, end_s: float = 100, **active: tuple[float, float]) -> History:
    spans = {step: (Interval(round(a * S), round(b * S)),) for step, (a, b) in active.items()}
    return History(entries=sorted(entries), end_ns=round(end_s * S), active=spans)


def ran(sequence: int, server: str = "count") -> Entry:
    return entry(1, EntryKind.HANDLING, sequence, f"{server}[0]")


def test_at_most_once_counts_runs_against_visits():
    """A route that visits a server twice may run a message there twice, and no more."""
    run = history(ran(0), ran(0), ran(1))
    assert at_most_once(run, job="main", visits={"count": 1}).verdict is BROKEN
    assert at_most_once(run, job="main", visits={"count": 2}).verdict is HOLDS
    assert at_most_once(history(), job="main", visits={"count": 1}).verdict is INCONCLUSIVE


def delivered(*sequences: int) -> History:
    return history(*(entry(at, EntryKind.DELIVERED, sequence) for at, sequence in enumerate(sequences)))


def test_order_is_asked_for_within_a_key_only():
    """Messages of different keys may overtake each other."""
    keys = [b"a", b"b", b"a"]
    assert per_key_order(delivered(1, 0, 2), job="main", keys=keys).verdict is HOLDS
    assert per_key_order(delivered(2, 1, 0), job="main", keys=keys).verdict is BROKEN
    assert per_key_order(delivered(1, 0), job="main", keys=keys).verdict is INCONCLUSIVE


def ended(kind: EntryKind | None, at_s: float) -> History:
    entries = [entry(0, EntryKind.SENT, 0)]
    return history(*entries, *([] if kind is None else [entry(at_s, kind, 0)]))


def test_deadlines_are_kept_from_both_sides():
    """An end after the deadline and its grace, an expiry before it, and silence are three ways to break it."""

    def verdict(run: History) -> Verdict:
        return deadline_honest(run, job="main", deadline_ns=10 * S, grace_ns=S).verdict

    assert verdict(ended(EntryKind.DELIVERED, 10.5)) is HOLDS
    assert verdict(ended(EntryKind.EXPIRED, 10)) is HOLDS
    assert verdict(ended(EntryKind.DELIVERED, 12)) is BROKEN
    assert verdict(ended(EntryKind.EXPIRED, 9)) is BROKEN
    assert verdict(ended(None, 0)) is BROKEN


def test_goodput_is_judged_where_it_was_asked_for():
    """Ten in the first ten seconds, none in the next: enough on the whole, too little during the fault."""
    entries = [entry(0, EntryKind.SENT, 0), *(entry(second, EntryKind.DELIVERED, second) for second in range(1, 11))]
    run = history(*entries, dark=(10.5, 20), blink=(3, 3))
    assert goodput(run, job="main", least=Rate(1, S), during=None).verdict is HOLDS
    assert goodput(run, job="main", least=Rate(1, S), during="dark").verdict is BROKEN
    assert goodput(run, job="main", least=Rate(1, S), during="blink").verdict is INCONCLUSIVE


def test_who_left_the_registry_runs_nothing_for_long():
    """By life: the next life of an instance is another one, and one that registered again is there."""
    there = entry(0, EntryKind.REGISTERED, instance="count[0]", life="old")
    gone = entry(5, EntryKind.LEASE_EXPIRED, instance="count[0]", life="old")
    again = entry(7, EntryKind.REGISTERED, instance="count[0]", life="old")
    late = entry(9, EntryKind.HANDLING, 0, "count[0]", "old")
    assert stale_route(history(there, gone, late), server=None, within_ns=3 * S).verdict is BROKEN
    assert stale_route(history(there, gone, late), server=None, within_ns=5 * S).verdict is HOLDS
    assert stale_route(history(there, gone, again, late), server="count", within_ns=3 * S).verdict is HOLDS
    assert stale_route(history(there, late), server=None, within_ns=3 * S).verdict is INCONCLUSIVE


def test_views_must_agree_at_one_moment_of_the_window():
    """Agreement before the step does not count; it may last into the window."""
    looks = [entry(0, EntryKind.DIVERGED), entry(1, EntryKind.CONVERGED), entry(8, EntryKind.DIVERGED)]
    run = history(*looks, entry(20, EntryKind.CONVERGED), early=(2, 3), late=(9, 10))
    assert converged(run, within_ns=S, after="early").verdict is HOLDS
    assert converged(run, within_ns=5 * S, after="late").verdict is BROKEN
    assert converged(run, within_ns=11 * S, after="late").verdict is HOLDS
    assert converged(run, within_ns=S, after="none").verdict is INCONCLUSIVE
