"""A route of two stages, server to server: `python client.py [FILE]` counts the words of a text, line by line.

Beside the two servers in ../text; what the first makes of a line goes straight to the second, not by way of the client.
"""

import sys
from collections import Counter
from pathlib import Path

from palm import Client

TEXT = Path(__file__).parent.parent / "text" / "harbour.txt"


def main(client, path=TEXT):
    totals = Counter()
    with open(path, "rb") as lines:  # read as the job needs them, never as a whole
        for result in client.map(lines, ["clean.line", "count.words"]):
            for word in result.split():
                text, _, count = word.decode().partition("=")
                totals[text] += int(count)
    for text, count in totals.most_common(10):
        print(f"{count:6} {text}")
    return totals


if __name__ == "__main__":
    with Client() as client:
        main(client, *sys.argv[1:2])
