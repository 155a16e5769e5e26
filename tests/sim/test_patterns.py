"""Patterns under random faults: whatever goes wrong, results are whole, and nothing is left open."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from palm.testing.simulate import Simulation, simulate
from tests.support import patterns

troubles = st.lists(
    st.tuples(
        st.integers(0, 400),
        st.sampled_from(["crash", "freeze", "cut"]),
        st.integers(0, 3).map(lambda index: f"parts[{index}]"),
        st.sampled_from([0.3, 2.0, 7.0]),
    ),
    # A message that was with three workers when they died is dead-lettered, and rightly so.
    max_size=2,
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(trouble=troubles, seed=st.integers(0, 1000))
def test_whatever_goes_wrong_each_message_is_gathered_whole(
    trouble: list[tuple[int, str, str, float]], seed: int
) -> None:
    """All of its parts, each in its place, once; and nothing is left open."""
    messages = [b" ".join(b"%d" % (number * part) for part in range(number % 7 + 1)) for number in range(40)]
    with simulate(patterns.Parts, name="parts", instances=4, seed=seed, service_s=0.004) as sim:
        client = sim.client(timeout=300)
        for at_ms, what, who, for_s in trouble:
            sim.at(2 + at_ms / 1000, lambda what=what, who=who, for_s=for_s: strike(sim, what, who, for_s))  # type: ignore[misc]  # bound now
        sim.run(1.9)
        job = client.job(messages, "parts.tag", ordered=True)
        assert list(client.submit(job)) == [b"t ".join(message.split()) + b"t" for message in messages]
        assert tuple(job.ledger) == (40, 40, 0, 0, 0, 0)
        sim.run(12)
        assert sim.left_open() == []


def strike(sim: Simulation, what: str, who: str, for_s: float) -> None:
    if what == "crash":
        sim.crash(who)
        sim.at(sim.now + for_s, lambda: sim.restart(who))
    elif what == "freeze":
        sim.freeze(who, for_s)
    else:
        sim.cut(f"{who} <-> *", for_s)
