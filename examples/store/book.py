"""Signs the book of guests.py, and watches it fill: `python book.py NAME...`."""

import sys
from itertools import islice

from palm import Client


def main(client, names):
    store = client.store("guests")
    watch = store.watch("guest/", timeout=30)  # from now on
    keys = list(client.map([name.encode() for name in names], "guests.sign"))
    seen = {change.key: change.value.decode() for change in islice(watch, len(names))}
    for key in keys:
        print(key.decode(), "is", store.get(key.decode()).decode())
    print(store.get("guest/nobody"), client.call("guests.count", b"").decode())
    return seen


if __name__ == "__main__":
    with Client() as client:
        main(client, sys.argv[1:] or ["Ann", "Bob"])
