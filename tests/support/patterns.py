"""The servers of the patterns' conformance: `palm run patterns.py:Class` in one world, the classes in the other."""

import asyncio

from palm import (
    ButterflyServer,
    PartFailed,
    ReduceServer,
    RegisteredServer,
    ScatterGatherServer,
    SinkServer,
    SourceServer,
)


class Work(RegisteredServer):
    def tag(self, message):
        return message + b"t"

    def count(self, message):
        """As many results as the message says."""
        for number in range(int(message)):
            yield b"%s.%d" % (message, number)

    async def count_async(self, message):
        for number in range(int(message)):
            yield b"%s.%d" % (message, number)

    def none(self, message):
        return None

    async def odd(self, message):
        return message if message[-1] % 2 else None

    def breaks(self, message):
        yield message
        raise ValueError("in the middle")

    def fails_on_two(self, message):
        if message.endswith(b".2"):
            raise ValueError("two")
        return message

    def listed(self, message):
        return [message]

    def who(self, message):
        at = self.message
        return f"{at.sequence} {at.part} {at.stage} {at.attempt} {at.deadline_s is None} {len(at.client) > 15}".encode()

    async def who_async(self, message):
        return self.who(message)


class Split(SourceServer):
    outputs = {"sort": ["odd", "even"]}

    def copy(self, message):
        return message

    def sort(self, message):
        return ("odd" if message[-1] % 2 else "even"), message

    def wrong(self, message):
        return "nowhere", message


class Zipped(SinkServer):
    join = "zip"

    def all(self, parts):
        return b"|".join(b"-" if part is None else part for part in parts)


class Ended(SinkServer):
    consume = True

    def end(self, message):
        return message


class Ordered(SinkServer):
    join = "order"

    def __init__(self):
        self.last = {}
        self.is_busy = False

    def each(self, message):
        """Fails where a message comes before one that was sent earlier."""
        job, sequence = (self.message.client, self.message.job), self.message.sequence
        last = self.last.get(job, -1)
        if sequence < last:
            raise AssertionError(f"{sequence} after {last}")
        self.last[job] = sequence
        return message

    async def each_async(self, message):
        """The same; and fails where it runs beside itself, as it well might: it takes its time, now more, now less."""
        assert not self.is_busy
        self.is_busy = True
        await asyncio.sleep(0.002 * (message[-1] % 3))
        self.is_busy = False
        return self.each(message)


class Crew(ButterflyServer):
    def count(self, message):
        yield from Work.count(self, message)

    async def count_async(self, message):
        for number in range(int(message)):
            yield b"%s.%d" % (message, number)

    def odd(self, message):
        return message if message[-1] % 2 else None

    def sort(self, message):
        return ("odd" if message[-1] % 2 else "even"), message


class Parts(ScatterGatherServer):
    """Words, each by itself, together again."""

    def scatter(self, payload):
        if payload == b"raise":
            raise ValueError("in scatter")
        yield from payload.split()

    def tag(self, part):
        return part + b"t"

    async def odd(self, part):
        """Nothing for even numbers; fails on what is none."""
        return part if int(part) % 2 else None

    def many(self, part):
        yield from (part, part)

    def where(self, part):
        return b"%d" % self.message.part[-1]

    def gather(self, results):
        if results == (b"boom!t",):
            raise ValueError("in gather")
        if results == (None,):
            return None
        if results[0] == b"manyt":
            return iter(results[1:])
        return b" ".join(show(result) for result in results)


def show(result):
    if isinstance(result, PartFailed):
        return b"<%d %s>" % (result.part, result.kind.encode())
    return b"-" if result is None else result


class Hanging(Parts):
    partial = "show"
    part_deadline = 1.0

    async def hang(self, part):
        if part == b"hang":
            await asyncio.sleep(3600)
        return part


class Skipping(Parts):
    partial = "skip"


class Showing(Parts):
    partial = "show"


class Folded(ReduceServer):
    def key(self, message):
        """What stands before `=`; of a wrong type for `?`."""
        return 7 if message == b"?" else message.split(b"=")[0] if b"=" in message else None

    def join(self, one, other):
        return one + other

    def add(self, one, other):
        name, number = one.split(b"=")
        return b"%s=%d" % (name, int(number) + int(other.split(b"=")[1]))

    def picky(self, one, other):
        if other.startswith(b"x"):
            raise ValueError("no x")
        return 1 if other.startswith(b"y") else one + other


class Tens(ReduceServer):
    every = 10

    def join(self, one, other):
        return one + other
