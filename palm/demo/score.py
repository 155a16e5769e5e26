"""The demo's second server: gets what the first one made of a file, straight from it."""

from palm import RegisteredServer, run_server
from palm.demo.work import score


class Scorer(RegisteredServer):
    """Functions and branches in, figures out."""

    def score(self, message: bytes) -> bytes:
        return score(message)


if __name__ == "__main__":
    run_server(Scorer, "score", ["score"])
