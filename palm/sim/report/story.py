"""A run told in sentences: who ran, what was done to them, what followed, and how it ended."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple, Sequence

from palm.core.route import Branching, Route
from palm.sim.checkers import Verdict
from palm.sim.history import ENDS, Entry, EntryKind, History, Interval
from palm.sim.network import Ends
from palm.sim.report.film import Film
from palm.sim.scenario import actions
from palm.sim.scenario.names import TheRegistry
from palm.sim.scenario.scenario import Scenario
from palm.sim.scenario.script import Step
from palm.sim.simulation import Result

SURPRISES_MOST = 40
"""Events beside the script that are told one by one."""


class Line(NamedTuple):
    """One sentence, and what of the run it is about."""

    at: int
    text: str
    mark: str = ""
    """`fault`, `bad`, or nothing."""
    to: int | None = None
    """The end of what it tells; None where that is a moment."""
    message: tuple[str, int] | None = None
    """The message that it is about, as job and sequence."""


def story(scenario: Scenario, result: Result, film: Film) -> list[Line]:
    """In order of time; the beginning comes first and the verdicts last."""
    history = result.history
    middle = [*_faults(scenario, history, film), *_surprises(scenario, history, film), *_jobs(scenario, history)]
    middle.sort(key=lambda line: line.at)
    return [_beginning(scenario), *middle, *_verdicts(result)]


def _beginning(scenario: Scenario) -> Line:
    servers = ", ".join(
        f"{_count(len(server.places), 'instance')} of {name}" for name, server in scenario.world.servers.items()
    )
    jobs = "; ".join(
        f"{job.client} sends {_count(job.messages.count, 'message')} of {job.id} to {_route(job.route)}"
        for job in scenario.load
    )
    return Line(0, f"There are {servers}. {jobs}.")


def _route(route: Route) -> str:
    stages = ", ".join(map(str, route))
    return f"{stages} (in branches)" if isinstance(route, Branching) else stages


# -- faults -----------------------------------------------------------------------------------------------------------


def _faults(scenario: Scenario, history: History, film: Film) -> list[Line]:
    lines = []
    for step in scenario.script:
        for interval in history.active.get(step.id, ()):
            text = fault_words(step, history, film) + _meanwhile(history, interval)
            lines.append(Line(interval.start, text, "fault", interval.end))
    return lines


def fault_words(step: Step, history: History, film: Film) -> str:
    """One sentence on what was done, for how long, and what it touched; "" where the step was never done."""
    intervals = history.active.get(step.id, ())
    if not intervals:
        return ""
    begin, end = intervals[0].start, intervals[-1].end
    died = isinstance(step.action, actions.Crash) and step.action.memory == "lost"
    down = ", and was down" if died else ""
    lasted = f"{down} for {moment(end - begin)}" if end > begin else ""
    touched = history.touched.get(step.id, 0)
    what, bitten = _done(step.action, ", ".join(film.subjects.get(step.id, ())) or "nobody")
    bite = f": {_count(touched, *bitten)}" if bitten and touched else "; it touched nothing" if not touched else ""
    return f"At {moment(begin)} {what}{lasted} ({step.id}){bite}."


_Bitten = tuple[str, str] | tuple[()]


def _done(action: actions.Action, who: str) -> tuple[str, _Bitten]:
    """What an action does, and the words for what it touched, for one and for more."""
    frames = "frame was", "frames were"
    match action:
        case actions.Cut():
            lost = "frame was lost or connection broken", "frames were lost or connections broken"
            return f"{_link(action.link)} was cut", lost
        case actions.Hold():
            return f"frames on {_link(action.link)} were held", (f"{frames[0]} held", f"{frames[1]} held")
        case actions.Slow():
            return f"{_link(action.link)} was slow", (f"{frames[0]} slowed down", f"{frames[1]} slowed down")
        case actions.Lose():
            return f"{_link(action.link)} lost frames", (f"{frames[0]} lost", f"{frames[1]} lost")
        case actions.Twice():
            return f"{_link(action.link)} doubled frames", ("frame came twice", "frames came twice")
        case actions.Shuffle():
            return f"{_link(action.link)} shuffled frames", ("frame left its place", "frames left their places")
        case actions.Throttle():
            return f"{_link(action.link)} was throttled", ("frame met the limit", "frames met the limit")
        case actions.Heal():
            where = "all links were" if action.link is None else f"{_link(action.link)} was"
            return f"{where} healed", ("fault ended", "faults ended")
        case actions.Crash(memory="kept"):
            return f"{who} was suspended with its memory", ()
        case actions.Crash():
            return f"{who} died", ()
        case actions.DiskFull():
            whose = "registry" if isinstance(action.who, TheRegistry) else who
            return f"the disk of {whose} was full", ("write was refused", "writes were refused")
        case actions.Restart():
            return f"{who} was started again", ()
        case actions.Freeze():
            return f"{who} stood still", ()
        case actions.RegistryDown():
            return "the registry was away", ("request had no answer", "requests had no answer")
    name = next((name for name, kind in actions.ACTIONS.items() if kind is type(action)), type(action).__name__)
    return f"{name} was done", ("thing was touched", "things were touched")


def _link(ends: Ends) -> str:
    return f"{ends.src} {'<->' if ends.both else '->'} {ends.dst}"


def _meanwhile(history: History, interval: Interval) -> str:
    """What was to be seen while it lasted."""
    counts: Counter[EntryKind] = Counter()
    gone: dict[str, None] = {}
    if interval.end > interval.start:
        for entry in _between(history.entries, interval):
            counts[entry.kind] += 1
            if entry.kind is EntryKind.LEASE_EXPIRED:
                gone[entry.instance] = None
    said = []
    if counts[EntryKind.REDELIVERED]:
        said.append(f"{_count(counts[EntryKind.REDELIVERED], 'message was', 'messages were')} sent again")
    if gone:
        said.append(f"the registry gave up {', '.join(gone)}")
    if counts[EntryKind.REMEMBERED]:
        said.append(f"{_count(counts[EntryKind.REMEMBERED], 'answer')} came from memory")
    said += [
        f"{_count(counts[kind], 'message')} ended as {kind.value}"
        for kind in ENDS
        if kind is not EntryKind.DELIVERED and counts[kind]
    ]
    return f" Meanwhile {', '.join(said)}." if said else ""


def _between(entries: Sequence[Entry], interval: Interval) -> list[Entry]:
    return [entry for entry in entries if interval.start <= entry.at <= interval.end]


# -- beside the script ------------------------------------------------------------------------------------------------

_SURPRISES = {
    EntryKind.CRASHED: ("{} died", "bad"),
    EntryKind.STOPPED: ("{} stopped in good order", ""),
    EntryKind.LEASE_EXPIRED: ("the lease of {} expired, and nobody sends to it any more", "bad"),
    EntryKind.ELECTED: ("{} was elected, and leads its server", ""),
    EntryKind.DEPOSED: ("{} leads no more", ""),
}


def _surprises(scenario: Scenario, history: History, film: Film) -> list[Line]:
    done = {
        (interval.start, instance)
        for step in scenario.script
        for interval in history.active.get(step.id, ())
        for instance in film.subjects.get(step.id, ())
    }
    found = [
        entry
        for entry in history.entries
        if entry.kind in _SURPRISES and not (entry.kind is EntryKind.CRASHED and (entry.at, entry.instance) in done)
    ]
    lines = []
    for entry in found[:SURPRISES_MOST]:
        words, mark = _SURPRISES[entry.kind]
        lines.append(Line(entry.at, f"At {moment(entry.at)} {words.format(entry.instance)}.", mark))
    if len(found) > SURPRISES_MOST:
        rest = found[SURPRISES_MOST:]
        kinds = ", ".join(f"{count} x {kind.value}" for kind, count in Counter(one.kind for one in rest).items())
        lines.append(Line(rest[0].at, f"And more of that kind, not told one by one: {kinds}.", to=rest[-1].at))
    return lines


# -- how it ended -----------------------------------------------------------------------------------------------------


def _jobs(scenario: Scenario, history: History) -> list[Line]:
    lines = []
    for job in scenario.load:
        sent: dict[int, int] = {}
        slowest, longest, last, ended = -1, -1, 0, Counter[EntryKind]()
        for entry in history.entries:
            if entry.job != job.id:
                continue
            if entry.kind is EntryKind.SENT:
                sent[entry.sequence] = entry.at
            elif entry.kind in ENDS:
                ended[entry.kind] += 1
                last = entry.at
                took = entry.at - sent.get(entry.sequence, entry.at)
                if took > longest:
                    slowest, longest = entry.sequence, took
        left = len(sent) - sum(ended.values())
        counts = [f"{count:,} {kind.value}" for kind, count in ended.items()]
        counts += [f"{left:,} still in flight"] if left else []
        text = f"Of {_count(len(sent), 'message')} of {job.id}, {', '.join(counts) or 'none was sent'}"
        text += f"; the last ended at {moment(last)}." if ended else "."
        lines.append(Line(last, text, "bad" if left or len(ended) > (EntryKind.DELIVERED in ended) else ""))
        if slowest >= 0:
            text = f"The slowest of {job.id} was message {slowest}: {moment(longest)} from sent to its end."
            lines.append(Line(sent.get(slowest, 0), text, message=(job.id, slowest)))
    return lines


def _verdicts(result: Result) -> list[Line]:
    end = result.history.end_ns
    wrong = [check for check in result.checks if check.verdict is not Verdict.HOLDS]
    if not wrong:
        return [Line(end, f"All {len(result.checks)} checks hold.")]
    marks = {Verdict.BROKEN: "bad"}
    return [Line(end, f"{one.check} is {one.verdict.value}: {one.why}.", marks.get(one.verdict, "")) for one in wrong]


def moment(ns: int) -> str:
    """Seconds to the millisecond: what a reader can hold on to."""
    return f"{ns / 1_000_000_000:.3f} s"


def _count(number: int, one: str, more: str = "") -> str:
    return f"{number:,} {one if number == 1 else more or f'{one}s'}"
