"""`--workers N`: one supervisor, N processes of the same command, and a reason for every restart.

The children are the same command line with one worker each, started anew rather than forked. One that dies is started
again after a pause that doubles while it keeps dying, and falls back once it has lived a while.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from dataclasses import dataclass

from palm.gateway.children import environment
from palm.gateway.process import ServerOptions, embed_registry_if_alone, say

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
LIVED_S = 10.0
"""A child that lived this long was well; its next death is its first again."""


@dataclass(slots=True)
class _Child:
    number: int
    pause_s: float = FIRST_PAUSE_S
    process: asyncio.subprocess.Process | None = None


def supervise(workers: int, options: ServerOptions) -> int:
    """Run this process's own command line in `workers` children until told to stop; 0 when all of them ended well."""
    return asyncio.run(_supervise(workers, options))


async def _supervise(workers: int, options: ServerOptions) -> int:
    loop = asyncio.get_running_loop()
    embedded = await embed_registry_if_alone(options)
    stopping = asyncio.Event()
    children = [_Child(number) for number in range(1, workers + 1)]

    def on_signal() -> None:
        again = stopping.is_set()
        stopping.set()
        for child in children:
            if child.process is not None and child.process.returncode is None:
                child.process.send_signal(signal.SIGKILL if again else signal.SIGTERM)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    codes = await asyncio.gather(*(_keep_alive(child, options.name, stopping) for child in children))
    if embedded is not None:
        await embedded()
    return max(codes)


async def _keep_alive(child: _Child, name: str, stopping: asyncio.Event) -> int:
    loop = asyncio.get_running_loop()
    while True:
        begin = loop.time()
        # A session of its own: Ctrl-C reaches the supervisor only, which passes it on once.
        child.process = await asyncio.create_subprocess_exec(
            *_command(), start_new_session=True, env=environment()
        )
        code = await child.process.wait()
        if stopping.is_set():
            return 0 if code in (0, -signal.SIGTERM) else 1  # by the signal: before it served anybody
        lived_s = loop.time() - begin
        if lived_s >= LIVED_S:
            child.pause_s = FIRST_PAUSE_S
        say(
            f"palm: worker {child.number} of {name} (pid {child.process.pid}) {_cause(code)} after {lived_s:.1f} s; "
            f"a new one starts in {child.pause_s:g} s"
        )
        try:
            await asyncio.wait_for(stopping.wait(), child.pause_s)
            return 0
        except TimeoutError:
            child.pause_s = min(2 * child.pause_s, LONGEST_PAUSE_S)


def _cause(code: int) -> str:
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"exited with code {code}"


def _command() -> list[str]:
    """This command line once more, for one worker. The last --workers on a line is the one that counts."""
    return [sys.executable, *sys.orig_argv[1:], "--workers", "1"]
