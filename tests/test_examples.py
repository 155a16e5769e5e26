"""Every example runs: one table of servers and of what a client gets from them, in the simulator and with processes."""

from __future__ import annotations

import ast
import json
import sys
from collections import Counter
from importlib import util
from pathlib import Path
from typing import Any, Callable, NamedTuple

import pytest

from palm import Client
from palm.testing.simulate import simulate
from tests.support.cluster import cluster

EXAMPLES = Path(__file__).parents[1] / "examples"


class Served(NamedTuple):
    script: str
    """`file.py`, which says what it serves; or `file.py:Class`, under the name of the class."""
    options: tuple[str, ...] = ()
    """Of `palm run`."""
    instances: int = 2


class Example(NamedTuple):
    servers: list[Served]
    use: Callable[[Client], None]


def load(name: str) -> Any:
    """A module from its file, with its folder on the path, as when it is run."""
    spec = util.spec_from_file_location(f"palm_example_{name.replace('/', '_')}", EXAMPLES / name)
    assert spec is not None and spec.loader is not None
    module = util.module_from_spec(spec)
    sys.path.insert(0, str((EXAMPLES / name).parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.pop(0)
    return module


def named(served: Served) -> tuple[type, str]:
    """The class and the server's name, as `palm run` takes them from the script."""
    file, _, wanted = served.script.partition(":")
    module = load(file)
    if wanted:
        return getattr(module, wanted), wanted.lower()
    for node in ast.walk(ast.parse((EXAMPLES / file).read_text(encoding="utf-8"))):
        match node:
            case ast.Call(func=ast.Name("run_server"), args=[ast.Name(made), ast.Constant(name), *_]):
                return getattr(module, made), name
    raise AssertionError(f"{file} runs no server")


# -- what a client gets -----------------------------------------------------------------------------------------------


def single(client: Client) -> None:
    """As many results as messages, each the function's own."""
    results = load("single/client.py").main(client, 2000)
    assert sorted(results) == sorted(b"MESSAGE %d!" % number for number in range(2000))


def chain(client: Client) -> None:
    """The words of the text, as a serial count has them."""
    totals = load("chain/client.py").main(client)
    clean = load("text/clean.py").Clean()
    lines = (EXAMPLES / "text" / "harbour.txt").read_bytes().splitlines()
    assert totals == Counter(word for line in lines for word in clean.line(line).decode().split())
    assert totals.most_common(1)[0][0] == "the"


def parallel(client: Client) -> None:
    """Primes, counted."""
    limits = (EXAMPLES / "parallel" / "limits.txt").read_bytes().split()[:40]
    results = list(client.map(limits, "primes.below", ordered=True))
    primes = load("parallel/primes.py").Primes()
    assert results == [primes.below(limit) for limit in limits]


def source(client: Client) -> None:
    """Even numbers are halved, odd ones tripled and factorised, words end without a result."""
    assert load("source/split.py").main(client, 5) == b"2 2 1 2 5 2 2 2 2 2".split()


def sink(client: Client) -> None:
    """One result for each message, with both parts; and a job that ends in a sink has an exact ledger."""
    assert load("sink/join.py").main(client, 3) == [b"0 and 4", b"1 and 7", b"1 and 10"]
    job = client.job([b"%d" % number for number in range(200)], ["work.half", "book.write"])
    assert list(client.submit(job)) == []
    assert tuple(job.ledger) == (200, 200, 0, 0, 0, 0)


def flow(client: Client) -> None:
    """Lines become words, and branches keep some of them."""
    route = ["lines.split", "tee.copy", {"long": ["words.long"], "short": ["words.short", "words.shout"]}]
    assert sorted(client.map([b"a few words", b"", b"and " + b"x" * 50], route)) == sorted(
        [b"A", b"FEW", b"WORDS", b"AND", b"x" * 50]
    )


def risk(client: Client) -> None:
    """Bit for bit what a serial run gives, and the shortfall is beyond the value at risk."""
    at_risk, same = load("risk/value_at_risk.py").main(client, 8)
    assert same
    assert at_risk.expected_shortfall > at_risk.value_at_risk > 0


def search(client: Client) -> None:
    """What a serial search finds, in the order of the text."""
    lines = (EXAMPLES / "text" / "harbour.txt").read_bytes().splitlines()
    asked = ["Boats", "pier", "no such word"]
    for word, answer in zip(asked, load("scatter/ask.py").main(client, asked), strict=True):
        head, *found = answer.splitlines()
        assert found == [line for line in lines if word.lower().encode() in line.lower()]
        assert head == b"%d lines in 4 of 4 shards" % len(found)


def words(client: Client) -> None:
    """Each word of a line, in its place."""
    assert list(client.map([b"the quick fox", b""], "words.count", ordered=True)) == [b"the 3, quick 5, fox 3", b" 0"]


def asks(client: Client) -> None:
    """Handlers that call another server."""
    assert load("async/ask.py").main(client) == [b"rope: 352", b"tar: 335", b"231"]


def store(client: Client) -> None:
    """Every name is there once, and the watch has seen it; a missing key is None."""
    names = ["Ann", "Bob", "Cleo"]
    seen = load("store/book.py").main(client, names)
    assert sorted(seen.values()) == names
    assert client.store("guests").get("guest/nobody") is None
    assert client.call("guests.count", b"") == b"3"


def sessions(client: Client) -> None:
    """Each basket by itself, and nothing is left at the end."""
    assert load("sessions/shop.py").main(client) == ({"ann": ["rope", "tar"], "bob": ["tar"]}, [2, 1], [])


def reduce(client: Client) -> None:
    """The words of some of the standard library, as a serial count has them."""
    counted, serial = load("reduce/count.py").main(client, 6)
    assert counted == serial and len(serial) > 1000


def upgrade(client: Client) -> None:
    """The new version reads what clients of the old one send, and what its own do; the old one is in
    scenarios/restart/upgrade.yaml."""
    answers = list(client.map([b"Ann", b'{"name": "Bob"}'], "greet.hello", ordered=True))
    assert [json.loads(answer)["name"] for answer in answers] == ["Ann", "Bob"]


def errors(client: Client) -> None:
    """Tried again, limited in time, refused by type, and told to the caller. Without the places of files."""
    said = [line.split(" (/")[0] for line in load("errors/errors.py").main(client)]
    assert said == [
        "1.0",
        "1.1",
        "KeyError: 'XXX'",
        "ann gets 5",
        "ValueError in pay: -5 is no amount to pay",
        "function 'pay' of server 'bank' cannot read its payload as Transfer: Object missing required field `amount`",
        "ann is in order",
        "bob is in order",
        "sent 3  delivered 2  failed 1  expired 0  dead lettered 0  in flight 0",
    ]


WORKERS = ("--workers", "2")
NUMBERS, WORK = Served("source/parity.py"), Served("source/work.py")
FLOW = [Served(f"flow/words.py:{name}") for name in ("Lines", "Tee", "Words")]

RUNS: dict[str, list[Example]] = {
    "single": [Example([Served("single/shout.py")], single)],
    "text": [Example([Served("text/clean.py"), Served("text/count.py")], chain)],
    "chain": [Example([Served("text/clean.py"), Served("text/count.py")], chain)],
    # Its other half, fragile.py, is the server of scenarios/butterfly/poison.yaml.
    "parallel": [Example([Served("parallel/primes.py", WORKERS, 3)], parallel)],
    "risk": [Example([Served("risk/futures.py", WORKERS, 3)], risk)],
    "reduce": [Example([Served("reduce/words.py:Words"), Served("reduce/words.py:Count", WORKERS, 3)], reduce)],
    # Its third server, Stuck, is that of scenarios/scatter/silent-shard.yaml.
    "scatter": [
        Example([Served("scatter/search.py", WORKERS, 3)], search),
        Example([Served("scatter/words.py", WORKERS, 3)], words),
    ],
    "source": [Example([NUMBERS, WORK], source)],
    "sink": [Example([NUMBERS, WORK, Served("sink/pairs.py"), Served("sink/pairs.py:Book")], sink)],
    "flow": [Example(FLOW, flow)],
    "store": [Example([Served("store/guests.py", WORKERS)], store)],
    "sessions": [Example([Served("sessions/basket.py")], sessions)],
    "async": [Example([Served("async/desk.py"), Served("async/stock.py")], asks)],
    "upgrade": [Example([Served("upgrade/greet.py")], upgrade)],
    "errors": [Example([Served("errors/bank.py")], errors)],
}
"""By folder. An example of another shape has tests of its own, and is in `ELSEWHERE`."""

ELSEWHERE = {"testing": "examples/testing/test_word_server.py"}

ALL = {example.use.__name__: example for examples in RUNS.values() for example in examples}


FOLDERS = sorted(path.name for path in EXAMPLES.iterdir() if any(path.glob("*.py")))


@pytest.mark.parametrize("folder", FOLDERS)
def test_each_example_is_listed_and_run(folder: str) -> None:
    """It has its line in examples/README.md, with a command, and a test."""
    lines = (EXAMPLES / "README.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith(f"| [{folder}]({folder}) |") and "`" in line], folder
    assert folder in RUNS or (EXAMPLES.parent / ELSEWHERE[folder]).is_file()


@pytest.mark.parametrize("name", ALL)
def test_the_example_in_the_simulator(name: str) -> None:
    """It gives what it should."""
    servers, use = ALL[name]
    with simulate(named(servers[0])[0], name=named(servers[0])[1], instances=servers[0].instances, seed=1) as sim:
        for served in servers[1:]:
            made, called = named(served)
            sim.serve(made, name=called, instances=served.instances, service_s=0.001)
        use(sim.client(timeout=60))


@pytest.mark.parametrize("name", ALL)
def test_the_example_with_processes(name: str) -> None:
    """The same, with `palm run` as examples/README.md says."""
    servers, use = ALL[name]
    with cluster() as made:
        for served in servers:
            made.serve(*served.options, script=str(EXAMPLES / served.script))
        with Client(made.endpoint, timeout=60) as client:
            use(client)


def test_an_ordered_sink_sees_messages_in_the_order_sent() -> None:
    """Whatever order three instances before it answer in."""
    book = load("sink/pairs.py").Book()
    with simulate(load("source/work.py").Work, name="work", instances=3, seed=3, service_s=0.001) as sim:
        sim.serve(lambda: book, name="book")
        client = sim.client()
        job = client.job([b"%d" % number for number in range(200)], ["work.half", "book.write"])
        assert list(client.submit(job)) == []
    assert book.lines == [(number, b"%d" % (number // 2)) for number in range(200)]


def test_no_example_has_the_name_of_a_module_of_the_standard_library() -> None:
    """`python examples/x/y.py` puts its folder first in the path: the file would be imported in that module's place."""
    taken = [str(path.name) for path in EXAMPLES.rglob("*.py") if path.stem in sys.stdlib_module_names]
    assert taken == []
