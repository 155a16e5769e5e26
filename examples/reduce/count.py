"""Counts the words of the standard library's sources in a cluster, and by itself.

    python examples/reduce/count.py [FILES]    # after `palm run` of the two servers in words.py
"""

from __future__ import annotations

import sys
import sysconfig
from collections import Counter
from pathlib import Path

from words import WORD  # type: ignore[import-not-found]  # beside this file

from palm import Client


def sources(most: int) -> list[bytes]:
    folder = Path(sysconfig.get_paths()["stdlib"])
    return [path.read_bytes() for path in sorted(folder.glob("*.py"))[:most]]


def main(client: Client, most: int = 1000) -> tuple[Counter[bytes], Counter[bytes]]:
    """What the cluster counts, and what a serial count does."""
    files = sources(most)
    counted: Counter[bytes] = Counter()
    for result in client.map(files, ["words.of", "count.add"]):
        word, _, count = result.partition(b" ")
        counted[word] += int(count)
    return counted, Counter(word for file in files for word in WORD.findall(file))


if __name__ == "__main__":
    with Client() as client:
        counted, serial = main(client, *map(int, sys.argv[1:2]))
    for word, count in counted.most_common(10):
        print(f"{count:8}  {word.decode()}")
    print(f"{len(counted)} words, {'the same as' if counted == serial else 'NOT what'} a serial count says")
