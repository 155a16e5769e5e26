"""A server of each parallel kind, with the same two functions: who works, for as long as asked, and what time is left.

`who` takes `MILLISECONDS|` and gives it back with the process ids of all that worked for it, `left` gives the seconds
that its message had left. `palm run crews.py:Class`, or the classes in the simulator.
"""

import asyncio
import os
import time

from palm import ButterflyServer, ReduceServer, RegisteredServer, ScatterGatherServer


def work(payload):
    """For as long as it says; it, and by whom."""
    pause, _, names = payload.partition(b"|")
    time.sleep(int(pause) / 1000)
    return pause + b"|" + b",".join(sorted({*names.split(b","), b"%d" % os.getpid()} - {b""}))


class Front(RegisteredServer):
    async def doze(self, payload):
        await asyncio.sleep(0.3)
        return payload


class Led(ButterflyServer):
    """Alone, it leads and works."""

    def __init__(self):
        self.heard = []

    def on_term(self, term):
        self.heard.append(b"%d" % term)

    def terms(self, payload):
        return b" ".join(self.heard)


class Wings(ButterflyServer):
    def who(self, payload):
        return work(payload)

    def left(self, payload):
        return b"%.3f" % self.message.deadline_s


class Shards(ScatterGatherServer):
    def scatter(self, payload):
        yield payload
        yield payload

    def who(self, payload):
        return work(payload)

    def left(self, payload):
        return b"%.3f" % self.message.deadline_s

    def gather(self, results):
        return b",".join([results[0], *(result.partition(b"|")[2] or result for result in results[1:])])


class Eights(ReduceServer):
    """One result for each eight messages."""

    every = 8

    def who(self, one, other):
        return work(one + b"," + other.partition(b"|")[2])

    def left(self, one, other):
        """The least that any fold had: partial results, which are of the job and of no message, have a time of their
        own."""
        seen = [float(each) for each in (one, other) if b"|" not in each]
        return b"%.3f" % min([self.message.deadline_s, *seen])
