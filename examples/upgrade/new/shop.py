"""The second version of a shop: orders may have a note."""

from itertools import count

from order_pb2 import Order

from palm import RegisteredServer, run_server

CENTS = 250
LONGEST_NOTE = 200


class Shop(RegisteredServer):
    def price(self, order: Order) -> Order:
        self.mark("new")
        if len(order.note) > LONGEST_NOTE:
            raise ValueError(f"a note of {len(order.note)} characters is too long: {LONGEST_NOTE} at most")
        order.cents = order.count * CENTS
        return order


class Desk(RegisteredServer):
    """Where priced orders go to."""

    def tell(self, order: Order) -> str:
        return f"{order.count} x {order.item}: {order.cents} cents, {order.note or 'no note'}"


def orders(random):
    """What a scenario sends: `payload: shop.py:orders`. `random` is the seed's; these need no chance."""
    for number in count():
        yield Order(item=f"item-{number}", count=1 + number % 7, note=f"note {number}").SerializeToString()


if __name__ == "__main__":
    run_server(Shop, "shop", ["price"])
