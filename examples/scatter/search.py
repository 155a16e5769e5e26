"""Full-text search: each query goes to all shards of a text at the same time, and a silent shard does not hold it up.

    palm run examples/scatter/search.py --workers 2
    palm call search.find harbour
"""

import asyncio
from pathlib import Path

from palm import PartFailed, ScatterGatherServer, run_server

LINES = (Path(__file__).parents[1] / "text" / "harbour.txt").read_bytes().splitlines()
SHARDS = [LINES[at : at + 9] for at in range(0, len(LINES), 9)]


class Search(ScatterGatherServer):
    partial = "show"  # gather is told which shards are missing
    part_deadline = 0.5

    def scatter(self, query):
        """A part for each shard: its number, and what to look for."""
        for number in range(len(SHARDS)):
            yield b"%d %s" % (number, query)

    async def find(self, part):
        """The lines of one shard that hold the word."""
        number, word = part.split(b" ", 1)
        return b"\n".join(line for line in await self.read(int(number)) if word.lower() in line.lower())

    async def read(self, number):
        return SHARDS[number]

    def gather(self, results):
        """How many lines there are, of how many shards; then the lines, in the order of the text."""
        found = [line for result in results if isinstance(result, bytes) for line in result.splitlines()]
        missing = sum(isinstance(result, PartFailed) for result in results)
        head = b"%d lines in %d of %d shards" % (len(found), len(results) - missing, len(results))
        return b"\n".join([head, *found])


class Stuck(Search):
    """The same on a bad disk: every tenth query never hears of shard 2."""

    async def read(self, number):
        if number == 2 and self.message.sequence % 10 == 9:
            await asyncio.sleep(3600)
        return SHARDS[number]


if __name__ == "__main__":
    run_server(Search, "search", ["find"])
