"""Streams a job to the server of shout.py, then asks it one thing: `python client.py [COUNT]`."""

import sys

from palm import Client


def main(client, count):
    job = client.job((b"message %d" % number for number in range(count)), ["shout.loud"])
    results = list(client.submit(job))  # in the order of their arrival; ordered=True for the order sent
    print(job.ledger)
    print(client.call("shout.loud", b"just one").decode())
    return results


if __name__ == "__main__":
    with Client() as client:
        main(client, int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
