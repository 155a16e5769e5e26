"""Checks of what PALM promises beyond the ledger: runs, deadlines, rates, order by key, and who is taken to be there.

Like those of `palm.sim.checkers` they read a history and know of nothing else.
"""

from __future__ import annotations

from collections import Counter
from typing import Mapping, Sequence

from palm.sim.history import ENDS, Entry, EntryKind, History
from palm.sim.scenario.units import Rate, show_duration
from palm.sim.verdict import CheckResult, broken, holds, late, message, ms, of, some, unclear, window

GONE = (EntryKind.DEREGISTERED, EntryKind.LEASE_EXPIRED)


def at_most_once(history: History, *, job: str, visits: Mapping[str, int]) -> CheckResult:
    """No server ran user code for a message more often than the job's route visits it."""
    runs = Counter((entry.server, entry.sequence) for entry in of(history, job, EntryKind.HANDLING))
    again = [f"{sequence} by {server}" for (server, sequence), count in runs.items() if count > visits.get(server, 0)]
    if again:
        return broken("at-most-once", f"{job}: run more often than its route says: {some(again)}")
    if not runs:
        return unclear("at-most-once", f"{job}: nothing was run")
    return holds("at-most-once", f"{job}: {len(runs)} runs, none of them a second time")


def per_key_order(history: History, *, job: str, keys: Sequence[bytes]) -> CheckResult:
    """Of messages with one key, results are delivered in the order in which they were sent. `keys`: by sequence."""
    name = "per-key-order"
    highest: dict[bytes, int] = {}
    delivered = 0
    for entry in of(history, job, EntryKind.DELIVERED):
        key = keys[entry.sequence]
        if entry.sequence <= highest.get(key, -1):
            return broken(name, f"{message(entry)} was delivered after message {highest[key]}, of one key {key!r:.80}")
        highest[key] = entry.sequence
        delivered += 1
    if delivered == len(highest):
        return unclear(name, f"{job}: {delivered} delivered, no two of one key")
    return holds(name, f"{job}: {delivered} delivered, of {len(highest)} keys, each key's in order")


def deadline_honest(history: History, *, job: str, deadline_ns: int, grace_ns: int) -> CheckResult:
    """Every message has ended within its deadline and the grace, and none has expired before its deadline."""
    name = "deadline-honest"
    sent = {entry.sequence: entry.at for entry in of(history, job, EntryKind.SENT)}
    latest = 0
    for entry in of(history, job, *ENDS):
        took = entry.at - sent.pop(entry.sequence, entry.at)
        latest = max(latest, took)
        if took > deadline_ns + grace_ns:
            return broken(name, f"{message(entry)} ended as {entry.kind.value} after {ms(took)}: {_limit(deadline_ns)}")
        if entry.kind is EntryKind.EXPIRED and took < deadline_ns:
            return broken(name, f"{message(entry)} expired after {ms(took)} already: {_limit(deadline_ns)}")
    silent = [sequence for sequence, at in sent.items() if history.end_ns - at > deadline_ns + grace_ns]
    if silent:
        return broken(name, f"{job}: never ended, though their deadline has passed: {some(silent)}")
    return holds(name, f"{job}: the slowest end came after {ms(latest)}; {_limit(deadline_ns)}")


def _limit(deadline_ns: int) -> str:
    return f"its deadline is {show_duration(deadline_ns)}"


def goodput(history: History, *, job: str, least: Rate, during: str | None) -> CheckResult:
    """Results are delivered at that rate on the whole, or while step `during` is active."""
    name = "goodput"
    times = [entry.at for entry in of(history, job, EntryKind.DELIVERED)]
    if during is not None:
        spans = [(span.start, span.end) for span in history.active.get(during, ()) if span.end > span.start]
    else:
        sent = [entry.at for entry in of(history, job, EntryKind.SENT)]
        spans = [(sent[0], times[-1])] if sent and times and times[-1] > sent[0] else []
    if not spans:
        return unclear(name, f"{job}: " + ("nothing was delivered" if during is None else f"{during} never lasted"))
    span_ns = sum(end - start for start, end in spans)
    count = sum(start <= at <= end for at in times for start, end in spans)
    where = f"in {show_duration(span_ns)}" + (f" of {during}" if during else "")
    why = f"{job}: {count} delivered {where}; the least is {least.count} in {show_duration(least.per_ns)}"
    return holds(name, why) if count * least.per_ns >= least.count * span_ns else broken(name, why)


def stale_route(history: History, *, server: str | None, within_ns: int) -> CheckResult:
    """What left the registry runs nothing from `within_ns` after that on: nobody sends to it any more."""
    name = "stale-route"
    gone: dict[tuple[str, str], int] = {}
    left = 0
    for entry in history.entries:
        life = (entry.instance, entry.detail)
        if server not in (None, entry.server):
            continue
        if entry.kind in GONE:
            gone[life] = entry.at
            left += 1
        elif entry.kind is EntryKind.REGISTERED:
            gone.pop(life, None)
        elif entry.kind is EntryKind.HANDLING and entry.at > gone.get(life, entry.at) + within_ns:
            since = ms(entry.at - gone[life])
            return broken(name, f"{message(entry)} ran at {entry.instance}, {since} after that left the registry")
    if not left:
        return unclear(name, "nobody left the registry")
    return holds(name, f"{left} left the registry, and were sent nothing {show_duration(within_ns)} later")


def converged(history: History, *, within_ns: int, after: str | None) -> CheckResult:
    """There is a moment from step `after` on at which all who live see the registry as it is."""
    name = "converged"
    span = window(history, within_ns, after)
    if span is None:
        return unclear(name, f"step {after} was never done")
    looks = [entry for entry in history.entries if entry.kind in (EntryKind.CONVERGED, EntryKind.DIVERGED)]
    if not looks:
        return unclear(name, "nobody compared what is seen")
    before = [entry for entry in looks if entry.at <= span.start]
    behind: Entry | None = None
    for entry in [*before[-1:], *(one for one in looks if span.start < one.at <= span.end)]:
        if entry.kind is EntryKind.CONVERGED:
            at = max(entry.at, span.start)
            return holds(
                name, f"all saw the same at {show_duration(at)}, {ms(at - span.start)} after {after or 'the start'}"
            )
        behind = entry
    who = behind.detail if behind is not None else "nobody had looked"
    return late(name, f"views differ: {who}", span, history)
