"""Sends numbers along two branches that meet: `python join.py [COUNT]`, beside ../source/parity.py, ../source/work.py
and pairs.py."""

import sys

from palm import Client

ROUTE = ["numbers.copy", [["work.half"], ["work.triple"]], "pairs.show"]


def main(client, count):
    job = client.job([b"%d" % number for number in range(1, count + 1)], ROUTE, ordered=True)
    results = list(client.submit())
    for result in results:
        print(result.decode())
    print(job.ledger)
    return results


if __name__ == "__main__":
    with Client() as client:
        main(client, int(sys.argv[1]) if len(sys.argv) > 1 else 20)
