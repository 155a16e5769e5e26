"""What a tired user types: each mistake is one line that says where, what was expected, and what may be meant."""

# ruff: noqa: E501  (a mistake and its answer stand in one line)
from __future__ import annotations

from pathlib import Path

import pytest

from palm.cli.main import main

GOOD = """\
palm: scenario/1
name: small
about: A short job in fair weather.
runs: {seeds: {pinned: [1, 2]}}
clock: {limit: 30s, settle: 10s}
world:
  hosts: {edge: , one: , two: }
  servers:
    clean: {run: "clean.py:Clean", hosts: [one, two], service: {lognormal: {p50: 1ms, p99: 3ms}}}
links:
  - {between: "* <-> *", delay: 1ms, loss: 1%}
load:
  - {id: main, client: edge, route: [clean.line], messages: {count: 200, payload: words}, rate: 50/s}
script:
  - {id: die, at: 1s, do: crash, who: "clean[1]"}
  - {id: back, after: {step: die, plus: 2s}, do: restart, who: "step:die"}
expect:
  finally: [{check: exactly-once, job: main}]
"""
CLEAN = "from palm import RegisteredServer\n\nclass Clean(RegisteredServer):\n"
CLASSES = {
    "clean.py": f"{CLEAN}    def line(self, message):\n        return message\n",
    "asks.py": f"{CLEAN}    def __init__(self, where):\n        pass\n    line = print\n",
    "marks.py": f"{CLEAN}    def line(self, message):\n        self.mark('half')\n        return message\n",
    "raises.py": f"{CLEAN}    def __init__(self):\n        raise KeyError('config')\n    line = print\n",
    "ends.py": f"import sys\n{CLEAN}    line = print\nsys.exit(3)\n",
    "imports.py": f"import nowhere_to_be_found\n{CLEAN}    line = print\n",
    "derived.py": "from elsewhere import Base\n\nclass Clean(Base):\n    line = print\n",
    "sends.py": "def few(random):\n    yield b'1'\ndef text(random):\n    yield 'one'\ndef falls(random):\n    yield 1 / 0\n",
    "checks.py": "def good(history):\n    return ''\ndef falls(history):\n    return 1 / 0\n",
}


def changed(old: str, new: str) -> bytes:
    assert GOOD.count(old) == 1, f"{old!r} must be in the good file once"
    return GOOD.replace(old, new).encode()


BOTH: dict[str, tuple[bytes, str]] = {
    # what issue 4 names
    "an unknown server": (changed("[clean.line]", "[claen.line]"), ":13: load[0].route[0]: expected a server of this scenario, found 'claen.line' (did you mean 'clean'?)"),
    "a trigger after the end": (changed("at: 1s", "at: 40s"), ":15: script[0].at: step die can never happen: the run ends at 30s (clock.limit)"),
    "a trigger among the calm": (changed("at: 1s", "at: 21s"), ":15: script[0].at: step die can never happen: from 20s on"),
    "a trigger that waits for itself": (changed("at: 1s", "after: {step: back}"), ":15: script[0].after: step die can never happen: it waits for itself: die -> back -> die"),
    "more messages than there are": (changed("at: 1s", "when: {event: sent, nth: 201}"), ":15: script[0].when.nth: expected at most 200"),
    "a server that is not visited": (changed("at: 1s", "when: {event: handling, server: claen}"), ":15: script[0].when.server: expected a server of this scenario, found 'claen' (did you mean 'clean'?)"),
    "a mark that nobody places": (changed("at: 1s", "when: {event: mark, name: hafl}").replace(b"clean.py", b"marks.py"), ":15: script[0].when.name: expected a mark that a server's file places, found 'hafl' (did you mean 'half'?)"),
    "a check without a job": (changed("exactly-once, job: main", "exactly-once"), ":18: expect.finally[0]: check exactly-once needs the key 'job'"),
    "p99 below p50": (changed("p99: 3ms", "p99: 500us"), ":9: world.servers.clean.service.lognormal.p99: expected p99 to be at least p50 (1ms), found '500us'"),
    "ten megabytes of aliases": (b"a: &a [x]\n" + b"b: [*a, *a]\n" * 850_000, ":1: a scenario file has at most 1048576 bytes"),
    "aliases that multiply": (b"a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]\n", ":1: a: YAML anchors are not taken: delete &a"),
    "a found file of an older version": (GOOD.encode() + b"found: {format: 0, check: conserved, trace: abc}\n", ":19: found.format: expected format 1, found the number 0 (found by another version of PALM: shrink its scenario again)"),
    "a found file of no version": (GOOD.encode() + b"found: {check: conserved, trace: abc}\n", ":19: found: found needs the key 'format': format 1"),
    "a scenario of another version": (changed("scenario/1", "scenario/2"), ":1: palm: expected scenario/1, found 'scenario/2' (a file of another version"),
    # and others
    "a tab": (changed("  hosts:", "\thosts:"), ":7: this is not YAML: while scanning for the next token, found character '\\t'"),
    "a key twice": (changed("name: small", "name: small\nname: other"), ":3: name: the key is here twice (first in line 2)"),
    "a time without its unit": (changed("limit: 30s", "limit: 30"), ":5: clock.limit: expected a time such as 12s, 1500ms or 400us, found the number 30 (a number alone is not a time"),
    "a time before the start": (changed("at: 1s", "at: -1s"), ":15: script[0].at: expected a time such as 12s"),
    "a time on a clock": (changed("at: 1s", "at: 1:30"), ":15: script[0].at: YAML takes '1:30' for a number in base 60"),
    "a chance below nothing": (changed("loss: 1%", "loss: -1%"), ":11: links[0].loss: expected a chance such as 0.5%, found '-1%'"),
    "a chance above all": (changed("loss: 1%", "loss: 150%"), ":11: links[0].loss: expected a chance such as 0.5%, found '150%' (a chance is at most 100%)"),
    "an unknown check": (changed("exactly-once", "exactly-onec"), ":18: expect.finally[0].check: expected a check, found 'exactly-onec' (did you mean 'exactly-once'?)"),
    "an unknown expectation": (changed("  finally:", "  finaly:"), ":18: expect.finaly: expect has no key 'finaly' (did you mean 'finally'?)"),
    "a route that branches into itself": (changed("[clean.line]", "[clean.line, [[clean.line]]]"), ":13: load[0].route: a fork of a route has 2 to 64 branches, this one has 1"),
    "a route without end": (changed("[clean.line]", "[" + "clean.line, " * 300 + "clean.line]"), ":13: load[0].route: expected at most"),
    "a route as text": (changed("[clean.line]", "clean.line"), ":13: load[0].route: expected a list, each item a stage such as clean.line, found 'clean.line': put it in [brackets]"),
    "a function that is not there": (changed("hosts: [one, two]", "hosts: [one, two], functions: [lien]"), ":9: world.servers.clean.functions[0]: expected a function of Clean, found 'lien' (did you mean 'line'?)"),
    "an option that is not there": (changed("hosts: [one, two]", "hosts: [one, two], options: {max_inflight: 3}"), ":9: world.servers.clean.options.max_inflight: a server has no option 'max_inflight' (did you mean 'max_in_flight'?)"),
    "an option of nothing": (changed("hosts: [one, two]", "hosts: [one, two], options: {max_in_flight: 0}"), ":9: world.servers.clean.options.max_in_flight: expected a whole number from 1"),
    "a class that is not there": (changed("clean.py:Clean", "clean.py:Claen"), ":9: world.servers.clean.run: expected a class of clean.py, found 'clean.py:Claen' (did you mean 'Clean'?)"),
    "a check that is not there": (changed("check: exactly-once, job: main", 'check: custom, run: "checks.py:god"'), ":18: expect.finally[0].run: expected a function of checks.py, found 'checks.py:god' (did you mean 'good'?)"),
    "workers of who knows what": (changed("hosts: [one, two]", "hosts: [one, two], workers: 2").replace(b"clean.py", b"derived.py"), ":9: world.servers.clean.workers: expected instances instead of workers, found the number 2 (whether Clean is a parallel server"),
    "payloads that are not there": (changed("payload: words", 'payload: "sends.py:fwe"'), ":13: load[0].messages.payload: expected a function of sends.py, found 'sends.py:fwe' (did you mean 'few'?)"),
    "a seed below nothing": (changed("pinned: [1, 2]", "pinned: [-1]"), ":4: runs.seeds.pinned[0]: expected a whole number from 0"),
    "a point that waits for no time": (changed('do: crash, who: "clean[1]"', "do: point, name: here, effect: wait"), ":15: script[0].effect: effect: wait needs the key 'by'"),
    "a quote that is not closed": (changed('"clean[1]"', '"clean[1]'), ": this is not YAML: "),
    "an empty file": (b"", ":1: expected a scenario, found an empty file"),
    "a comment": (b"# later\n", ":1: expected a scenario, found an empty file"),
    "a word": (b"hello\n", ":1: expected a mapping with palm, name,"),
    "noughts": (b"\0" * 100, ":1: this is not YAML: special characters are not allowed (U+0000)"),
    "an archive": (b"\x1f\x8b\x08\0\0\xff\xfe", ":1: expected UTF-8 text, found the byte 0x8b"),
    "another encoding": (GOOD.encode("utf-16"), ":1: expected UTF-8 text, found the byte 0xff"),
}  # fmt: skip
"""What is seen without running it."""

RUNNING: dict[str, tuple[bytes, str]] = {
    "a class that wants arguments": (changed("clean.py:", "asks.py:"), ":9: world.servers.clean: Clean() raised TypeError: "),
    "a class that cannot be made": (changed("clean.py:", "raises.py:"), ":9: world.servers.clean: Clean() raised KeyError: 'config' ("),
    "a file that ends the process": (changed("clean.py:", "ends.py:"), "ends.py does not load: SystemExit: 3 ("),
    "a file that does not import": (changed("clean.py:", "imports.py:"), "imports.py does not load: ModuleNotFoundError: No module named 'nowhere_to_be_found' ("),
    "payloads that end": (changed("payload: words", 'payload: "sends.py:few"'), "payloads of main: few ended after 1, and the job has more messages ("),
    "payloads of text": (changed("payload: words", 'payload: "sends.py:text"'), "payloads of main: text gave str as payload 0, bytes are needed ("),
    "payloads that fall over": (changed("payload: words", 'payload: "sends.py:falls"'), "payloads of main: falls raised ZeroDivisionError: division by zero ("),
    "a check that falls over": (changed("check: exactly-once, job: main", 'check: custom, run: "checks.py:falls"'), "check falls raised ZeroDivisionError: division by zero ("),
}  # fmt: skip
"""What only running it can tell."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in CLASSES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr; nothing is on stdout, and the exit code is 3."""
    try:
        code = main(arguments)
    except SystemExit as ends:
        code = int(ends.code or 0)
    shown = capsys.readouterr()
    assert (code, shown.out) == (3, "") and shown.err.count("\n") == 1, shown
    assert "Traceback" not in shown.err and len(shown.err) < 1000
    return shown.err


def test_the_good_file_is_good(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """So whatever is wrong with another one is its own mistake; a byte order mark and CRLF are none."""
    file = folder / "good.yaml"
    for data in (GOOD.encode(), b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode()):
        file.write_bytes(data)
        assert main(["scenario", "check", str(file)]) == 0 and main(["simulate", str(file)]) == 0


@pytest.mark.parametrize("mistake", BOTH)
def test_a_mistake_in_a_file_is_one_line(mistake: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same for whoever checks it and for whoever runs it: file, line, key, what was expected."""
    data, said = BOTH[mistake]
    file = folder / "x.yaml"
    file.write_bytes(data)
    for verb, arguments in (("scenario", ["scenario", "check"]), ("simulate", ["simulate"])):
        shown = refused([*arguments, str(file)], capsys)
        assert shown.startswith(f"palm {verb}: {file}:") and said in shown, shown


@pytest.mark.parametrize("mistake", RUNNING)
def test_what_only_running_shows_is_one_line_too(
    mistake: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the line of the user's own file, where there is one."""
    data, said = RUNNING[mistake]
    file = folder / "x.yaml"
    file.write_bytes(data)
    shown = refused(["simulate", str(file)], capsys)
    assert shown.startswith("palm simulate: ") and said in shown, shown


@pytest.mark.parametrize("kind", ["a directory", "nothing", "a loop", "a name that is too long"])
def test_a_file_that_cannot_be_read_is_named(kind: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And why."""
    file = folder / ("x" * 300 if kind == "a name that is too long" else "x.yaml")
    if kind == "a directory":
        file.mkdir()
    elif kind == "a loop":
        file.symlink_to(file)
    for arguments in (["scenario", "check"], ["simulate"]):
        assert f"{file}: cannot be read: " in refused([*arguments, str(file)], capsys)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["simulate", "x", "--seeds", "5..1"], "'5..1' holds no seed: the first is after the last"),
        (["simulate", "x", "--seeds", "5"], "'5' is not a range of seeds, such as 1..200"),
        (["simulate", "x", "--seed", "-1"], "'-1' is not a seed (a whole number from 0)"),
        (["simulate", "x", "--seed", "1", "--seeds", "1..2"], "not allowed with"),
        (["simulate", "x", "--jobs", "0"], "'0' is not a number of processes from 1 to 256"),
        (["simulate", "x", "--shrink-for", "soon"], "'soon' is not a number of seconds from 1 to"),
        (["simulate", "x", "--world", "moon"], "invalid choice: 'moon'"),
        (["simulate", "x", "--shrnk"], "unrecognized arguments: --shrnk"),
        (["simulate"], "the following arguments are required: scenario"),
        (["scenario"], "the following arguments are required: WHAT"),
        (["scenario", "chekc", "x"], "invalid choice: 'chekc'"),
        (["plan", "x"], "the following arguments are required: --vary"),
        (["calibrate"], "the following arguments are required: recording"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_command_line_is_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 would be a verdict: inconclusive."""
    shown = refused(arguments, capsys)
    assert said in shown and "--help" in shown
