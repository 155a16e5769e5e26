"""Run as `python killed.py DIRECTORY TIMES SEED`: a process that writes pairs to LMDB is killed that often, anywhen.

Each life writes a number under two keys, both in one batch, and says so once it is confirmed (with a fourth argument,
in two batches: then pairs must be torn). After each death what is
there must be a whole pair, and no older than the last one that was confirmed. Prints how many batches were confirmed.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time

from palm.net.storage import LmdbStorage


async def write(folder: str, out: int, first: int) -> None:
    storage = LmdbStorage(folder, "kv")
    await storage.load()
    loop = asyncio.get_running_loop()
    number = first
    while True:
        written: asyncio.Future[str] = loop.create_future()
        # A large value beside the pair: a batch of many pages has more moments to be torn in.
        value = b"%d" % number
        rows: list[tuple[bytes, bytes | None]] = [(b"left", value), (b"pages", value * 2_000), (b"right", value)]
        if len(sys.argv) > 4:
            storage.commit(rows[:1], lambda error: None)
            rows = rows[1:]
        storage.commit(rows, written.set_result)
        assert await written == ""
        os.write(out, b"%d\n" % number)
        number += 1


async def look(folder: str) -> dict[bytes, bytes]:
    storage = LmdbStorage(folder, "kv")
    rows = dict(await storage.load())
    await storage.aclose()
    return rows


def main() -> None:
    folder, times, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    draw = random.Random(seed)
    confirmed = total = 0
    for life in range(times):
        inn, out = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(inn)
            asyncio.run(write(folder, out, confirmed + 1))
        os.close(out)
        said = b""
        for _ in range(draw.randrange(1, 4)):
            said += os.read(inn, 65_536)
        time.sleep(draw.random() * 0.004)  # anywhere in the next batch
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        while more := os.read(inn, 65_536):
            said += more
        os.close(inn)
        lines = said.split()
        total += len(lines)
        last = int(lines[-1])
        rows = asyncio.run(look(folder))
        assert rows[b"left"] == rows[b"right"] == rows[b"pages"][: len(rows[b"left"])], f"life {life}: a torn pair"
        assert last <= int(rows[b"left"]) <= last + 1, f"life {life}: {last} was confirmed, {rows[b'left']!r} is there"
        confirmed = int(rows[b"left"])
    print(total)


if __name__ == "__main__":
    main()
