"""Handlers that call another server: `self.call` in plain functions, `await self.acall` in coroutines."""

import asyncio

from palm import RegisteredServer, run_server


class Desk(RegisteredServer):
    def price(self, message):
        """Two calls, one after the other. Blocks this function only."""
        self.mark("asks")
        price = int(self.call("stock.price", message))
        count = int(self.call("stock.count", message))
        return b"%s: %d" % (message, price * count)

    async def price_all(self, message):
        """One call for each word, all beside each other."""
        words = message.split()
        prices = await asyncio.gather(*(self.acall("stock.price", word) for word in words))
        return b"%d" % sum(map(int, prices))


if __name__ == "__main__":
    run_server(Desk, "desk", ["price", "price_all"])
