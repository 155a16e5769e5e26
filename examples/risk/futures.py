"""Monte Carlo on as many processes as there are cores; each message is a seed and a number of futures.

    python examples/risk/futures.py run --workers 2     # two that work, and one that leads them
    python examples/risk/value_at_risk.py               # equal, bit for bit, to a serial run
"""

from portfolio import losses

from palm import ButterflyServer, run_server


class Futures(ButterflyServer):
    def losses(self, message):
        """`b"SEED FUTURES"`. Whichever worker it is, and however often it runs, the seed decides all that is drawn."""
        seed, futures = message.split()
        return losses(int(seed), int(futures))


if __name__ == "__main__":
    run_server(Futures, "futures", ["losses"])
