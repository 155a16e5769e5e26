"""A run as columns of small integers: what the page's JavaScript reads. Times are differences, names are indices."""

from __future__ import annotations

from typing import Any, Iterable, Sequence

from palm.core.message import Batch, Leg
from palm.errors import BadFrame
from palm.sim.history import ENDS, Entry, EntryKind
from palm.sim.registry_server import PLACE as REGISTRY
from palm.sim.report.film import BROKEN, Film, Shot
from palm.sim.report.story import fault_words
from palm.sim.scenario import actions
from palm.sim.scenario.names import TheRegistry, members_meant
from palm.sim.scenario.scenario import Scenario
from palm.sim.scenario.script import Step
from palm.sim.simulation import Result
from palm.wire.codec import Codec

EVENTS_MAX = 1_000_000

FRAME_KINDS = {
    "message": "message",
    "result": "result",
    "to worker": "worker",
    "from worker": "worker",
    "registry": "registry",
    "control": "control",
}
"""Kinds of frames, and the names of their colours."""
QUIET = ("control",)
"""Heartbeats and greetings: hidden until they are asked for."""
_TOLD = (EntryKind.ELECTED, EntryKind.DEPOSED, EntryKind.LED)
"""Whose `detail` is for people; of the others it is a peer's id."""


class Table(dict[str, int]):
    """Names by their index, in the order in which they were first asked for."""

    def __missing__(self, name: str) -> int:
        self[name] = index = len(self)
        return index


def columns(scenario: Scenario, result: Result, film: Film) -> dict[str, Any]:
    """Everything that the page draws."""
    lanes, places = _lanes(scenario)
    jobs = Table({job.id: index for index, job in enumerate(scenario.load)})
    fates = Table({fate: index for index, fate in enumerate(("sent", "held", "cut", "lost", BROKEN))})
    shots = film.shots
    frames = _frames(shots, film, lanes, jobs, fates)
    entries = result.history.entries[:EVENTS_MAX]
    events, details = _events(entries, lanes, jobs)
    clients = {job.id: lanes[_client(job.client)] for job in scenario.load}
    kinds = list(EntryKind)
    return {
        "end": result.history.end_ns,
        "left_out": film.left_out,
        "lanes": [{"name": name, "place": places.get(name, ""), "server": _server(name)} for name in lanes],
        "jobs": [{"name": name, "lane": clients.get(name, -1)} for name in jobs],
        "kinds": {
            "frames": list(FRAME_KINDS),
            "colours": list(FRAME_KINDS.values()),
            "quiet": QUIET,
            "fates": list(fates),
            "events": [kind.value for kind in kinds],
            "sent": kinds.index(EntryKind.SENT),
            "delivered": kinds.index(EntryKind.DELIVERED),
            "ends": [kinds.index(kind) for kind in ENDS],
        },
        "details": list(details),
        "frames": frames,
        "events": events,
        "faults": [
            {
                "title": f"{step.id}: {_action(step)}",
                "words": fault_words(step, result.history, film),
                "from": interval.start,
                "to": interval.end,
                "lanes": [lanes[name] for name in _touched(step, film, scenario, places) if name in lanes],
            }
            for step in scenario.script
            for interval in result.history.active.get(step.id, ())
        ],
    }


# -- who is there -----------------------------------------------------------------------------------------------------


def _lanes(scenario: Scenario) -> tuple[Table, dict[str, str]]:
    """The processes in the order in which a message meets them, and the host of each."""
    lanes, places = Table(), dict[str, str]()
    for job in scenario.load:
        places[_client(job.client)] = job.client
    for name, server in scenario.world.servers.items():
        places.update({f"{name}[{index}]": place for index, place in enumerate(server.places)})
    places[REGISTRY] = REGISTRY
    for name in places:
        lanes[name]
    return lanes, places


def _client(place: str) -> str:
    return f"client@{place}"


def _server(lane: str) -> str:
    return lane.partition("[")[0]


def _lane_of(label: str) -> str:
    """A process's name: what stands behind a '#' counts its lives."""
    return label.partition("#")[0]


def _action(step: Step) -> str:
    return next((name for name, kind in actions.ACTIONS.items() if kind is type(step.action)), "")


def _touched(step: Step, film: Film, scenario: Scenario, places: dict[str, str]) -> list[str]:
    """The processes that a fault is about."""
    link = getattr(step.action, "link", None)
    if link is not None:
        zones = {name: host.zone or "" for name, host in scenario.world.hosts.items()}
        ends = link.src, link.dst
        return [name for name, place in places.items() if any(_meant(end, place, zones) for end in ends)]
    if step.id in film.subjects:
        return list(film.subjects[step.id])
    of_registry = _action(step).startswith("registry") or isinstance(getattr(step.action, "who", None), TheRegistry)
    return [REGISTRY] if of_registry else list(places)


def _meant(pattern: str, place: str, zones: dict[str, str]) -> bool:
    if members_meant(pattern) is not None:
        return place == REGISTRY
    return pattern in ("*", place) or (pattern.startswith("zone:") and zones.get(place) == pattern[5:])


# -- rows -------------------------------------------------------------------------------------------------------------


def _frames(shots: Sequence[Shot], film: Film, lanes: Table, jobs: Table, fates: Table) -> dict[str, list[int]]:
    codec = Codec()
    kinds = list(FRAME_KINDS)
    kind_column: list[int] = []
    carries: list[int] = []
    job_column: list[int] = []
    sequences: list[int] = []
    for shot in shots:
        kind, batches = _content(shot, codec)
        kind_column.append(kinds.index(kind))
        carried = 0
        for batch in batches:
            job = film.jobs.get(batch.header.job)
            if job is not None:
                carried += len(batch)
                job_column += [jobs[job]] * len(batch)
                sequences += map(int, batch.sequences)
        carries.append(carried)
    return {
        "at": _differences(shot.at for shot in shots),
        "took": [shot.arrival - shot.at if shot.fate in ("sent", BROKEN) else 0 for shot in shots],
        "from": [lanes[_lane_of(shot.src)] for shot in shots],
        "to": [lanes[_lane_of(shot.dst)] for shot in shots],
        "kind": kind_column,
        "fate": [fates[shot.fate] for shot in shots],
        "bytes": [sum(map(len, shot.parts)) for shot in shots],
        "carries": carries,
        "job": job_column,
        "sequence": _differences(sequences),
    }


def _content(shot: Shot, codec: Codec) -> tuple[str, list[Batch]]:
    if REGISTRY in (shot.src, shot.dst):
        return "registry", []
    try:
        content = codec.decode(shot.parts)
    except BadFrame:
        return "control", []
    if not isinstance(content, list) or not content:
        return "control", []
    header = content[0].header
    if header.leg:
        return ("to worker" if header.leg == Leg.TO_WORKER else "from worker"), content
    return ("result" if header.is_result else "message"), content


def _events(entries: Sequence[Entry], lanes: Table, jobs: Table) -> tuple[dict[str, list[int]], Table]:
    details = Table({"": 0})
    kinds = {kind: index for index, kind in enumerate(EntryKind)}
    return {
        "at": _differences(entry.at for entry in entries),
        "kind": [kinds[entry.kind] for entry in entries],
        "lane": [lanes[entry.instance] if entry.instance else -1 for entry in entries],
        "job": [jobs[entry.job] if entry.job else -1 for entry in entries],
        "sequence": _differences(entry.sequence for entry in entries),
        "attempt": [entry.attempt for entry in entries],
        "detail": [details[entry.detail if entry.kind in _TOLD else ""] for entry in entries],
    }, details


def _differences(values: Iterable[int]) -> list[int]:
    last, out = 0, []
    for value in values:
        out.append(value - last)
        last = value
    return out
