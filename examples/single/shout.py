"""One server, one function: the smallest server there is.

    palm run examples/single/shout.py           # or: python examples/single/shout.py run
"""

from palm import RegisteredServer, run_server


class Shout(RegisteredServer):
    def loud(self, message):
        return message.upper() + b"!"


if __name__ == "__main__":
    run_server(Shout, "shout", ["loud"])
