"""The weakness of fragile.py without a leader: each instance takes messages itself, as a later stage of a route."""

import os

from palm import RegisteredServer, run_server


class Frail(RegisteredServer):
    def measure(self, message: bytes) -> bytes:
        """The length of the message. An empty one ends the process on the spot."""
        if not message:
            os._exit(70)
        return b"%d" % len(message)


if __name__ == "__main__":
    run_server(Frail, "frail")
