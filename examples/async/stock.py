"""A server that others call: the price of a thing, and how many there are."""

import asyncio

from palm import RegisteredServer, run_server


class Stock(RegisteredServer):
    def price(self, message):
        return b"%d" % (sum(message) % 90 + 10)

    async def count(self, message):
        self.mark("counts")
        await asyncio.sleep(0.01)
        return b"%d" % (sum(message) % 7)


if __name__ == "__main__":
    run_server(Stock, "stock", ["price", "count"])
