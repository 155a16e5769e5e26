"""How the time of a call is shared out, against endpoints that nobody listens on."""

from __future__ import annotations

import time

import pytest

from palm.errors import RegistryUnavailable
from palm.net.etcd.answers import Fate, Verdict
from palm.net.etcd.calls import Calls, Metadata
from palm.net.etcd.channel import Link
from palm.net.etcd.settings import EtcdSettings
from palm.wire import etcd as wire
from tests.support.aio import in_loop


async def tries_of(members: int, total_s: float) -> list[tuple[str, float, float]]:
    """Endpoint, time allowed and moment of each try of a call that nobody answers at once."""
    calls = Calls(EtcdSettings(endpoints=tuple(f"127.0.0.1:{port}" for port in range(1, 1 + members))))
    tried: list[tuple[str, float, float]] = []
    began = time.monotonic()

    async def attempt(link: Link, timeout_s: float, metadata: Metadata) -> wire.LeaseKeepAliveResponse | Verdict:
        tried.append((link.endpoint, timeout_s, time.monotonic() - began))
        return Verdict(Fate.UNSENT, RegistryUnavailable, "connection refused")

    with pytest.raises(RegistryUnavailable):
        await calls.run(calls.tries("LeaseKeepAlive", total_s), attempt)
    await calls.links.aclose()
    return tried


@pytest.mark.parametrize(("members", "total_s", "share_s"), [(3, 0.5, 0.25), (2, 0.75, 0.375), (3, 1.25, 0.5)])
@in_loop
async def test_one_member_is_given_half_a_call_at_most(members: int, total_s: float, share_s: float) -> None:
    """Half a second at least, as long as that leaves as much for another: one that is silent must not use up the
    renewal of a lease, however short."""
    tried = await tries_of(members, total_s)
    assert tried[0][1] == pytest.approx(share_s, abs=0.02)
    assert len({endpoint for endpoint, _, _ in tried}) == members


@in_loop
async def test_a_single_member_has_the_whole_call() -> None:
    """There is nobody else to ask."""
    tried = await tries_of(1, 0.75)
    assert tried[0][1] == pytest.approx(0.75, abs=0.02)


@in_loop
async def test_no_pause_is_longer_than_a_fifth_of_the_call() -> None:
    """A renewal that has 1.25 s does not sleep for one of them while a leader is elected."""
    tried = await tries_of(3, 1.25)
    rounds = [moment for _, _, moment in tried][::3]
    assert len(rounds) >= 5, f"{len(rounds)} rounds in 1.25 s: {rounds}"
