"""A server that keeps something for each of its users, under the session that a job names.

    palm run examples/sessions/basket.py
"""

from palm import RegisteredServer, run_server


class Basket(RegisteredServer):
    def put(self, message):
        self.session.set(b"1", message.decode())
        return b"%d" % len(self.session.list())


if __name__ == "__main__":
    run_server(Basket, "basket", ["put"])
