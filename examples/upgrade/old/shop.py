"""The first version of a shop: it prices orders, and hands on what it does not know as it came."""

from order_pb2 import Order

from palm import RegisteredServer, run_server

CENTS = 250


class Shop(RegisteredServer):
    def price(self, order: Order) -> Order:
        self.mark("old")
        order.cents = order.count * CENTS
        return order


class Desk(RegisteredServer):
    """Where orders come from and go to: `12` is an order for item 12."""

    def take(self, number: str) -> Order:
        return Order(item=f"item-{number}", count=1 + int(number) % 7)

    def tell(self, order: Order) -> str:
        return f"{order.count} x {order.item}: {order.cents} cents"


if __name__ == "__main__":
    run_server(Shop, "shop", ["price"])
