"""A generator that may raise in the middle: what it yielded before is not handed over, and its message fails."""

from palm import RegisteredServer, run_server


class Torn(RegisteredServer):
    def words(self, message: bytes):
        """Each word of the line; a line that ends without a full stop is torn."""
        yield from message.split()
        if not message.rstrip().endswith(b"."):
            raise ValueError(f"the line ends with {message[-20:]!r}")


if __name__ == "__main__":
    run_server(Torn, "torn")
