"""Tests that are coroutines: each runs on an event loop of its own."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, ParamSpec

P = ParamSpec("P")


def in_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run the test on a new event loop; it must leave no task behind."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async def alone() -> None:
            await test(*args, **kwargs)
            others = asyncio.all_tasks() - {asyncio.current_task()}
            # What was cancelled just now (grpc's own tasks too) ends within some rounds of the loop.
            left = (await asyncio.wait(others, timeout=1.0))[1] if others else set()
            assert not left, f"tasks were left behind: {left}"

        asyncio.run(alone())

    return run


async def until(condition: Callable[[], Awaitable[bool]], within_s: float, every_s: float = 0.05) -> None:
    """Ask again and again until `condition` holds; fails after `within_s`."""
    async with asyncio.timeout(within_s):
        while not await condition():
            await asyncio.sleep(every_s)
