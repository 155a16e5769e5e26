"""What the branches behind the sources of these examples do."""

from palm import RegisteredServer, run_server


class Work(RegisteredServer):
    def half(self, message):
        return b"%d" % (int(message) // 2)

    def triple(self, message):
        return b"%d" % (3 * int(message) + 1)

    def factors(self, message):
        """Yields many results: the prime factors of a number."""
        number, factor = int(message), 2
        while number > 1:
            while number % factor == 0:
                yield b"%d" % factor
                number //= factor
            factor += 1


if __name__ == "__main__":
    run_server(Work, "work", ["half", "triple", "factors"])
