"""The server of the command line's and the clients' tests: `python letters.py run`, or `palm run letters.py`."""

import asyncio
import os
import time

from palm import RegisteredServer, run_server


class Letters(RegisteredServer):
    def echo(self, message: bytes) -> bytes:
        return message

    def shout(self, message: bytes) -> bytes:
        return message.upper()

    def fail(self, message: bytes) -> bytes:
        raise KeyError(message.decode())

    def odd(self, message: bytes) -> bytes:
        """Fails on odd numbers."""
        if int(message) % 2:
            raise ValueError(f"{int(message)} is odd")
        return message

    def text(self, message: bytes) -> object:
        """Returns a str, which is a mistake."""
        return message.decode()

    def nap(self, message: bytes) -> bytes:
        """Sleeps for that many seconds."""
        time.sleep(float(message))
        return message

    def step(self, message: bytes) -> bytes:
        """A short piece of work that takes its time."""
        time.sleep(0.002)
        return message

    async def doze(self, message: bytes) -> bytes:
        await asyncio.sleep(float(message))
        return message

    def pid(self, message: bytes) -> bytes:
        return str(os.getpid()).encode()

    def die(self, message: bytes) -> bytes:
        os._exit(7)


if __name__ == "__main__":
    run_server(
        Letters, "letters", ["echo", "shout", "fail", "odd", "text", "nap", "step", "doze", "pid", "die"]
    )
