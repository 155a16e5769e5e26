"""CPU work on as many processes as there are cores: how many primes are below a number.

    python examples/parallel/primes.py run --workers 2      # three processes: two that work, and one that leads them
    palm call primes.below 100000                           # 9592
"""

from palm import ButterflyServer, run_server


class Primes(ButterflyServer):
    def below(self, message: bytes) -> bytes:
        """The count of primes below the number in the message, by trial division: slow on purpose."""
        limit = int(message)
        return b"%d" % sum(all(n % d for d in range(2, int(n**0.5) + 1)) for n in range(2, limit))

    def on_term(self, term: int) -> None:
        self.log.info("this process leads from now on (term %d)", term)


if __name__ == "__main__":
    run_server(Primes, "primes")
