"""A server that keeps what it was told in its own store, which all its instances and all clients share.

    palm run examples/store/guests.py --workers 2      # --db DIR keeps it on disk
"""

from palm import RegisteredServer, run_server


class Guests(RegisteredServer):
    def sign(self, message):
        # A function may run twice for one message: a key made of the message's own identity is then written twice,
        # and still there once.
        mine = self.message
        key = f"guest/{mine.client[:8]}-{mine.job}-{mine.sequence:06d}"
        self.store.set(message, key)
        return key.encode()

    async def count(self, message):
        return b"%d" % len(await self.astore.list("guest/"))


if __name__ == "__main__":
    run_server(Guests, "guests", ["sign", "count"])
