"""The registry port's conformance suite on real etcd processes of both versions that PALM is tested with."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from palm.net.registry import EtcdRegistry
from palm.ports.registry import Revision
from palm.testing.conformance.registry import CHECKS, Check
from tests.support.aio import in_loop
from tests.support.etcd import FLAVOURS, Cluster, etcd

pytestmark = pytest.mark.conformance


@dataclass(frozen=True, slots=True)
class RealWorld:
    cluster: Cluster
    registry: EtcdRegistry
    prefix: str

    async def compact(self, revision: Revision) -> None:
        await asyncio.to_thread(self.cluster.compact, revision)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@pytest.fixture(scope="module", params=FLAVOURS)
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    with etcd(request.param) as cluster:
        yield cluster


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@in_loop
async def test_real_etcd_keeps_the_port(cluster: Cluster, check: Check) -> None:
    """A real etcd through EtcdRegistry does what the port promises."""
    registry = EtcdRegistry(cluster.settings())
    try:
        async with asyncio.timeout(60):
            await check(RealWorld(cluster, registry, f"/palm/{check.__name__}/"))
    finally:
        await registry.aclose()
