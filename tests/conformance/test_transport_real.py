"""The transport's conformance suite on ZeroMQ."""

from __future__ import annotations

import asyncio

import pytest

from palm.testing.conformance.transport import CHECKS, Check
from tests.support.zmq_world import ZmqWorld


@pytest.mark.conformance
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_zeromq_transport_keeps_the_contract(check: Check) -> None:
    """Each check of `palm.testing.conformance.transport` holds on real sockets."""

    async def run() -> None:
        async with ZmqWorld() as world:
            await check(world)

    asyncio.run(run())
