"""Two shoppers with a basket each: `python shop.py`."""

from palm import Client

WANTS = {"ann": ["rope", "tar"], "bob": ["tar"]}


def main(client):
    for shopper, things in WANTS.items():
        job = client.job([thing.encode() for thing in things], ["basket.put"], session=shopper)
        print(shopper, "has", max(client.submit(job)).decode())
    store = client.store("basket")
    baskets = {shopper: store.session(shopper).list() for shopper in WANTS}
    print(baskets, store.list("bob/"))
    dropped = [store.session(shopper).drop() for shopper in WANTS]  # at the till
    return baskets, dropped, store.list()


if __name__ == "__main__":
    with Client() as client:
        main(client)
