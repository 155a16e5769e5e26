"""A server with a mark in its function, at which a scenario may let something happen."""

from palm import RegisteredServer, run_server


class Shelf(RegisteredServer):
    def look(self, message):
        self.mark("looks")
        return message.upper()


if __name__ == "__main__":
    run_server(Shelf, "shelf", ["look"])
