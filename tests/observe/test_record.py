"""Recordings: what is written is read, frames find their other end, and what is no recording is refused by its line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.errors import BadRecord
from palm.observe.record import VERSION, Carried, Handled, Lines, Process, Used, delays, line_of, read

FIRST = Lines("1@m", palm=VERSION, server="burn", host="one", machine="m", cores=2)


def process(name: str, machine: str, sent: list[Carried], came: list[Carried], host: str = "") -> Process:
    return Process(name=name, server="", host=host or machine, machine=machine, cores=2, sent=sent, came=came)


def refused(*lines: bytes) -> str:
    with pytest.raises(BadRecord) as error:
        read({"run.jsonl": lines})
    return str(error.value)


def test_what_was_written_is_read() -> None:
    """Lines of several processes, one after another, in one file."""
    handled, used = Handled(5, "burn", 20, 19, 0), Used(9, 100, 3, 4)
    other = Lines("2@m", palm=VERSION, host="two", machine="m", cores=2)
    lines = [FIRST, other, Lines("1@m", handled=[handled]), Lines("2@m", used=[used]), Lines("1@m", handled=[handled])]
    one, two = read({"run.jsonl": map(line_of, lines)})
    assert (one.server, one.host, one.cores, one.handled) == ("burn", "one", 2, [handled, handled])
    assert (two.server, two.used, two.handled) == ("", [used], [])


def test_several_files_are_one_recording() -> None:
    """Machines that share no disk write one each."""
    other = Lines("2@n", palm=VERSION, host="n", machine="n", cores=4)
    assert [one.cores for one in read({"a": [line_of(FIRST)], "b": [line_of(other)]})] == [2, 4]


def test_what_is_no_recording_is_refused_by_its_line() -> None:
    """Something else, a simulated trace, an older version, an empty file, one without its beginning, a torn one."""
    assert refused(b"hello\n").startswith("run.jsonl:1: expected a recording (record/1), found something else")
    simulated = b'{"at": 1, "from": "a", "to": "b", "fate": "sent", "bytes": 3, "frame": "", "hash": ""}\n'
    assert "found the trace of a simulated run" in refused(simulated)
    older = b'{"process":"1@m","palm":"record/0","server":"burn"}\n'
    assert refused(older) == "run.jsonl:1: palm: expected record/1, found 'record/0': record it again with this version"
    assert "the recording is empty" in refused()
    assert "expected the first line of a recording" in refused(line_of(Lines("1@m", used=[Used(1, 2, 3, 4)])))
    assert "run.jsonl:2: expected a line of a recording" in refused(line_of(FIRST), b'{"process":"1@m","sent":[[1,')
    assert "run.jsonl:2: process '9@m' is unknown" in refused(line_of(FIRST), line_of(Lines("9@m")))


def test_frames_find_their_other_end_by_their_mark() -> None:
    """Whatever was lost between, and whichever came first."""
    sent = [Carried(10, "a", "b", 50, 1), Carried(20, "a", "b", 50, 2), Carried(30, "a", "b", 50, 3)]
    came = [Carried(95, "a", "b", 50, 3), Carried(60, "a", "b", 50, 1)]
    assert sorted(delays([process("a", "m", sent, []), process("b", "m", [], came)])) == [(True, 50), (True, 65)]


@given(st.integers(-(10**15), 10**15), st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), min_size=1))
def test_clocks_of_two_machines_are_set_by_their_quickest_frames(offset: int, jitters: list[tuple[int, int]]) -> None:
    """However far apart they are, delays come out as they are, if the quickest ways there and back are alike."""
    there, back = [0, *(one for one, _ in jitters)], [0, *(other for _, other in jitters)]
    base, start = 100_000, 10**16
    one = process(
        "a",
        "m",
        [Carried(start + n, "a", "b", 9, n) for n in range(len(there))],
        [Carried(start + n + base + late, "b", "a", 9, n) for n, late in enumerate(back)],
    )
    two = process(
        "b",
        "n",
        [Carried(start + n + offset, "b", "a", 9, n) for n in range(len(back))],
        [Carried(start + n + base + late + offset, "a", "b", 9, n) for n, late in enumerate(there)],
    )
    assert sorted(delays([one, two])) == sorted((False, base + late) for late in there + back)
