"""Property-based tests of a server of your own, to be copied: `pytest examples/testing`.

They run your real server class and the real client in one process. Network, registry and time are simulated, from a
seed: a frozen machine or a registry that is away for six seconds costs no second of yours, and the same seed gives the
same run, to the last frame. Hypothesis draws what goes wrong; what it finds it shrinks to the few faults that matter,
and prints them.
"""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palm import HandlerFailed, RegisteredServer
from palm.testing import Simulation, simulate


# Yours: `from my_server import WordServer`. Nothing in it knows that it is tested.
class WordServer(RegisteredServer):
    def count(self, message):
        return b"%d" % len(message.split())

    def longest(self, message):
        return max(message.split(), key=len)  # a blank line has none: this raises


# -- what your functions mean -----------------------------------------------------------------------------------------
# The simplest property: through a cluster the function gives what it gives without one. Hypothesis draws the payloads;
# `ordered=True` so that results can be compared one to one.


@settings(max_examples=25, deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=30))
def test_a_line_has_as_many_words_in_the_cluster_as_without_it(lines):
    with simulate(WordServer, name="words", instances=2) as sim:
        results = list(sim.client().map(lines, "words.count", ordered=True))
    assert results == [WordServer().count(line) for line in lines]


# An exception in a function is that message's end, and no other's. `errors="yield"` gives the error in the result's
# place.


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from([b"", b"   ", b"a word", b"some more words"]), max_size=30))
def test_a_line_without_words_fails_alone(lines):
    with simulate(WordServer, name="words", instances=2) as sim:
        client = sim.client()
        job = client.job(lines, ["words.longest"], ordered=True, errors="yield")
        results = list(client.submit(job))
    for line, result in zip(lines, results, strict=True):
        if line.split():
            assert result == max(line.split(), key=len)
        else:
            assert isinstance(result, HandlerFailed) and result.kind == "ValueError"


# -- what goes wrong --------------------------------------------------------------------------------------------------
# A fault is a plain tuple, so that Hypothesis can draw it, shrink it and print it. Instances are called as you called
# the server, and numbered: words[0], words[1]. The client runs on the host `client`, the registry on `registry`.

INSTANCES = ["words[0]", "words[1]", "words[2]"]

seconds = st.floats(0.5, 8.0).map(lambda s: round(s, 2))  # rounded: a failure is easier to read
crashes = st.tuples(st.just("crash"), seconds, st.sampled_from(INSTANCES))
others = st.one_of(
    st.tuples(st.just("drain"), seconds, st.sampled_from(INSTANCES)),
    st.tuples(st.just("freeze"), seconds, st.sampled_from(INSTANCES)),
    st.tuples(st.just("cut"), seconds, st.sampled_from(INSTANCES)),
    st.tuples(st.just("registry-down"), seconds, st.just("registry")),
)
# Two crashes at most: PALM takes a message that was with three instances when they died for the cause of it, and
# dead-letters it.
scripts = st.builds(list.__add__, st.lists(crashes, max_size=2), st.lists(others, max_size=4))


def make_it_happen(sim: Simulation, fault):
    kind, at, who = fault
    if kind == "crash":  # as by SIGKILL; the next life begins three seconds later
        sim.at(at, lambda: sim.crash(who))
        sim.at(at + 3.0, lambda: sim.restart(who))
    elif kind == "drain":  # as by Ctrl-C
        sim.at(at, lambda: sim.drain(who))
        sim.at(at + 3.0, lambda: sim.restart(who))
    elif kind == "freeze":  # as by SIGSTOP
        sim.at(at, lambda: sim.freeze(who, seconds=4.0))
    elif kind == "cut":  # one way only: f"client -> {who}"
        sim.at(at, lambda: sim.cut(f"client <-> {who}", seconds=4.0))
    else:
        sim.at(at, lambda: sim.registry_down(seconds=6.0))


# The simulator cannot measure your code, so `service_s` says how long a message takes. 400 messages of 20 ms on three
# instances are 2.7 s of work: long enough for the faults to find them at it.


@settings(max_examples=40, deadline=None)
@given(scripts, st.integers(0, 2**32))
def test_every_line_is_counted_once_whatever_goes_wrong(script, seed):
    lines = [b"word " * (n % 7) for n in range(400)]
    with simulate(WordServer, name="words", instances=3, seed=seed, service_s=0.02) as sim:
        for fault in script:
            make_it_happen(sim, fault)
        client = sim.client()
        job = client.job(lines, ["words.count"])
        results = Counter(client.submit())
        assert results == Counter(b"%d" % len(line.split()) for line in lines)
        assert job.ledger.adds_up and job.ledger.delivered == len(lines)


# -- how long it may take ---------------------------------------------------------------------------------------------
# Simulated seconds are exact, so a bound on time is a property like any other: here, that one frozen instance of three
# costs the others its share of the work and the time to notice, and no more.


@settings(max_examples=10, deadline=None)
@given(st.sampled_from(INSTANCES), st.floats(0.1, 2.0))
def test_a_frozen_instance_does_not_hold_up_the_job(who, at):
    with simulate(WordServer, name="words", instances=3, seed=1, service_s=0.02) as sim:
        client = sim.client()
        client.call("words.count", b"is everybody there?")
        sim.at(at, lambda: sim.freeze(who, seconds=60.0))
        began = sim.now
        assert len(list(client.map([b"word"] * 400, "words.count"))) == 400
        assert sim.now - began < 20.0


# -- when a test fails ------------------------------------------------------------------------------------------------
# The seed is part of what Hypothesis prints; the same one is the same run. `trace_hash` says so.


@pytest.mark.parametrize("seed", [0, 7])
def test_one_seed_is_one_run(seed):
    def run():
        with simulate(WordServer, name="words", instances=3, seed=seed, service_s=0.02) as sim:
            sim.at(0.5, lambda: sim.crash("words[1]"))
            list(sim.client().map([b"word"] * 100, "words.count"))
            return sim.trace_hash

    assert run() == run()
