"""A recording of a real run, as a file of JSON lines: what `palm calibrate` fits the simulator to.

Each process appends to the file: first a line that says who it is, then lines of what it saw since the last. Times are
nanoseconds of the machine's monotonic clock, which all processes of one machine share. Nothing of the messages' content
is in it. This file knows the format, and neither how it comes about nor what is made of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Iterable, Iterator, Mapping, NamedTuple

import msgspec

from palm.errors import BadRecord

VERSION = "record/1"


class Carried(NamedTuple):
    """A frame of messages, as its sender gave it to the transport, or as its receiver got it."""

    at: int
    src: str
    dst: str
    size: int
    mark: int
    """Its checksum: with both ends, what makes two sightings one frame."""


class Handled(NamedTuple):
    """Once through user code: one message, or a batch of them."""

    at: int
    function: str
    took: int
    computed: int
    """What its thread had of a processor; -1 where that cannot be told, as for coroutines."""
    waited: int
    """How long its thread could have run and had no processor; -1 where the system does not say."""


class Used(NamedTuple):
    """What a process has used and carried since it began."""

    at: int
    computed: int
    frames: int
    messages: int


class Taken(NamedTuple):
    """Messages that a client took from a job's source, from `first` on."""

    at: int
    job: str
    first: int
    many: int


class Given(NamedTuple):
    """Messages whose results a client handed to its caller."""

    at: int
    job: str
    sequences: list[int]


class Lines(msgspec.Struct, omit_defaults=True):
    """One line of the file: `palm` and what follows it stand in the first line of each process."""

    process: str
    palm: str = ""
    server: str = ""
    """Empty: a client."""
    host: str = ""
    machine: str = ""
    """Whose clock it is."""
    cores: int = 0
    sent: list[Carried] = []
    came: list[Carried] = []
    handled: list[Handled] = []
    used: list[Used] = []
    taken: list[Taken] = []
    given: list[Given] = []


@dataclass(slots=True, kw_only=True)
class Process:
    """All that one process has written."""

    name: str
    server: str
    host: str
    machine: str
    cores: int
    sent: list[Carried] = field(default_factory=list)
    came: list[Carried] = field(default_factory=list)
    handled: list[Handled] = field(default_factory=list)
    used: list[Used] = field(default_factory=list)
    taken: list[Taken] = field(default_factory=list)
    given: list[Given] = field(default_factory=list)


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Lines).decode
_KINDS = ("sent", "came", "handled", "used", "taken", "given")


def line_of(lines: Lines) -> bytes:
    """As it stands in the file."""
    return _encode(lines) + b"\n"


def read(files: Mapping[str, Iterable[bytes]]) -> list[Process]:
    """The processes of a recording, in the order in which they began; by the names of its files, their lines. Raises
    BadRecord, which names file and line."""
    processes: dict[str, Process] = {}
    for name, lines in files.items():
        before = len(processes)
        for number, line in enumerate(lines, 1):
            one = _parsed(name, number, line)
            if one.palm:
                processes[one.process] = _process(name, number, one)
            elif one.process not in processes:
                raise BadRecord(f"{name}:{number}: process {one.process!r:.80} is unknown: the beginning is missing")
            else:
                for kind in _KINDS:
                    getattr(processes[one.process], kind).extend(getattr(one, kind))
        if len(processes) == before:
            raise BadRecord(f"{name}: the recording is empty: `palm run --record {name}` writes it")
    return list(processes.values())


def _parsed(name: str, number: int, line: bytes) -> Lines:
    try:
        one = _decode(line)
    except msgspec.MsgspecError as error:
        where = f"{name}:{number}"
        if number == 1:
            raise BadRecord(f"{where}: expected a recording ({VERSION}){_what_else(line)}") from error
        hint = "(was the disk full? delete that line)"
        raise BadRecord(f"{where}: expected a line of a recording: {error} {hint}") from error
    if number == 1 and not one.palm:
        raise BadRecord(f"{name}:{number}: expected the first line of a recording ({VERSION}), found a later one")
    return one


def _what_else(line: bytes) -> str:
    """What the file may be, where that helps."""
    if b'"fate"' in line:
        return (
            ", found the trace of a simulated run: there is nothing to fit in it; "
            "`palm simulate --world real --trace FILE` and `palm run --record FILE` make recordings"
        )
    return ", found something else; `palm run --record FILE` and `palm simulate --world real --trace FILE` make one"


def _process(name: str, number: int, one: Lines) -> Process:
    if one.palm != VERSION:
        hint = ": record it again with this version" if one.palm.startswith("record/") else ""
        raise BadRecord(f"{name}:{number}: palm: expected {VERSION}, found {one.palm!r:.80}{hint}")
    return Process(
        name=one.process, server=one.server, host=one.host, machine=one.machine, cores=one.cores
    )


def delays(processes: Iterable[Process]) -> Iterator[tuple[bool, int]]:
    """Of each frame that both ends saw: whether both are on one host, and how long it took (ns).

    Between machines, whose clocks have nothing to do with each other, the offset is what makes the quickest frames of
    both directions equally quick, as NTP has it.
    """
    where: dict[str, Process] = {}
    waiting: dict[tuple[str, str, int], list[int]] = {}
    processes = list(processes)
    for process in processes:
        for sent in process.sent:
            where[sent.src] = process
            waiting.setdefault((sent.src, sent.dst, sent.mark), []).append(sent.at)
    found: list[tuple[Process, Process, int]] = []
    for process in processes:
        for came in process.came:
            times = waiting.get((came.src, came.dst, came.mark))
            if times:
                found.append((where[came.src], process, came.at - times.pop(0)))
    quickest: dict[tuple[str, str], int] = {}
    for src, dst, took in found:
        pair = src.machine, dst.machine
        quickest[pair] = min(took, quickest.get(pair, took))
    for src, dst, took in found:
        if src.machine != dst.machine:
            there, back = quickest[src.machine, dst.machine], quickest.get((dst.machine, src.machine))
            if back is None:
                continue  # nothing to set the clocks by
            took -= (there - back) // 2
        yield src.host == dst.host, max(0, took)
