"""The checks in the box: each reads a history and says holds, broken or inconclusive, and why.

They know nothing of the simulator nor of scenario files, so they judge a recorded real run as well; `palm.sim.judge`
runs those that a scenario asks for.
"""

from __future__ import annotations

from collections import Counter
from typing import Iterator, Mapping, Sequence

from palm.observe.ledger import Ledger
from palm.sim.history import ENDS, Entry, EntryKind, History, Interval, is_of
from palm.sim.linearizable import Operation, linearizable
from palm.sim.scenario.expectations import Sighting
from palm.sim.scenario.units import show_duration
from palm.sim.verdict import CheckResult as CheckResult
from palm.sim.verdict import Verdict as Verdict
from palm.sim.verdict import broken as _broken
from palm.sim.verdict import holds as _holds
from palm.sim.verdict import late as _late
from palm.sim.verdict import message as _message
from palm.sim.verdict import ms as _ms
from palm.sim.verdict import of as _of
from palm.sim.verdict import some as _some
from palm.sim.verdict import unclear as _unclear
from palm.sim.verdict import window as _window

# -- messages ---------------------------------------------------------------------------------------------------------


def conserved(history: History, *, jobs: Sequence[str]) -> CheckResult:
    """Every message that was sent ends at most once, nothing ends that was not sent, and the clients' own ledgers say
    the same as the events."""
    name = "conserved"
    said = []
    for job in jobs:
        tally, problem = _tally(history, job)
        said.append(f"{job}: {tally}")
        if problem:
            return _broken(name, f"{job}: {problem}")
        counted = history.counts.get(job)
        if counted is not None and not counted.adds_up:
            return _broken(name, f"{job}: the client's ledger does not add up: {counted}")
        if counted is not None and counted != tally:
            return _broken(name, f"{job}: the client counted {counted}, but the events say {tally}")
        if counted is None and tally.sent:
            return _unclear(name, f"{job}: the client's own ledger was not recorded")
    if not any(entry.kind is EntryKind.SENT for entry in history.entries):
        return _unclear(name, "nothing was sent")
    return _holds(name, "; ".join(said))


def _tally(history: History, job: str) -> tuple[Ledger, str]:
    """The ledger that the events add up to, and the first thing wrong with them, or nothing."""
    open_: set[int] = set()
    ended: dict[int, EntryKind] = {}
    absorbed, settled = 0, Counter[str]()
    for entry in history.entries:
        if entry.job != job:
            continue
        if entry.kind is EntryKind.ABSORBED:
            absorbed += 1
        elif entry.kind is EntryKind.SETTLED:
            settled.update(_settled(entry))
            if settled.total() > absorbed:
                return Ledger(), f"{settled.total()} absorbed messages have ended, and only {absorbed} were absorbed"
        if entry.kind is EntryKind.SENT:
            if entry.sequence in open_ or entry.sequence in ended:
                return Ledger(), f"{_message(entry)} was sent as new twice"
            open_.add(entry.sequence)
        if entry.kind in ENDS or entry.kind is EntryKind.ABSORBED:
            if entry.sequence in ended:
                before = ended[entry.sequence].value
                return Ledger(), f"{_message(entry)} ended as {entry.kind.value} after it had ended as {before}"
            if entry.sequence not in open_:
                return Ledger(), f"{_message(entry)} ended as {entry.kind.value} but was never sent"
            open_.remove(entry.sequence)
            ended[entry.sequence] = entry.kind
    ends = Counter(ENDS[kind] for kind in ended.values() if kind in ENDS)
    ends.update(settled)
    waiting = len(open_) + absorbed - settled.total()
    return Ledger(sent=len(open_) + len(ended), in_flight=waiting, **ends), ""


def _settled(entry: Entry) -> dict[str, int]:
    """How many absorbed messages have ended, and how."""
    count, _, end = entry.detail.partition(" ")
    return {ENDS[EntryKind(end)]: int(count)}


def exactly_once(history: History, *, job: str, count: int) -> CheckResult:
    """All `count` messages were sent and each was delivered once. Failed and expired ones were not delivered. One that
    a reduction has absorbed is delivered with the result that it is in, if all absorbed ones are."""
    name = "exactly-once"
    kinds = [EntryKind.DELIVERED]
    absorbed = sum(1 for _ in _of(history, job, EntryKind.ABSORBED))
    settled = Counter[str]()
    for entry in _of(history, job, EntryKind.SETTLED):
        settled.update(_settled(entry))
    if absorbed and settled["delivered"] == absorbed:
        kinds.append(EntryKind.ABSORBED)
    delivered = Counter(entry.sequence for entry in _of(history, job, *kinds))
    twice = [sequence for sequence, times in delivered.items() if times > 1]
    if twice:
        return _broken(name, f"{job}: delivered more than once: {_some(twice)}")
    sent = {entry.sequence for entry in _of(history, job, EntryKind.SENT)}
    invented = [sequence for sequence in delivered if sequence not in sent]
    if invented:
        return _broken(name, f"{job}: delivered but never sent: {_some(invented)}")
    missing = sorted(sent - delivered.keys())
    if missing:
        ends = {entry.sequence: entry.kind.value for entry in _of(history, job, *ENDS)}
        fates = Counter(ends.get(sequence, "still in flight at the end") for sequence in missing)
        said = ", ".join(f"{times} {fate}" for fate, times in fates.items())
        return _broken(
            name, f"{job}: of {len(sent)} sent, {len(missing)} were not delivered ({said}): {_some(missing)}"
        )
    if len(sent) != count:
        return _broken(name, f"{job}: {len(sent)} of its {count} messages were sent when the run ended")
    return _holds(name, f"{job}: {count} sent, each delivered once")


def results(history: History, *, job: str, expected: Sequence[bytes]) -> CheckResult:
    """What the caller got is what was expected, however it is ordered."""
    name = "results"
    got = history.results.get(job)
    if got is None:
        return _unclear(name, f"{job}: its results were not kept")
    missing, beyond = Counter(expected) - Counter(got), Counter(got) - Counter(expected)
    if missing or beyond:
        said = [f"missing {_some(list(missing))}"] if missing else []
        said += [f"beyond what was expected {_some(list(beyond))}"] if beyond else []
        return _broken(name, f"{job}: {' and '.join(said)}, of {len(expected)} expected")
    return _holds(name, f"{job}: all {len(expected)} as expected")


def in_order(history: History, *, job: str) -> CheckResult:
    """Sequences of what is delivered only rise. Messages that end in another way may be missing."""
    highest = -1
    seen = 0
    for entry in _of(history, job, EntryKind.DELIVERED):
        if entry.sequence <= highest:
            return _broken("in-order", f"{_message(entry)} was delivered after message {highest}")
        highest = entry.sequence
        seen += 1
    if seen < 2:
        return _unclear("in-order", f"{job}: {seen} delivered, which has no order")
    return _holds("in-order", f"{job}: {seen} delivered in the order sent")


def bounded(history: History, *, job: str, limit: int) -> CheckResult:
    """At no time more than `limit` messages were sent and not ended."""
    most, most_at = 0, 0
    for moment, in_flight in _in_flight(history, job):
        if in_flight > most:
            most, most_at = in_flight, moment
    if most == 0:
        return _unclear("bounded", f"{job}: nothing was sent")
    why = f"{job}: at most {most} in flight, at {show_duration(most_at)}; the limit is {limit}"
    return _broken("bounded", why) if most > limit else _holds("bounded", why)


def drained(history: History, *, job: str, within_ns: int | None, after: str | None) -> CheckResult:
    """Nothing in flight: at the end, or where `within_ns` is given at some moment from step `after` on."""
    name = "drained"
    levels = list(_in_flight(history, job))
    if not levels:
        return _unclear(name, f"{job}: nothing was sent")
    if within_ns is None and after is None:
        left = levels[-1][1]
        if left:
            return _broken(name, f"{job}: {left} still in flight at the end, {show_duration(history.end_ns)}")
        return _holds(name, f"{job}: nothing in flight since {show_duration(levels[-1][0])}")
    window = _window(history, within_ns, after)
    if window is None:
        return _unclear(name, f"{job}: step {after} was never done")
    before = [level for moment, level in levels if moment <= window.start]
    moments = [(window.start, before[-1] if before else 0)]
    moments += [(moment, level) for moment, level in levels if window.start < moment <= window.end]
    if empty := [moment for moment, level in moments if level == 0]:
        return _holds(name, f"{job}: nothing in flight at {show_duration(empty[0])}")
    return _late(name, f"{job}: never without messages in flight", window, history)


def latency(
    history: History, *, job: str, p50_ns: int | None, p99_ns: int | None, outside: Sequence[str] = ()
) -> CheckResult:
    """Quantiles by nearest rank, of messages whose time in flight touches no active interval of `outside`."""
    name = "latency"
    sent = {entry.sequence: entry.at for entry in _of(history, job, EntryKind.SENT)}
    faults = [interval for step in outside for interval in history.active.get(step, ())]
    spans = [
        (sent[entry.sequence], entry.at) for entry in _of(history, job, EntryKind.DELIVERED) if entry.sequence in sent
    ]
    times = sorted(end - start for start, end in spans if not any(_touch(start, end, fault) for fault in faults))
    where = f"{len(times)} of {len(spans)} messages" + (" outside the faults" if outside else "")
    needed = 100 if p99_ns is not None else 2
    if len(times) < needed:
        return _unclear(name, f"{job}: only {where}; {needed} are needed to tell")
    said, late = [], False
    for label, percent, limit in (("p50", 50, p50_ns), ("p99", 99, p99_ns)):
        if limit is not None:
            value = times[(len(times) * percent + 99) // 100 - 1]
            said.append(f"{label} {_ms(value)} (limit {show_duration(limit)})")
            late = late or value > limit
    why = f"{job}: {', '.join(said)} over {where}"
    return _broken(name, why) if late else _holds(name, why)


# -- instances --------------------------------------------------------------------------------------------------------


def registered(history: History, *, sizes: Mapping[str, int], within_ns: int, after: str | None) -> CheckResult:
    """As many instances of each server as it has are in the registry at one moment from step `after` on.

    One that has crashed is not there, however long its record stays: what counts is that its next life is.
    """
    name = "registered"
    window = _window(history, within_ns, after)
    if window is None:
        return _unclear(name, f"step {after} was never done")
    lives: set[tuple[str, str, str]] = set()
    moment, at = window.start, 0
    entries = history.entries
    missing = dict(sizes)
    while True:
        changed = at == 0
        while at < len(entries) and entries[at].at <= moment:
            changed = _count_lease(entries[at], lives) or changed
            at += 1
        if changed:
            there = Counter(server for server, _ in {(server, instance) for server, instance, _ in lives})
            missing = {server: size - there[server] for server, size in sizes.items() if there[server] < size}
        if not missing:
            since = f", {_ms(moment - window.start)} after {after or 'the start'}"
            return _holds(name, f"all of {', '.join(sizes)} at {show_duration(moment)}{since}")
        if at == len(entries) or entries[at].at > window.end:
            said = ", ".join(f"{count} of {sizes[server]} of {server}" for server, count in missing.items())
            return _late(name, f"not registered: {said}", window, history)
        moment = entries[at].at


_OF_LEASES = (
    *(EntryKind.REGISTERED, EntryKind.DEREGISTERED, EntryKind.LEASE_EXPIRED),
    *(EntryKind.CRASHED, EntryKind.STOPPED),
)


def _count_lease(entry: Entry, lives: set[tuple[str, str, str]]) -> bool:
    """Whether it was one that counts."""
    if entry.kind not in _OF_LEASES:
        return False
    life = (entry.server, entry.instance, entry.detail)
    if entry.kind is EntryKind.REGISTERED:
        lives.add(life)
    elif entry.kind in (EntryKind.DEREGISTERED, EntryKind.LEASE_EXPIRED):
        lives.discard(life)
    else:
        lives.difference_update({one for one in lives if one[:2] == life[:2]})
    return True


def no_orphans(history: History) -> CheckResult:
    """Nothing is open at the end."""
    if history.left_open is None:
        return _unclear("no-orphans", "nobody looked at what was left open")
    if history.left_open:
        return _broken("no-orphans", f"{len(history.left_open)} left open: {_some(history.left_open)}")
    return _holds("no-orphans", "nothing was left open")


def one_holder(history: History, *, server: str, fenced: bool = False) -> CheckResult:
    """Each term has one leader, and once a later one has been elected, none of an earlier term acts.

    `fenced`: nor does a worker that has obeyed a later one obey it."""
    name = "one-holder"
    latest, holders, acts = 0, dict[int, str](), 0
    obeyed: dict[str, int] = {}
    for entry in history.entries:
        if fenced and entry.server == server and entry.kind is EntryKind.OBEYED:
            term, before = int(entry.detail), obeyed.get(entry.instance, 0)
            if term < before:
                late = f"obeyed a leader of term {term} at {show_duration(entry.at)}"
                return _broken(name, f"{server}: {entry.instance} {late}, after one of term {before}")
            obeyed[entry.instance] = term
        if entry.server != server or entry.kind not in (EntryKind.ELECTED, EntryKind.LED):
            continue
        term = int(entry.detail)
        who = f"{entry.instance} of term {term}"
        if holders.setdefault(term, entry.instance) != entry.instance:
            return _broken(name, f"{server}: {who} at {show_duration(entry.at)}; that term is {holders[term]}'s")
        if term < latest:
            did = "acted" if entry.kind is EntryKind.LED else "was elected"
            later = f"{holders[latest]} had been elected in term {latest}"
            return _broken(name, f"{server}: {who} {did} at {show_duration(entry.at)}, after {later}")
        latest = term
        acts += entry.kind is EntryKind.LED
    if not acts:
        return _unclear(name, f"{server}: nobody acted as its leader")
    return _holds(name, f"{server}: {acts} acts of {len(holders)} leaders, each in its own time")


# -- stores -----------------------------------------------------------------------------------------------------------


def linear(history: History, *, use: str) -> CheckResult:
    """All that the clients of that use of a store saw fits into one order."""
    name = "linearizable"
    operations = history.operations.get(use, ())
    ended = sum(one.returned is not None for one in operations)
    said = f"{use}: {ended} operations, and {len(operations) - ended} whose end is unknown"
    if ended < 10 or not any(one.kind == "get" and one.returned is not None for one in operations):
        return _unclear(name, f"{said}: too few to tell")
    finding = linearizable(operations)
    if finding.holds:
        return _holds(name, said)
    where = f"key {finding.key!r}" + (f", at or after {_operation(finding.last)}" if finding.last else "")
    if finding.holds is None:
        return _unclear(name, f"{said}: the search was given up at {where}")
    return _broken(name, f"{said}: no order fits what was seen of {where}")


def _operation(one: Operation) -> str:
    end = "?" if one.returned is None else show_duration(one.returned)
    return f"{one.kind} {one.value!r:.80} -> {one.result!r:.80} of {one.client} ({show_duration(one.called)} to {end})"


# -- sightings and faults ---------------------------------------------------------------------------------------------


def sometimes(sighting: Sighting, history: History) -> CheckResult:
    """Seen at least once; if not, the run has not shown what it was for."""
    name = f"sometimes {_words(sighting)}"
    count, first = _seen(sighting, history)
    if first is None:
        return _unclear(name, "it was never seen")
    return _holds(name, f"seen {count} times, first at {show_duration(first.at)}")


def never(sighting: Sighting, history: History) -> CheckResult:
    name = f"never {_words(sighting)}"
    count, first = _seen(sighting, history)
    if first is None:
        return _holds(name, "it was not seen")
    subject = _message(first) if first.job else first.instance or first.server
    return _broken(name, f"seen {count} times, first at {show_duration(first.at)}: {subject}")


def must_bite(steps: Sequence[str], history: History) -> CheckResult:
    """Every step was done, and touched something."""
    idle = [f"{step} was never done" for step in steps if step not in history.active]
    idle += [f"{step} touched nothing" for step in steps if step in history.active and not history.touched.get(step)]
    if idle:
        return _unclear("faults must-bite", ", ".join(idle))
    return _holds("faults must-bite", ", ".join(f"{step} touched {history.touched[step]}" for step in steps))


def chaos_must_bite(steps: Sequence[str], history: History) -> CheckResult:
    """Of the faults that were drawn, some touched something."""
    bit = [step for step in steps if history.touched.get(step)]
    why = f"{len(bit)} of {len(steps)} drawn steps touched something"
    return _holds("chaos must-bite", why) if bit else _unclear("chaos must-bite", why)


def _seen(sighting: Sighting, history: History) -> tuple[int, Entry | None]:
    kind = EntryKind(sighting.seen)
    during = history.active.get(sighting.during, ()) if sighting.during is not None else None
    count, first = 0, None
    for entry in history.entries:
        if (
            entry.kind is kind
            and sighting.server in (None, entry.server)
            and sighting.name in (None, entry.detail)
            and (sighting.job is None or is_of(entry.job, sighting.job))
            and (during is None or any(_touch(entry.at, entry.at, interval) for interval in during))
        ):
            count += 1
            first = first or entry
    return count, first


# -- small things -----------------------------------------------------------------------------------------------------


def _in_flight(history: History, job: str) -> Iterator[tuple[int, int]]:
    """(moment, messages sent and not ended), after each change. What a reduction has absorbed is in no window."""
    open_: set[int] = set()
    for entry in _of(history, job, EntryKind.SENT, EntryKind.ABSORBED, *ENDS):
        if entry.kind is EntryKind.SENT:
            open_.add(entry.sequence)
        else:
            open_.discard(entry.sequence)
        yield entry.at, len(open_)


def _touch(start: int, end: int, interval: Interval) -> bool:
    return start <= interval.end and end >= interval.start


def _words(sighting: Sighting) -> str:
    said = {name: getattr(sighting, name) for name in ("server", "job", "name", "during")}
    where = [f"{name} {value}" for name, value in said.items() if value is not None]
    return " ".join([sighting.seen, *where])
