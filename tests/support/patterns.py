"""The servers of the patterns' conformance: `palm run patterns.py:Class` in one world, the classes in the other."""

from palm import ButterflyServer, RegisteredServer, SinkServer, SourceServer


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
        self.last = -1

    def each(self, message):
        """Fails where a message comes before one that was sent earlier."""
        if self.message.sequence < self.last:
            raise AssertionError(f"{self.message.sequence} after {self.last}")
        self.last = self.message.sequence
        return message


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
