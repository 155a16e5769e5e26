"""Scenario files: what is read, and what each mistake in one is answered."""

# ruff: noqa: E501  (a mistake and its answer stand in one line)
from __future__ import annotations

import re
from dataclasses import FrozenInstanceError
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.errors import ScenarioError
from palm.sim.draws import Empirical, Fixed, LogNormal, Mix, Normal, Uniform
from palm.sim.network import Ends, Link
from palm.sim.scenario import load, parse
from palm.sim.scenario.actions import ACTIONS, ACTIONS_NOT_YET
from palm.sim.scenario.expectations import CHECKS, CHECKS_NOT_YET
from palm.sim.scenario.forms import keys_of
from palm.sim.scenario.payloads import payloads
from palm.sim.scenario.scenario import Scenario
from palm.sim.scenario.units import Rate

PARTITION = Path(__file__).parents[2] / "scenarios" / "partition.yaml"

SERVER = """
from palm import RegisteredServer, run_server

class Clean(RegisteredServer):
    def line(self, message):
        return message

class Count(RegisteredServer):
    def words(self, message):
        return message

if __name__ == '__main__':
    run_server(Clean, 'clean', ['line'])
"""

GOOD = """\
palm: scenario/1
name: small
about: A small one.
clock: {limit: 100s, settle: 20s}
world:
  hosts: {edge: {zone: a}, one: {zone: a}, two: {zone: b}}
  servers:
    clean:
      run: "server.py:Clean"
      host: one
    count:
      run: "server.py:Count"
      hosts: [one, two]
      instances: 3
      functions: [words]
links:
  - between: "* <-> *"
load:
  - id: main
    client: edge
    route: [clean.line, count.words]
    messages: {count: 10, payload: numbers}
script:
  - id: cut
    at: 5s
    do: cut
    link: "one -> two"
    for: 12s
  - id: die
    when: {event: handling, server: count, nth: 3, during: cut}
    do: crash
    who: that
  - id: back
    after: {step: die, plus: 8s}
    do: restart
    who: "step:die"
expect:
  finally:
    - {check: exactly-once, job: main}
"""


@pytest.fixture
def here(tmp_path: Path) -> str:
    """The name of a scenario file that need not exist, beside files that do."""
    (tmp_path / "server.py").write_text(SERVER)
    (tmp_path / "lines.txt").write_text("one\ntwo\n")
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "delays.txt").write_text("3ms\n1ms\n")
    (tmp_path / "broken.py").write_text("def (:\n")
    return str(tmp_path / "x.yaml")


def changed(old: str, new: str) -> str:
    assert GOOD.count(old) == 1, f"{old!r} must be in the good file once"
    return GOOD.replace(old, new)


def refused(text: str, file: str) -> str:
    """The error, without the directory."""
    with pytest.raises(ScenarioError) as caught:
        parse(text, file)
    return str(caught.value).removeprefix(str(Path(file).parent) + "/")


# -- what is read -----------------------------------------------------------------------------------------------------


def test_the_first_scenario_is_read():
    """scenarios/partition.yaml is a good file, and its parts are where a reader expects them."""
    scenario = load(PARTITION)
    assert scenario.name == "partition"
    assert [step.do for step in scenario.script] == ["cut", "cut", "crash", "restart", "freeze", "registry.down"]
    assert scenario.world.servers["count"].places == ("two", "three", "two", "three")
    assert scenario.load[0].rate == Rate(75, 10**9)
    assert scenario.world.servers["count"].served == ("words",)


def test_a_scenario_means_the_same_from_every_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Files that it names are looked for from where it is, not from where it is run."""
    before = load(PARTITION)
    monkeypatch.chdir(tmp_path)
    assert load(PARTITION) == before


def test_values_are_read_only(here: str):
    """A scenario is a value: neither its fields nor its mappings can be changed."""
    scenario = parse(GOOD, here)
    with pytest.raises(FrozenInstanceError):
        scenario.name = "other"  # type: ignore[misc]
    assert isinstance(scenario.world.hosts, MappingProxyType)


def test_what_is_left_out_has_its_default(here: str):
    """A file says only what it is about."""
    scenario = parse(GOOD, here)
    assert scenario.runs.seeds.pinned == (1,)
    assert scenario.world.registry.lease.ttl_ns == 5 * 10**9
    assert scenario.world.servers["clean"].places == ("one",)
    assert scenario.links[0].link() == Link()
    assert scenario.expect.faults_must_bite


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4ms", Fixed(4_000_000)),
        ("{fixed: 4ms}", Fixed(4_000_000)),
        ("{uniform: {low: 1ms, high: 2ms}}", Uniform(1_000_000, 2_000_000)),
        ("{normal: {mean: 1ms, deviation: 10us}}", Normal(1_000_000, 10_000)),
        ("{lognormal: {p50: 1ms, p99: 9ms}}", LogNormal(1_000_000, 9_000_000)),
        ("{mix: [{weight: 9, fixed: 1ns}, {weight: 1, fixed: 2ns}]}", Mix(((9.0, Fixed(1)), (1.0, Fixed(2))))),
        ("{empirical: [3ms, 1ms]}", Empirical((1_000_000, 3_000_000))),
        ("{empirical: delays.txt}", Empirical((1_000_000, 3_000_000))),
    ],
)
def test_distributions_are_the_values_of_draws(here: str, text: str, value: object):
    """Each kind is read to its class, a time alone to a fixed one."""
    scenario = parse(changed('between: "* <-> *"', f'{{between: "* <-> *", delay: {text}}}'), here)
    assert scenario.links[0].delay == value


def test_a_link_is_read_to_the_values_of_the_network(here: str):
    """Every key of a link reaches the network's own model."""
    text = '{between: "zone:a -> registry", loss: {chance: 1%, burst: 3}, twice: 2%, shuffle: 0.5%, rate: 1KB/s}'
    link = parse(changed('between: "* <-> *"', text), here).links[0]
    assert link.between == Ends("zone:a", "registry")
    assert link.link() == Link(loss=0.01, burst=3, twice=0.02, shuffle=0.005, rate=1000)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("payload: numbers", [b"0", b"1", b"2"]),
        ("file: lines.txt", [b"one", b"two", b"one"]),
        ("sizes: 5B", [5, 5, 5]),
        ("payload: words", 3),
    ],
)
def test_payloads_come_from_one_source_in_order_and_from_the_seed(here: str, text: str, what: object):
    """A generator, the lines of a file in turn, or bytes of drawn sizes; the same for one seed."""
    job = parse(changed("count: 10, payload: numbers", f"count: 3, {text}"), here).load[0]
    made = list(payloads(job.messages, 7, "main"))
    assert made == list(payloads(job.messages, 7, "main"))
    assert what in (made, [len(one) for one in made], len(made))


def test_payloads_may_be_made_by_a_function_of_the_users_own(here: str):
    """It is given chance of its own, which is the seed's and the job's, and it is asked for no more than the job has."""
    Path(here).with_name("made.py").write_text(
        "import random as r, time\n\ndef made(random):\n    while True:\n"
        "        yield b'%d %d %d' % (random.randrange(10**9), r.randrange(10**9), time.time())\n"
    )
    job = parse(changed("payload: numbers", 'payload: "made.py:made"'), here).load[0]
    first, again, other = (list(payloads(job.messages, seed, "main")) for seed in (7, 7, 8))
    assert first == again and len(set(first)) == 10 and not set(first) & set(other)


@pytest.mark.parametrize(("bases", "each"), [("RegisteredServer", 2), ("ButterflyServer", 3), ("Count", 2)])
def test_workers_are_what_palm_run_starts_on_each_host(here: str, bases: str, each: int):
    """Two workers, and of a parallel server one more to lead them; `workers: 1` is one process of any kind."""
    Path(here).with_name("more.py").write_text(f"{SERVER}\nclass More({bases}):\n    def words(self, message):\n        return message\n")
    for workers, count in ((2, each), (1, 1)):
        text = changed("instances: 3", f"workers: {workers}").replace("server.py:Count", "more.py:More")
        assert parse(text, here).world.servers["count"].places == ("one", "two") * count


# -- what is refused --------------------------------------------------------------------------------------------------

MISTAKES = [
    # keys
    ("about: A small one.", "abuot: A small one.", "x.yaml:3: abuot: scenario has no key 'abuot' (did you mean 'about'?)"),
    ("    for: 12s", "    form: 12s", "x.yaml:28: script[0].form: step with do: cut has no key 'form' (did you mean 'for'?)"),
    ("    who: that", "    who: that\n    for: 3s", "x.yaml:33: script[1].for: step with do: crash has no key 'for'"),
    ("      host: one\n", "", "x.yaml:8: world.servers.clean: a server needs the key 'host' or the key 'hosts'"),
    ("name: small\n", "", "x.yaml:1: scenario needs the key 'name': a name"),
    ("palm: scenario/1", "palm: scenario/0", "x.yaml:1: palm: expected scenario/1, found 'scenario/0' (a file of another version"),
    # types and units
    ("for: 12s", "for: 12", "x.yaml:28: script[0].for: expected a time such as 12s, 1500ms or 400us, found the number 12 (a number alone is not a time; the units are ns, us, ms, s, m, h, as in 12s)"),
    ("for: 12s", "for: [12s]", "x.yaml:28: script[0].for: expected a time such as 12s, 1500ms or 400us, found a list of 1"),
    ("for: 12s", "for:", "x.yaml:28: script[0].for: expected a time such as 12s, 1500ms or 400us, found nothing"),
    ("for: 12s", "for: on", "x.yaml:28: script[0].for: expected a time such as 12s, 1500ms or 400us, found the YAML boolean on"),
    ("name: small", "name: yes", "x.yaml:2: name: expected a name, found the YAML boolean yes"),
    ("name: small", "name: 12", "x.yaml:2: name: expected a name, found the number 12; quote it"),
    ("name: small", "name: a/b", "x.yaml:2: name: expected a name, found 'a/b' (1 to 128 of letters, digits, '_' and '-')"),
    ("about: A small one.", "about: ' '", "x.yaml:3: about: expected text, found ' ' (it is empty)"),
    ("instances: 3", "instances: '3'", "x.yaml:14: world.servers.count.instances: expected a whole number from 1 to 100000, found '3'"),
    ("instances: 3", "instances: 1e9", "x.yaml:14: world.servers.count.instances: expected a whole number from 1 to 100000, found '1e9'"),
    ("instances: 3", "instances: 0x10", "x.yaml:14: world.servers.count.instances: expected a whole number from 1 to 100000, found the number 0x10"),
    ("instances: 3", "instances: 1", "x.yaml:14: world.servers.count.instances: expected at least one instance for each of its 2 hosts"),
    ("hosts: [one, two]", "hosts: one", "x.yaml:13: world.servers.count.hosts: expected a list, each item a name, found 'one': put it in [brackets]"),
    ("route: [clean.line, count.words]", "route: []", "x.yaml:21: load[0].route: expected at least 1 of these: a stage"),
    ("route: [clean.line, count.words]", "route: [clean]", "x.yaml:21: load[0].route[0]: expected a stage such as clean.line, found 'clean'"),
    ("clock: {limit: 100s, settle: 20s}", "clock: 3", "x.yaml:4: clock: expected a mapping with limit, settle, found the number 3"),
    ("payload: numbers", "payload: number", "x.yaml:22: load[0].messages.payload: expected a payload generator, found 'number' (did you mean 'numbers'?)"),
    ("payload: numbers", "payload: numbers, file: lines.txt", "x.yaml:22: load[0].messages: messages need one of the keys payload, file and sizes"),
    ("payload: numbers", "file: empty.txt", "x.yaml:22: load[0].messages.file: expected a file with at least one line"),
    ("payload: numbers", "file: lnes.txt", "x.yaml:22: load[0].messages.file: expected a file, found 'lnes.txt' (no such file"),
    ("payload: numbers", "file: /etc/hostname", "x.yaml:22: load[0].messages.file: expected a file, found '/etc/hostname' (write a path relative"),
    ("    client: edge", "    client: edge\n    rate: 5/s\n    window: 3", "x.yaml:22: load[0].window: a job has a rate (open) or a window (closed), not both"),
    ("    client: edge", "    client: edge\n    ordered: yes", "x.yaml:21: load[0].ordered: expected true or false, found the YAML boolean yes"),
    ("settle: 20s", "settle: 200s", "x.yaml:4: clock.settle: expected settle to be shorter than limit (100s), found '200s'"),
    ('between: "* <-> *"', '{between: "* <-> *", delay: {lognormal: {p50: 3ms, p99: 1ms}}}', "x.yaml:17: links[0].delay.lognormal.p99: expected p99 to be at least p50 (3ms), found '1ms'"),
    ('between: "* <-> *"', '{between: "* <-> *", delay: {uniform: {low: 3ms, high: 1ms}}}', "x.yaml:17: links[0].delay.uniform: uniform: high"),
    ('between: "* <-> *"', '{between: "* <-> *", delay: {lognormale: 3ms}}', "x.yaml:17: links[0].delay.lognormale: expected a distribution of times: one of fixed, uniform, normal, lognormal, mix, empirical, found 'lognormale' (did you mean 'lognormal'?)"),
    ('between: "* <-> *"', '{between: "one two"}', "x.yaml:17: links[0].between: expected a link such as one -> two or zone:a <-> registry, or the word local, found 'one two'"),
    ('between: "* <-> *"', '{between: "one -> one"}', "x.yaml:17: links[0].between: expected a link such as one -> two or zone:a <-> registry, or the word local, found 'one -> one' (both ends are 'one'"),
    ('between: "* <-> *"', '{between: "* -> *", loss: 1}', "x.yaml:17: links[0].loss: expected a chance such as 0.5%, found the number 1 (write 1%)"),
    # names
    ("client: edge", "client: edgy", "x.yaml:20: load[0].client: expected a host of this scenario, found 'edgy' (did you mean 'edge'?)"),
    ("host: one", "host: zzz", "x.yaml:10: world.servers.clean.host: expected a host of this scenario, found 'zzz' (it has edge, one, two)"),
    ("route: [clean.line, count.words]", "route: [clean.line, cuont.words]", "x.yaml:21: load[0].route[1]: expected a server of this scenario, found 'cuont.words' (did you mean 'count'?)"),
    ("route: [clean.line, count.words]", "route: [clean.lines]", "x.yaml:21: load[0].route[0]: expected a function that clean serves: line, found 'clean.lines' (did you mean 'line'?)"),
    ("run: \"server.py:Clean\"", "run: \"server.py:Claen\"", "x.yaml:9: world.servers.clean.run: expected a class of server.py, found 'server.py:Claen' (did you mean 'Clean'?)"),
    ("run: \"server.py:Clean\"", "run: \"srver.py:Clean\"", "x.yaml:9: world.servers.clean.run: expected a file, found 'srver.py:Clean' (no such file"),
    ("run: \"server.py:Clean\"", "run: \"broken.py:Clean\"", "x.yaml:9: world.servers.clean.run: expected a Python file, found 'broken.py:Clean'"),
    ("run: \"server.py:Clean\"", "run: server", "x.yaml:9: world.servers.clean.run: expected a server class such as"),
    ('link: "one -> two"', 'link: "one -> tow"', "x.yaml:27: script[0].link: expected a host of this scenario, found 'one -> tow' (did you mean 'two'?)"),
    ('link: "one -> two"', 'link: "one -> count"', "x.yaml:27: script[0].link: expected hosts at both ends of a link, found 'one -> count' (count is a server; it runs on one, two)"),
    ('link: "one -> two"', 'link: "zone:c -> two"', "x.yaml:27: script[0].link: expected a zone of this scenario, found 'zone:c -> two'"),
    ("server: count, nth", "server: cuont, nth", "x.yaml:30: script[1].when.server: expected a server of this scenario, found 'cuont' (did you mean 'count'?)"),
    ("event: handling", "event: handle", "x.yaml:30: script[1].when.event: expected an event, found 'handle' (did you mean 'handling'?)"),
    ("do: crash", "do: crush", "x.yaml:31: script[1].do: expected an action, found 'crush' (did you mean 'crash'?)"),
    ("step: die, plus", "step: dei, plus", "x.yaml:34: script[2].after.step: expected a step of this scenario, found 'dei' (did you mean 'die'?)"),
    ('who: "step:die"', 'who: "step:dei"', "x.yaml:36: script[2].who: expected a step of this scenario, found 'step:dei' (did you mean 'die'?)"),
    ('who: "step:die"', 'who: "step:cut"', "x.yaml:36: script[2].who: expected a step that was done to processes, found 'step:cut' (cut is a cut)"),
    ('who: "step:die"', 'who: that', "x.yaml:36: script[2].who: expected a name, found 'that' ('that' is the subject of a `when`; this step has none)"),
    ('who: "step:die"', 'who: "count[3]"', "x.yaml:36: script[2].who: expected an index from 0 to 2, found 'count[3]' (count has 3 instances)"),
    ('who: "step:die"', 'who: "two(count)"', "x.yaml:36: script[2].who: expected a target such as"),
    ("id: back", "id: die", "x.yaml:33: script[2].id: expected an id of its own for each step, found 'die'"),
    ("one: {zone: a}, two", "count: {zone: a}, two", "x.yaml:11: world.servers.count: 'count' is a host too"),
    ("one: {zone: a}, two", "registry: {zone: a}, two", "x.yaml:6: world.hosts.registry: 'registry' means something else in a script"),
    ("exactly-once, job: main", "exactly-onc, job: main", "x.yaml:39: expect.finally[0].check: expected a check, found 'exactly-onc' (did you mean 'exactly-once'?)"),
    ("exactly-once, job: main", "exactly-once, job: mian", "x.yaml:39: expect.finally[0].job: expected a job of this scenario, found 'mian' (did you mean 'main'?)"),
    ("exactly-once, job: main", "exactly-once", "x.yaml:39: expect.finally[0]: check exactly-once needs the key 'job': a name"),
    ("exactly-once, job: main", "in-order, job: main", "x.yaml:39: expect.finally[0].job: expected a job with ordered: true"),
    ("exactly-once, job: main", "bounded, what: main.in-flight, limit: 3", "x.yaml:39: expect.finally[0].check: bounded is a check of always, not of finally"),
    ("exactly-once, job: main", "latency, job: main", "x.yaml:39: expect.finally[0]: check latency needs p50, p99 or both"),
    ("exactly-once, job: main", "latency, job: main, p50: 3s, p99: 1s", "x.yaml:39: expect.finally[0].p99: expected p99 to be at least p50 (3s), found '1s'"),
    ("exactly-once, job: main", "latency, job: main, p99: 1s, outside: [cu]", "x.yaml:39: expect.finally[0].outside[0]: expected a step of this scenario, found 'cu' (did you mean 'cut'?)"),
    ("  finally:", "  finaly:", "x.yaml:38: expect.finaly: expect has no key 'finaly' (did you mean 'finally'?)"),
    ("  finally:\n    - {check: exactly-once, job: main}", "  sometimes: [{seen: redeliverd}]", "x.yaml:38: expect.sometimes[0].seen: expected an event, found 'redeliverd' (did you mean 'redelivered'?)"),
    ("  finally:\n    - {check: exactly-once, job: main}", "  faults: must_bite", "x.yaml:38: expect.faults: expected must-bite or may-miss, found 'must_bite' (did you mean 'must-bite'?)"),
    # steps that can never happen
    ("at: 5s", "at: 100s", "x.yaml:25: script[0].at: step cut can never happen: the run ends at 100s (clock.limit)"),
    ("at: 5s", "at: 80s", "x.yaml:25: script[0].at: step cut can never happen: from 80s on (clock.limit less clock.settle) there are no faults"),
    ("plus: 8s", "plus: 95s", "x.yaml:34: script[2].after: step back can never happen: the run ends at 100s (clock.limit)"),
    ("step: die, plus", "step: back, plus", "x.yaml:34: script[2].after: step back can never happen: it waits for itself: back -> back"),
    ("at: 5s", "after: {step: die}", "x.yaml:25: script[0].after: step cut can never happen: it waits for itself: cut -> die -> cut"),
    ("during: cut", "during: back", "x.yaml:30: script[1].when.during: expected a step that lasts (restart is over at once), found 'back'"),
    ("nth: 3, during: cut", "nth: 0", "x.yaml:30: script[1].when.nth: expected a whole number from 1"),
    ("at: 5s\n", "at: 5s\n    after: {step: die}\n", "x.yaml:24: script[0]: a step has one of the keys at, after and when; this one has 2 of them"),
    ("    at: 5s\n", "", "x.yaml:24: script[0]: a step has one of the keys at, after and when; this one has none of them"),
    ("event: handling, server: count", "event: sent", "x.yaml:32: script[1].who: expected a name, found 'that' (sent is not about an instance of a server)"),
    ("event: handling, server: count", "event: sent, server: count", "x.yaml:30: script[1].when.server: sent happens at a client or the registry"),
    ("route: [clean.line, count.words]", "route: [clean.line]", "x.yaml:30: script[1].when.server: expected a server that a job's route visits, found 'count' (they visit clean)"),
    ("name: small", "name: small\nstores: [{id: kv, server: cont, clients: [one], operations: 9}]", "x.yaml:3: stores[0].server: expected a server of this scenario, found 'cont' (did you mean 'count'?)"),
    # what is not there yet
    ("name: small", "name: small\nchaos: {}", "x.yaml:3: chaos: chaos needs the key 'mix': a mapping from actions to weights"),
    ("    who: that", "    who: that\n    memory: kpt", "x.yaml:33: script[1].memory: expected what is left of its memory, found 'kpt' (did you mean 'kept'?)"),
    ("instances: 3", "instances: 3\n      workers: 4", "x.yaml:15: world.servers.count.workers: a server has instances (in all) or workers (on each host), not both"),
    ("instances: 3", "workers: 0", "x.yaml:14: world.servers.count.workers: expected a whole number from 1 to 1024"),
    ("instances: 3", "memory: durabel", "x.yaml:14: world.servers.count.memory: expected a kind of memory, found 'durabel' (did you mean 'durable'?)"),
    ("    do: crash\n    who: that", "    do: disk-full\n    for: 3s\n    who: count", "x.yaml:33: script[1].who: expected the registry, or instances of a server with memory: durable, found 'count' (only those keep anything on a disk; here: none)"),
    ("    do: crash\n    who: that", "    do: crash\n    memory: kept\n    who: registry", "x.yaml:33: script[1].who: expected instances of a server, found 'registry' (the registry's data are kept in any case: leave memory out)"),
    ("event: handling, server: count", "event: committing, server: count", "x.yaml:30: script[1].when.server: expected a server with memory: durable, found 'count' (nobody else commits to a disk; here: none)"),
    ("{event: handling, server: count, nth: 3, during: cut}", "{event: sent, nth: 11}", "x.yaml:30: script[1].when.nth: expected at most 10, found the number 11 (so many messages are sent; more there never are)"),
    ("  finally:\n    - {check: exactly-once, job: main}", "  never: [{seen: crashed, name: here}]", "x.yaml:38: expect.never[0].name: crashed has no name: only a mark has"),
    ("name: small", "name: small\nruns: {worlds: [moon]}", "x.yaml:3: runs.worlds[0]: expected a world, found 'moon' (there are sim, real)"),
    ('between: "* <-> *"', '{between: "* <-> *", queue: 1MiB}', "x.yaml:17: links[0].queue: a queue is what waits for a link's rate: give the link a rate too"),
    ('link: "one -> two"', 'link: "one -> registry.leader"', "x.yaml:27: script[0].link: expected the whole registry, found 'one -> registry.leader' (one of one member has no others; see world.registry.members"),
    ('link: "one -> two"', 'link: "one -> registry.followers"', "x.yaml:27: script[0].link: expected a link such as one -> two or zone:a <-> registry, found 'one -> registry.followers' ('registry.followers' is not an end of a link: write a host, zone:NAME, registry, registry.leader, registry[INDEX] or *"),
    ("route: [clean.line, count.words]", "route: [clean.line, [[count.words]]]", "x.yaml:21: load[0].route: a fork of a route has 2 to 64 branches, this one has 1"),
    ("route: [clean.line, count.words]", "route: [clean.line, [count.words]]", "x.yaml:21: load[0].route[1][0]: expected a list, each item a stage such as clean.line"),
    ("route: [clean.line, count.words]", "route: [clean.line, {even: [count.words], odd: [count.wodrs]}]", "x.yaml:21: load[0].route: expected a function that count serves"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "said"), MISTAKES, ids=[new.strip()[:40] for _, new, _ in MISTAKES])
def test_a_mistake_is_answered_with_its_place_and_the_way_out(here: str, old: str, new: str, said: str):
    """File, line, key, what was expected, what was found, and the nearest name."""
    assert refused(changed(old, new), here).startswith(said)


@pytest.mark.parametrize(
    ("old", "names", "not_yet"),
    [
        ("do: crash", ACTIONS, ACTIONS_NOT_YET),
        ("check: exactly-once", CHECKS, CHECKS_NOT_YET),
    ],
)
def test_what_is_designed_but_not_there_is_refused_by_name(here: str, old: str, names: object, not_yet: frozenset[str]):
    """Every word of the vocabulary is either in a table of what exists, or named as not supported; never both."""
    key = old.partition(":")[0]
    for word in not_yet:
        assert f"{word} is not supported by this version" in refused(changed(old, f"{key}: {word}"), here)
    assert not not_yet & set(names)


def test_every_block_can_say_its_keys():
    """The dataclasses are the schema: keys, forms and what must be there can be read off them."""
    assert list(keys_of(Scenario)) == [
        "palm",
        "name",
        "about",
        "clock",
        "world",
        "load",
        "stores",
        "runs",
        "calibration",
        "links",
        "script",
        "chaos",
        "expect",
        "found",
    ]
    for shape in [*ACTIONS.values(), *CHECKS.values()]:
        for name, (_, key) in keys_of(shape).items():
            assert key.name == name and key.form.expected


LINES = GOOD.splitlines()


@given(
    st.integers(0, len(LINES) - 1),
    st.sampled_from(["", "- x", "  y: 1", "for: 3", "[", "'", "at: 1s", "who: [x]", "{a: b}", "null"]),
)
def test_a_damaged_file_is_read_or_refused_with_a_line(line, junk):
    """No damage to any line gives another exception than a ScenarioError with a place."""
    text = "\n".join([*LINES[:line], junk, *LINES[line + 1 :]])
    try:
        parse(text, str(PARTITION))
    except ScenarioError as error:
        assert re.match(re.escape(str(PARTITION)) + r":\d+: ", str(error))


@given(st.text(alphabet="[]{}:,-# '\"&*!%@abc123\n", min_size=1, max_size=8), st.integers(0, len(GOOD)))
def test_text_thrown_into_a_file_is_read_or_refused(junk, place):
    """Nor does any text in any place."""
    try:
        parse(GOOD[:place] + junk + GOOD[place:], str(PARTITION))
    except ScenarioError as error:
        assert str(error).startswith(str(PARTITION))
