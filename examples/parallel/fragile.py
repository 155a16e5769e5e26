"""A server that a bad message takes down with it, as a native library might: what PALM's dead letters are for."""

import os

from palm import ButterflyServer, run_server


class Fragile(ButterflyServer):
    def measure(self, message: bytes) -> bytes:
        """The length of the message. An empty one ends the process on the spot."""
        if not message:
            os._exit(70)
        return b"%d" % len(message)


if __name__ == "__main__":
    run_server(Fragile, "fragile")
