"""The demo's first server, as a user would write it. Also runs alone: `palm run` this file."""

from palm import RegisteredServer, run_server
from palm.demo.work import outline


class Parser(RegisteredServer):
    """Python source in, its functions and branches out."""

    def outline(self, message: bytes) -> bytes:
        return outline(message)


if __name__ == "__main__":
    run_server(Parser, "parse", ["outline"])
