"""What user code finds when it asks for the time, for chance, or for the outside."""

from __future__ import annotations

import asyncio
import copy
import datetime
import multiprocessing
import os
import pickle
import queue
import random
import secrets
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import types
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from timeit import timeit
from typing import Any

import grpc
import pytest
import zmq

from palm.errors import HarnessError
from palm.sim import sandbox
from palm.sim.host import EPOCH_NS
from palm.sim.kernel import NANOSECONDS
from palm.sim.scenario.scenario import parse
from palm.sim.simulation import run
from palm.sim.world import World
from palm.testing import simulate

S = NANOSECONDS


def inside(body: Callable[[], Any], seed: int = 7, name: str = "one") -> Any:
    """What `body` returns when it runs as the handler of a simulated process, three seconds into the run."""
    world = World(seed)
    host = world.host(name)
    outcomes: list[Any] = []
    with sandbox.installed():
        world.kernel.run(3 * S)
        host.executor("e").execute("f", lambda _: body(), [None], outcomes.extend)
        world.kernel.run(1000 * S)
    (outcome,) = outcomes
    return outcome


def raised(body: Callable[[], Any]) -> BaseException:
    """What `body` raises inside."""

    def run() -> BaseException | None:
        try:
            body()
        except Exception as error:  # whatever it is, the test looks at it
            return error
        return None

    error = inside(run)
    assert error is not None, "nothing was raised"
    return error  # type: ignore[no-any-return]  # an exception, as asserted


def test_every_clock_shows_simulated_time() -> None:
    """The wall clocks show the epoch of the run and three seconds; the others count from its start."""
    wall = (EPOCH_NS + 3 * S) / S
    clocks = inside(
        lambda: [time.time(), time.time_ns() / S, datetime.datetime.now(datetime.UTC).timestamp(),
                 time.monotonic(), time.perf_counter(), time.monotonic_ns() / S, time.perf_counter_ns() / S]
    )  # fmt: skip
    assert clocks == [wall] * 3 + [3.0] * 4


def test_dates_are_the_simulated_day_in_utc() -> None:
    """datetime, date, localtime and strftime agree; what they make are the real classes' own instances."""
    moment = datetime.datetime.fromtimestamp(EPOCH_NS // S + 3, datetime.UTC)
    now, day, local, text, same = inside(
        lambda: (
            datetime.datetime.now(),
            datetime.date.today(),
            time.localtime(),
            time.strftime("%Y-%m-%d %H:%M:%S"),
            isinstance(datetime.datetime(2020, 1, 1), datetime.datetime),
        )
    )
    assert now == moment.replace(tzinfo=None) and type(now) is datetime.datetime
    assert day == moment.date() and type(day) is datetime.date and same
    assert time.strftime("%Y-%m-%d %H:%M:%S", local) == text == moment.strftime("%Y-%m-%d %H:%M:%S")


def test_dates_can_be_pickled_and_copied() -> None:
    """Inside, outside, and a pickle from inside read outside: always the real classes."""
    moment, day = datetime.datetime(2020, 1, 2, 3, 4, 5, 6, datetime.UTC, fold=1), datetime.date(2020, 1, 2)
    pickled, copied = inside(lambda: (pickle.dumps([moment, day]), copy.deepcopy([moment, day])))
    assert pickle.loads(pickled) == copied == [moment, day] == inside(lambda: pickle.loads(pickled))
    assert pickle.loads(pickled)[0].fold == 1 and type(copied[0]) is type(moment) and b"palm" not in pickled
    assert pickle.loads(pickle.dumps([moment, day])) == [moment, day]


def test_a_sleep_takes_simulated_time_only() -> None:
    """Ten minutes pass for the handler, and no time for us."""
    began = time.monotonic()
    assert inside(lambda: (time.sleep(600), time.monotonic())[1]) == 603.0
    assert time.monotonic() - began < 5


CHANCE: dict[str, Callable[[], Any]] = {
    "random": lambda: random.random(),
    "choice": lambda: random.choice(range(10**9)),
    "sample": lambda: random.sample(range(10**9), 3),
    "gauss": lambda: random.gauss(0, 1),
    "randbytes": lambda: random.randbytes(16),
    "Random()": lambda: random.Random().random(),
    "SystemRandom": lambda: random.SystemRandom().random(),
    "secrets": lambda: (secrets.token_hex(), secrets.randbelow(10**9), secrets.choice(range(10**9))),
    "urandom": lambda: os.urandom(16),
    "uuid4": lambda: uuid.uuid4(),
    "uuid1": lambda: uuid.uuid1(),
}


@pytest.mark.parametrize("draw", CHANCE.values(), ids=CHANCE)
def test_chance_is_a_function_of_the_seed(draw: Callable[[], Any]) -> None:
    """The same for one seed and process; another for another seed, another process, and a second asking."""
    first, second = inside(lambda: (draw(), draw()))
    assert inside(draw) == first != second
    assert first not in (inside(draw, seed=8), inside(draw, name="two"))


def test_uuids_are_valid() -> None:
    """Version 4 and version 1, whose time is the simulated one."""
    four, one = inside(lambda: (uuid.uuid4(), uuid.uuid1()))
    assert (four.version, one.version) == (4, 1)
    assert (one.time - 0x01B21DD213814000) * 100 == EPOCH_NS + 3 * S


def test_one_invocation_does_not_shift_the_chance_of_the_next() -> None:
    """However much the first batch draws, the second draws what it would have drawn."""

    def second_of(draws: int) -> float:
        host = World(7).host("one")
        outcomes: list[float] = []
        executor = host.executor("e")
        executor.execute("f", lambda _: [random.random() for _ in range(draws)][-1], [0], outcomes.extend)
        executor.execute("f", lambda _: random.random(), [0], outcomes.extend)
        host.kernel.run()
        return outcomes[1]

    assert second_of(1) == second_of(100)


def nothing() -> Any:
    """A stand-in for a coroutine, so that none is left behind that was never awaited."""


@pytest.mark.parametrize(
    ("attempt", "advice"),
    [
        (lambda: threading.Thread(target=print).start(), "make the function `async def`"),
        (lambda: threading.Timer(1, print).start(), "make the function `async def`"),
        (lambda: socket.socket(), "behind a server of its own"),
        (lambda: socket.create_connection(("127.0.0.1", 9)), "behind a server of its own"),
        (lambda: subprocess.run(["true"]), "call the work directly"),
        (lambda: os.system("true"), "call the work directly"),
        (lambda: os.fork(), "call the work directly"),
        (lambda: os.execv("/bin/true", ["true"]), "call the work directly"),
        (lambda: multiprocessing.get_context("spawn").Process(target=print).start(), "call the work directly"),
        (lambda: ThreadPoolExecutor(1).submit(print), "make the function `async def`"),
        (lambda: socket.gethostbyname("localhost"), "behind a server of its own"),
        (lambda: socket.getaddrinfo("localhost", 80), "behind a server of its own"),
        (lambda: select.select([], [], [], 1), "behind a server of its own"),
        (lambda: zmq.Context.instance().socket(zmq.PUSH), "behind a server of its own"),
        (lambda: grpc.insecure_channel("localhost:1"), "behind a server of its own"),
        (lambda: asyncio.run(nothing()), "the simulated world runs the loop"),
        (lambda: asyncio.new_event_loop(), "the simulated world runs the loop"),
        (lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN), "signals do not exist"),
        (lambda: signal.alarm(1), "signals do not exist"),
        (lambda: os.kill(1, signal.SIGTERM), "stop others with `crash`"),
        (lambda: threading.Event().wait(), "give the wait a timeout"),
        (lambda: queue.Queue().get(), "give the wait a timeout"),
        (lambda: Future().result(), "give the wait a timeout"),
        (lambda: input(), "take what you need from the message"),
    ],
)
def test_the_outside_is_refused_with_what_to_do_instead(attempt: Callable[[], Any], advice: str) -> None:
    """Threads, sockets and processes would be outside of the simulated world."""
    error = raised(attempt)
    assert isinstance(error, HarnessError) and advice in str(error)


def test_facts_of_the_process_are_the_simulated_ones() -> None:
    """Its number, its parent's, and its machine's name: the same in each run, and of another process other ones."""

    def facts() -> Any:
        return os.getpid(), threading.get_native_id(), uuid.getnode(), os.getppid(), socket.gethostname()

    first = inside(facts)
    assert first == inside(facts) and first[0] == first[1] and first[3:] == (1, "one")
    assert first[0] != inside(facts, name="two")[0] and first[0] != os.getpid()


def test_clocks_by_number_show_simulated_time() -> None:
    """`clock_gettime` and `os.times`."""
    seen = inside(
        lambda: (time.clock_gettime(time.CLOCK_REALTIME), time.clock_gettime_ns(time.CLOCK_MONOTONIC), os.times())
    )
    assert seen[0] == EPOCH_NS / S + 3 and seen[1] == 3 * S
    assert (seen[2].user, seen[2].elapsed) == (3.0, 3.0)


def test_local_time_is_utc_wherever_the_machine_stands() -> None:
    """Also for naive datetimes, which ask the C library; afterwards it is the machine's own again."""
    before, os.environ["TZ"] = os.environ.get("TZ"), "Asia/Kathmandu"
    time.tzset()
    sandbox._uninstall()
    try:
        noon = datetime.datetime(2024, 1, 1, 12)
        assert inside(lambda: (noon.timestamp(), datetime.datetime.fromtimestamp(1704110400), time.mktime(
            (2024, 1, 1, 12, 0, 0, 0, 1, 0)))) == (1704110400.0, noon, 1704110400.0)  # fmt: skip
        assert noon.timestamp() != 1704110400.0 and os.environ["TZ"] == "Asia/Kathmandu"
    finally:
        os.environ.pop("TZ") if before is None else os.environ.update(TZ=before)
        time.tzset()


def test_a_wait_with_a_limit_takes_simulated_time() -> None:
    """Nobody notifies: the time passes, and the answer is no. What is there already is not waited for."""

    def waits() -> Any:
        event, full = threading.Event(), queue.Queue[int]()
        full.put(7)
        waited = event.wait(20)
        event.set()
        return waited, event.wait(20), full.get(timeout=20), time.monotonic()

    began = time.monotonic()
    assert inside(waits) == (False, True, 7, 23.0)
    assert time.monotonic() - began < 5


def test_a_process_may_kill_itself_and_ask_whether_it_lives() -> None:
    """`os.kill` with its own simulated number: signal 0 is a question, any other its end."""
    world = World(7)
    host = world.host("one")
    outcomes: list[Any] = []
    with sandbox.installed():
        executor = host.executor("e")
        executor.execute("f", lambda _: os.kill(os.getpid(), 0), [0], outcomes.extend)
        world.kernel.run(S)
        assert outcomes == [None] and host.alive
        executor.execute("f", lambda _: os.kill(os.getpid(), signal.SIGKILL), [0], outcomes.extend)
        world.kernel.run(2 * S)
    assert not host.alive and len(outcomes) == 1


def test_what_a_folder_holds_comes_in_order(tmp_path: Path) -> None:
    """File systems keep none."""
    for name in ("b", "c", "a"):
        (tmp_path / name).touch()
    assert inside(lambda: os.listdir(tmp_path)) == ["a", "b", "c"]


class Marked:
    """A server whose constructor asks for time and chance, as many do."""

    def __init__(self) -> None:
        self.made = uuid.uuid4(), time.time(), os.getpid()


def test_a_constructor_is_user_code() -> None:
    """Each life of each instance is made in its own process; and in two runs of one seed alike."""

    def lives() -> list[Any]:
        made: list[Any] = []

        class Kept(Marked):
            def __init__(self) -> None:
                super().__init__()
                made.append(self.made)

            def f(self, payload: bytes) -> bytes:
                return payload

        with simulate(Kept, name="kept", instances=2, seed=7) as sim:
            sim.run(1)
            sim.restart("kept[0]")
            sim.run(1)
        return made

    first = lives()
    assert first == lives() and len(set(first)) == len(first) == 4
    assert {moment for _, moment, _ in first} == {EPOCH_NS / S, EPOCH_NS / S + 1}


def test_a_constructor_that_starts_a_thread_is_refused() -> None:
    """It would go on in the real world."""

    class Threaded:
        def __init__(self) -> None:
            threading.Thread(target=print).start()

        def f(self, payload: bytes) -> bytes:
            return payload

    with pytest.raises(HarnessError, match="a thread cannot be started"):
        simulate(Threaded, name="threaded")


def test_a_module_is_loaded_in_the_simulated_world(tmp_path: Path) -> None:
    """What a server file does as it is loaded is the same in each run of one seed."""
    (tmp_path / "marked.py").write_text(
        "import random, time, uuid\nfrom palm import RegisteredServer\n"
        "MARK = f'{uuid.uuid4()} {random.random()} {time.time()}'.encode()\n"
        "class Marked(RegisteredServer):\n    def f(self, payload):\n        return MARK\n"
    )
    text = (
        "palm: scenario/1\nname: marked\nabout: A mark.\nclock: {limit: 10s}\n"
        "world: {hosts: {edge: , one: }, servers: {marked: {run: 'marked.py:Marked', hosts: [one]}}}\n"
        "load: [{id: main, client: edge, route: [marked.f], messages: {count: 1, payload: words}}]\n"
    )
    scenario = parse(text, str(tmp_path / "marked.yaml"))
    hashes = [run(scenario, seed).trace_hash for seed in (7, 7, 8)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_what_a_module_took_by_name_is_found() -> None:
    """`from time import sleep` before the run sees the simulated world too, while the module is adopted."""
    module = types.ModuleType("handlers")
    exec("from time import monotonic, sleep\nfrom random import random\nfrom datetime import datetime", vars(module))
    originals = dict(vars(module))
    with sandbox.installed([module]):
        seen = inside(lambda: (module.sleep(2), module.monotonic(), module.datetime.now().year, module.random()))
    assert seen[1:3] == (5.0, 2023) and seen[3] == inside(lambda: random.random())
    assert all(vars(module)[name] is originals[name] for name in ("monotonic", "sleep", "random", "datetime"))


def test_outside_of_user_code_everything_is_real() -> None:
    """In the world's own callbacks, in other threads, and after the run."""
    world = World(7)
    host = world.host("one")
    seen: dict[str, float] = {}
    real = time.time()
    with sandbox.installed():
        host.call_soon(lambda: seen.update(callback=time.time()))
        world.kernel.run()
        thread = threading.Thread(target=lambda: seen.update(thread=time.time()))
        previous = sandbox.enter(UserOfNothing())
        real_start = threading.Thread.start
        sandbox.enter(previous)
        real_start(thread)
        thread.join()
    seen["after"] = time.time()
    assert all(abs(moment - real) < 60 for moment in seen.values()) and len(seen) == 3


class UserOfNothing:
    """Surroundings that must not be asked."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was asked for")


def test_another_thread_lives_in_the_real_world_while_user_code_runs() -> None:
    """A progress display keeps its own clock, whatever runs in the simulator's thread."""
    began, go, seen = threading.Event(), threading.Event(), list[float]()

    def display() -> None:
        began.set()
        go.wait(10)
        seen.append(time.time())

    thread = threading.Thread(target=display)
    thread.start()
    began.wait(10)

    def handler() -> None:
        go.set()
        while not seen:
            pass

    inside(handler)
    thread.join()
    assert abs(seen[0] - time.time()) < 60


def test_the_last_to_leave_restores_everything() -> None:
    """Nested uses share the replacements; afterwards the originals are there, by identity."""
    sandbox._uninstall()  # another test's world may have put them in place for good
    names = [(time, "time"), (random, "random"), (os, "urandom"), (datetime, "datetime"), (threading.Thread, "start")]
    originals = [getattr(holder, name) for holder, name in names]
    with sandbox.installed():
        with sandbox.installed():
            pass
        assert all(getattr(h, n) is not o for (h, n), o in zip(names, originals, strict=True))
    assert all(getattr(h, n) is o for (h, n), o in zip(names, originals, strict=True))


def test_entering_and_leaving_is_cheap() -> None:
    """Under two microseconds for both."""

    def both() -> None:
        sandbox.enter(sandbox.enter(None))

    with sandbox.installed():
        assert min(timeit(both, number=1000) for _ in range(20)) / 1000 < 2e-6, sys.version
