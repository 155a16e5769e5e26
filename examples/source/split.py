"""Sends numbers along a route with two named branches: `python split.py [COUNT]`, beside parity.py and work.py."""

import sys

from palm import Client

ROUTE = ["numbers.sort", {"even": ["work.half"], "odd": ["work.triple", "work.factors"]}]


def main(client, count):
    job = client.job([b"%d" % number for number in range(1, count + 1)] + [b"no number"], ROUTE, ordered=True)
    results = list(client.submit())
    print(" ".join(result.decode() for result in results))
    print(job.ledger)
    return results


if __name__ == "__main__":
    with Client() as client:
        main(client, int(sys.argv[1]) if len(sys.argv) > 1 else 20)
