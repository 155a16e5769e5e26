"""Value at risk and expected shortfall of the portfolio: `python value_at_risk.py [SEEDS]`, beside futures.py."""

import sys

from portfolio import PORTFOLIO, losses, risk

from palm import Client

FUTURES = 500
"""In one message: some 5 ms of work, so that workers are busy and the wire is not."""


def main(client, seeds):
    messages = [b"%d %d" % (seed, FUTURES) for seed in range(seeds)]
    packed = b"".join(client.map(messages, "futures.losses", ordered=True))
    at_risk = risk(packed)
    same = packed == b"".join(losses(seed, FUTURES) for seed in range(seeds))
    for position in PORTFOLIO:
        print(f"{position.asset:10} {position.units:8,.0f} at {position.price:8.2f}")
    print(f"of {seeds * FUTURES:,} futures, one in a hundred loses {at_risk.value_at_risk:,.0f} or more in ten days,")
    print(f"and {at_risk.expected_shortfall:,.0f} on average. Bit for bit the serial run: {'yes' if same else 'NO'}")
    return at_risk, same


if __name__ == "__main__":
    with Client() as client:
        main(client, int(sys.argv[1]) if len(sys.argv) > 1 else 400)
