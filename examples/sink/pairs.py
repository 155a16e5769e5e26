"""Sinks: one zips what two branches made of each message, the other writes results down in order, and sends none on."""

from palm import SinkServer, run_server


class Pairs(SinkServer):
    join = "zip"

    def show(self, parts):
        """`parts` is a tuple, one for each branch; None where a branch has filtered the message out."""
        return b" and ".join(part or b"nothing" for part in parts)


class Book(SinkServer):
    join = "order"
    consume = True

    def __init__(self):
        self.lines = []

    def write(self, message):
        self.lines.append((self.message.sequence, message))


if __name__ == "__main__":
    run_server(Pairs, "pairs", ["show"])
