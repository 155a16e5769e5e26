"""The servers of the functions' conformance: `palm run functions.py:Class` in one world, the classes in the other."""

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Iterator

import palm
from palm import RegisteredServer
from palm.wire import palm_pb2


class Front(RegisteredServer):
    """Calls `back`, and itself."""

    def ask(self, message):
        return b"front(" + self.call("back.answer", message) + b")"

    async def aask(self, message):
        return b"front(" + await self.acall("back.answer", message) + b")"

    async def gather(self, message):
        """Five calls beside each other."""
        parts = [self.acall("back.slow", message + b"%d" % number) for number in range(5)]
        return b"".join(await asyncio.gather(*parts))

    def ask_along(self, message):
        return self.call(["back.answer", "back.answer"], message)

    def ask_itself(self, message):
        return self.call("front.echo", message, timeout=1)

    def ask_nobody(self, message):
        return self.call("nobody.home", message, timeout=1)

    def ask_what_fails(self, message):
        return self.call("back.fails", message)

    async def block(self, message):
        return self.call("back.answer", message)

    def what_arrives(self, message):
        return self.call("back.sees", message)

    async def awhat_arrives(self, message):
        return await self.acall("back.sees", message)

    def ask_slow(self, message):
        return self.call("back.sleepy", message)

    def echo(self, message):
        return message

    def marked(self, message):
        self.mark("half-way")
        return message


class Back(RegisteredServer):
    def answer(self, message):
        return b"back(" + message + b")"

    async def slow(self, message):
        await asyncio.sleep(0.2)
        return message

    def sleepy(self, message):
        time.sleep(1.5)
        return message

    def fails(self, message):
        raise ValueError("no such word")

    def sees(self, message):
        left = self.message.deadline_s
        return b"%s %s" % (b"none" if left is None else b"%d" % left, self.message.trace.hex().encode())


@dataclasses.dataclass
class Order:
    item: str
    count: int = 1


class Fitted(RegisteredServer):
    """Functions with options and with types."""

    def __init__(self):
        self.beside = self.most = 0

    @palm.function
    def bare(self, message):
        return message

    @palm.function(retries=3, backoff=0.05, retry_on=ConnectionError)
    def third_time(self, message):
        if self.message.tries < 3:
            raise ConnectionError("not yet")
        return message + b" at try %d" % self.message.tries

    @palm.function(retries=2, backoff=0.05)
    async def never(self, message):
        raise ConnectionError("never")

    @palm.function(retries=2, backoff=0.05, retry_on=ConnectionError)
    def another(self, message):
        raise ValueError("another")

    @palm.function(timeout=0.3)
    async def slow(self, message):
        await asyncio.sleep(float(message))
        return message

    @palm.function(timeout=0.3)
    def slow_plain(self, message):
        time.sleep(float(message))
        return message

    @palm.function(concurrency=3)
    async def three(self, message):
        self.beside += 1
        self.most = max(self.most, self.beside)
        await asyncio.sleep(0.02)
        self.beside -= 1
        return b"%d" % self.most

    @palm.function(concurrency=4)
    def threads(self, message):
        time.sleep(0.2)
        return message

    @palm.function(batch=8)
    def together(self, messages):
        assert [m.sequence for m in self.messages] == [int(m) for m in messages]
        return [b"%d of %d" % (int(m), len(messages)) for m in messages]

    @palm.function(batch=4)
    async def mixed(self, messages):
        """An error, nothing, several, or one, by the message."""
        kinds = {b"error": ValueError("bad"), b"none": None, b"two": [b"1", b"2"]}
        return [kinds.get(message, message) for message in messages]

    @palm.function(batch=4)
    def too_few(self, messages):
        return messages[1:]

    @palm.function(batch=4)
    def raises(self, messages):
        raise ValueError("all of them")

    @palm.function(at_most_once=True)
    def once(self, message):
        return message

    def shout(self, text: str) -> str:
        return text.upper()

    def total(self, numbers: list[int]) -> int:
        return sum(numbers)

    async def bill(self, order: Order) -> dict[str, int]:
        return {order.item: order.count * 3}

    def letters(self, word: str) -> Iterator[str]:
        yield from word

    async def aletters(self, word: str) -> AsyncIterator[str]:
        for letter in word:
            yield letter

    def maybe(self, text: str) -> str | None:
        return text if len(text) > 3 else None

    def lies(self, text: str) -> str:
        return 7

    def wired(self, failure: palm_pb2.Failure) -> palm_pb2.Failure:
        failure.text = failure.text.upper()
        return failure

    @palm.function(codec="pickle")
    def pickled(self, value):
        return value, type(value).__name__

    @palm.function(batch=4)
    def totals(self, rows: list[list[int]]) -> list[int]:
        return [sum(row) for row in rows]


class Hooked(RegisteredServer):
    """Hooks, a function that takes its time, and lines of a log."""

    def __init__(self):
        self.steps = []

    async def on_start(self):
        await asyncio.sleep(0.01)
        self.steps.append("started")

    def on_stop(self):
        self.steps.append("stopped")
        self.log.warning("steps: %s", " ".join(self.steps))

    def steps_so_far(self, message):
        return " ".join(self.steps).encode()

    def naps(self, message):
        time.sleep(float(message))
        return message

    def fails(self, message):
        raise ValueError("as asked")

    def says(self, text: str) -> str:
        self.log.warning("it says %s", text)
        return text

    async def asays(self, text: str) -> str:
        self.log.error("it says %s", text)
        return text


class Broken(RegisteredServer):
    def on_start(self):
        raise FileNotFoundError("no model here")

    def never(self, message):
        return message
