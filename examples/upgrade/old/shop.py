"""The first version of a shop: it prices orders, and hands on what it does not know as it came."""

from itertools import count

from order_pb2 import Order

from palm import RegisteredServer, run_server

CENTS = 250


class Shop(RegisteredServer):
    def price(self, order: Order) -> Order:
        self.mark("old")
        order.cents = order.count * CENTS
        return order


class Desk(RegisteredServer):
    """Where priced orders go to."""

    def tell(self, order: Order) -> str:
        return f"{order.count} x {order.item}: {order.cents} cents"


def orders(random):
    """What a scenario sends: `payload: shop.py:orders`. `random` is the seed's; these need no chance."""
    for number in count():
        yield Order(item=f"item-{number}", count=1 + number % 7).SerializeToString()


if __name__ == "__main__":
    run_server(Shop, "shop", ["price"])
