"""A property-based test of a user's own server, to be copied: whatever goes wrong, no message is lost or answered
twice.

Run it with `pytest tests/test_word_server.py`. Hypothesis draws what goes wrong and when; the simulator makes it
happen, the same way each time, so a failure shrinks to the few faults that matter and stays where it is.
"""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from palm import RegisteredServer
from palm.testing import Simulation, simulate


class WordServer(RegisteredServer):
    def count(self, message):
        return b"%d" % len(message.split())


INSTANCES = ["words[0]", "words[1]", "words[2]"]

seconds = st.floats(0.5, 8.0).map(lambda s: round(s, 2))
faults = st.one_of(
    st.tuples(st.just("crash"), seconds, st.sampled_from(INSTANCES)),
    st.tuples(st.just("freeze"), seconds, st.sampled_from(INSTANCES)),
    st.tuples(st.just("cut"), seconds, st.sampled_from(INSTANCES)),
    st.tuples(st.just("registry-down"), seconds, st.just("registry")),
)


def make_it_happen(sim: Simulation, fault):
    kind, at, who = fault
    if kind == "crash":
        sim.at(at, lambda: sim.crash(who))
        sim.at(at + 3.0, lambda: sim.restart(who))
    elif kind == "freeze":
        sim.at(at, lambda: sim.freeze(who, seconds=4.0))
    elif kind == "cut":
        sim.at(at, lambda: sim.cut(f"client <-> {who}", seconds=4.0))
    else:
        sim.at(at, lambda: sim.registry_down(seconds=6.0))


@settings(max_examples=40, deadline=None)
@given(st.lists(faults, max_size=5), st.integers(0, 2**32))
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
