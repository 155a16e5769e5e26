"""The servers of the flow scenarios: lines become words, branches keep some, and a sink puts them together again."""

from palm import RegisteredServer, SinkServer, SourceServer


class Lines(RegisteredServer):
    def split(self, message):
        """A part for each word; a blank line has none."""
        yield from message.split()


class Words(RegisteredServer):
    def shout(self, message):
        return message.upper()

    def long(self, message):
        return message if len(message) > 40 else None

    def short(self, message):
        return message if len(message) <= 40 else None


class Tee(SourceServer):
    def copy(self, message):
        return message


class Pairs(SinkServer):
    join = "zip"

    def both(self, parts):
        return b" / ".join(part or b"" for part in parts)
