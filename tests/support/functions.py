"""The servers of the functions' conformance: `palm run functions.py:Class` in one world, the classes in the other."""

import asyncio
import time

from palm import RegisteredServer


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
