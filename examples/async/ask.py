"""Ask the desk for prices: `python ask.py`, with `palm run desk.py` and `palm run stock.py` beside it."""

from palm import Client


def main(client):
    total = client.call("desk.price_all", b"rope tar lamp")
    return [*client.map([b"rope", b"tar"], "desk.price", ordered=True), total]


if __name__ == "__main__":
    with Client() as client:
        for line in main(client):
            print(line.decode())
